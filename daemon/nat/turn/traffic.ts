import type { HostPort, Milliseconds } from '../../types.ts'
import { decodeXorAddress, encodeXorAddress } from '../stun/attributes.ts'
import { type StunMessage, StunWriter, TRANSACTION } from '../stun/message.ts'
import { ATTRIBUTE, METHOD } from '../stun/registry.ts'
import type { TransportAddress } from '../transport-address.ts'
import { decodeChannelData, encodeChannelData } from './channel-data.ts'
import { type Channel, type ChannelRange, Channels } from './channels.ts'
import { familyOf, isRelayable } from './peer-address.ts'
import { type RelayPeer, RelayPeers } from './peers.ts'
import { Permissions } from './permissions.ts'
import type { Outcome, Requests } from './requests.ts'

/** Packets to an address that has not answered before it gets a channel even so: checks of addresses that do not exist need none. */
const UNHEARD = 8
/** A channel is bound again while packets went or came in this time. */
const CHANNEL_IDLE: Milliseconds = 300_000

interface RelayTrafficOptions {
  /** Of the allocation. */
  readonly id: string
  /** True over TCP and TLS. */
  readonly isStream: boolean
  readonly channels: ChannelRange
  readonly random: (bytes: number) => Buffer
  readonly requests: Requests
  /** A packet for a peer, as the server wants it. */
  readonly output: (packet: Buffer, now: Milliseconds) => void
  readonly data: (packet: Buffer, from: TransportAddress) => void
}

/** What goes through one allocation: permissions, channels, and the packets of peers (RFC 8656 sections 9 to 12). */
export class RelayTraffic {
  readonly #options: RelayTrafficOptions
  readonly #permissions = new Permissions()
  readonly #channels: Channels<RelayPeer>
  readonly #peers: RelayPeers
  /** Those of the relayed addresses. */
  #families: ReadonlySet<4 | 6> = new Set()

  constructor(options: RelayTrafficOptions) {
    this.#options = options
    this.#channels = new Channels(options.channels)
    this.#peers = new RelayPeers(options.id)
  }

  get channels(): number {
    return this.#channels.size
  }

  /** Begins, with these relayed addresses. */
  open(relayed: readonly HostPort[]): void {
    this.#families = new Set(relayed.map(({ address }) => familyOf(address)))
  }

  /** Sends a copy to a peer's address; false when it is dropped. */
  send(packet: Buffer, to: HostPort, now: Milliseconds): boolean {
    const peer = this.#peers.get(to) ?? this.#newPeer(to, now)
    if (!peer) return false
    peer.usedAt = now
    if (peer.channel && now < peer.channel.until) {
      this.#options.output(encodeChannelData(peer.channel.number, packet, this.#options.isStream), now)
      return true
    }
    const { address } = peer.to
    if (!this.#permissions.use(address, now)) return false
    if (!this.#permissions.isInstalled(address, now)) {
      const isHeld = this.#peers.hold(peer, packet, now)
      this.pump(now)
      return isHeld
    }
    this.#indicate(peer, packet, now)
    return true
  }

  /** Lets packets of an address in, until `unpermit` was called as often; false where that cannot be. */
  permit(address: string, now: Milliseconds): boolean {
    if (!isRelayable(address) || !this.#permissions.claim(address, now)) return false
    this.pump(now)
    return true
  }

  unpermit(address: string): void {
    this.#permissions.release(address)
  }

  /** Takes ChannelData; false when it is of no channel of ours. */
  receiveChannelData(packet: Buffer, now: Milliseconds): boolean {
    const read = decodeChannelData(packet)
    const peer = read && this.#channels.get(read.channel)?.peer
    if (!peer) return false
    peer.usedAt = now
    this.#options.data(read.data, peer.to)
    return true
  }

  #newPeer(to: HostPort, now: Milliseconds): RelayPeer | undefined {
    const isPossible = this.#families.has(familyOf(to.address)) && isRelayable(to.address) && to.port > 0
    return isPossible ? this.#peers.of(to, now) : undefined
  }

  #indicate(peer: RelayPeer, packet: Buffer, now: Milliseconds): void {
    const transaction = this.#options.random(TRANSACTION)
    const writer = new StunWriter('indication', METHOD.send, transaction)
    writer.add(ATTRIBUTE.xorPeerAddress, encodeXorAddress(peer.to, transaction)).add(ATTRIBUTE.data, packet)
    this.#options.output(writer.finish({ fingerprint: false }), now)
    peer.sent++
    this.#bind(peer, now)
  }

