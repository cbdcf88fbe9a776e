import { formatHostPort } from '../../network/network.ts'
import type { HostPort, Milliseconds } from '../../types.ts'
import type { TransportAddress } from '../transport-address.ts'
import type { Channel } from './channels.ts'

/** Addresses that one relay talks to at a time. */
export const MAX_PEERS = 8192
/** Packets that wait for a permission: of one peer, and of all. */
const MAX_WAITING_EACH = 8
const MAX_WAITING = 256
/** What waits longer is of no use any more: checks are sent again. */
const PATIENCE: Milliseconds = 2000
/** How long an address without a channel is remembered. */
const IDLE: Milliseconds = 120_000

/** An address that a relay talks to. */
export interface RelayPeer {
  /** With the relay's id; the same object for as long as it is known. */
  readonly to: TransportAddress
  channel: Channel<RelayPeer> | undefined
  /** Packets sent without a channel. */
  sent: number
  /** Something came from it. */
  heard: boolean
  usedAt: Milliseconds
  /** Packets that wait for a permission, and until when. */
  waiting: { readonly packet: Buffer; readonly until: Milliseconds }[]
}

/** The addresses that one relay talks to. Made by what we send only: nothing that arrives makes one. */
export class RelayPeers {
  readonly #relay: string
  readonly #peers = new Map<string, RelayPeer>()
  #waiting = 0

  constructor(relay: string) {
    this.#relay = relay
  }

  get size(): number {
    return this.#peers.size
  }

  get(address: HostPort): RelayPeer | undefined {
    return this.#peers.get(formatHostPort(address))
  }

  [Symbol.iterator](): Iterator<RelayPeer> {
    return this.#peers.values()
  }

  /** Undefined where there is no room. */
  of({ address, port }: HostPort, now: Milliseconds): RelayPeer | undefined {
    const key = formatHostPort({ address, port })
    const known = this.#peers.get(key)
    if (known) return known
    if (this.#peers.size >= MAX_PEERS) this.sweep(now)
    if (this.#peers.size >= MAX_PEERS) return undefined
    const to = { address, port, relay: this.#relay }
    const peer = { to, channel: undefined, sent: 0, heard: false, usedAt: now, waiting: [] }
    this.#peers.set(key, peer)
    return peer
  }

  /** Keeps a copy of a packet until there is a permission; false where there is no room. */
  hold(peer: RelayPeer, packet: Buffer, now: Milliseconds): boolean {
    if (peer.waiting.length >= MAX_WAITING_EACH || this.#waiting >= MAX_WAITING) return false
    peer.waiting.push({ packet: Buffer.from(packet), until: now + PATIENCE })
    this.#waiting++
    return true
  }

  /** What waited for a permission to this address, and is still of use. */
  release(address: string, now: Milliseconds): readonly { readonly peer: RelayPeer; readonly packet: Buffer }[] {
    const released = []
    for (const peer of this.#peers.values()) {
      if (peer.to.address !== address || peer.waiting.length === 0) continue
      this.#waiting -= peer.waiting.length
      for (const { packet, until } of peer.waiting) if (now < until) released.push({ peer, packet })
      peer.waiting = []
    }
    return released
  }

  /** Forgets what waited for too long, and peers that have long been silent. */
  sweep(now: Milliseconds): void {
    for (const [key, peer] of this.#peers) {
      const kept = peer.waiting.filter(({ until }) => now < until)
      this.#waiting -= peer.waiting.length - kept.length
      peer.waiting = kept
      if (!peer.channel && now >= peer.usedAt + IDLE) this.#forget(key, peer)
    }
  }

  #forget(key: string, peer: RelayPeer): void {
    this.#waiting -= peer.waiting.length
    this.#peers.delete(key)
  }
}