  /** Takes a Data indication; false when it is malformed, or from an address that nobody wants to hear from. */
  receiveData(message: StunMessage, now: Milliseconds): boolean {
    const value = message.get(ATTRIBUTE.xorPeerAddress)
    const data = message.get(ATTRIBUTE.data)
    if (!value || !data) return false
    let from: HostPort
    try {
      from = decodeXorAddress(value, message.transaction)
    } catch {
      return false
    }
    if (!this.#permissions.has(from.address) || from.port === 0) return false
    const peer = this.#peers.get(from)
    if (peer) {
      peer.heard = true
      peer.usedAt = now
      this.#bind(peer, now)
    }
    this.#options.data(data, peer?.to ?? { ...from, relay: this.#options.id })
    return true
  }

  /** Gives a peer a channel, or has its channel last, where it is worth it and due. */
  #bind(peer: RelayPeer, now: Milliseconds): void {
    if (this.#options.requests.isFull || (!peer.heard && peer.sent < UNHEARD)) return
    const channel = peer.channel ?? this.#channels.open(peer, now)
    if (!channel || now < channel.askAt) return
    peer.channel = channel
    this.#channels.asked(channel)
    const write = (writer: StunWriter, transaction: Buffer): void => {
      writer.add(ATTRIBUTE.channelNumber, channel.number * 2 ** 16)
      writer.add(ATTRIBUTE.xorPeerAddress, encodeXorAddress(peer.to, transaction))
    }
    const done = (outcome: Outcome, at: Milliseconds): void => this.#bindEnded(channel, outcome, now, at)
    this.#options.requests.send({ method: METHOD.channelBind, write, done }, now)
  }

  #bindEnded(channel: Channel<RelayPeer>, outcome: Outcome, asked: Milliseconds, now: Milliseconds): void {
    if (outcome.kind === 'success') {
      this.#channels.bound(channel, asked, now)
      // Binding a channel installs or prolongs a permission too (RFC 8656 section 12).
      this.#permissions.installed([channel.peer.to.address], asked)
    } else this.#channels.failed(channel, now)
  }

  /** Asks for what is due, as far as requests may be under way. */
  pump(now: Milliseconds): void {
    while (!this.#options.requests.isFull) {
      const addresses = this.#permissions.take(now)
      if (addresses.length === 0) return
      const write = (writer: StunWriter, transaction: Buffer): void => {
        for (const address of addresses)
          writer.add(ATTRIBUTE.xorPeerAddress, encodeXorAddress({ address, port: 0 }, transaction))
      }
      const done = (outcome: Outcome, at: Milliseconds): void => this.#permissionEnded(addresses, outcome, now, at)
      this.#options.requests.send({ method: METHOD.createPermission, write, done }, now)
    }
  }

  #permissionEnded(addresses: readonly string[], outcome: Outcome, asked: Milliseconds, now: Milliseconds): void {
    if (outcome.kind === 'error') return this.#permissions.refused(addresses, now)
    if (outcome.kind !== 'success') return this.#permissions.unanswered(addresses, now)
    this.#permissions.installed(addresses, asked)
    for (const address of addresses)
      for (const { peer, packet } of this.#peers.release(address, now)) this.#indicate(peer, packet, now)
  }

  /** Forgets what is over, and has channels last that are in use. To be called every few seconds. */
  sweep(now: Milliseconds): void {
    for (const peer of this.#channels.sweep(now)) peer.channel = undefined
    this.#peers.sweep(now)
    this.#permissions.sweep(now)
    for (const peer of this.#peers) {
      if (!peer.channel || now >= peer.usedAt + CHANNEL_IDLE) continue
      this.#permissions.use(peer.to.address, peer.usedAt)
      this.#bind(peer, now)
    }
  }

  /** What was under way is asked for again: no answer to it will be understood. */
  forgetAsked(now: Milliseconds): void {
    this.#permissions.forgetAsked(now)
    this.#channels.forgetAsked(now)
  }
}
