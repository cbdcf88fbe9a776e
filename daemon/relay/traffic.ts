import { encodeXorAddress } from '../nat/stun/attributes.ts'
import { type StunMessage, StunWriter, TRANSACTION } from '../nat/stun/message.ts'
import { ATTRIBUTE, LAST_REQUIRED, METHOD } from '../nat/stun/registry.ts'
import { decodeChannelData, encodeChannelData } from '../nat/turn/channel-data.ts'
import type { HostPort, Milliseconds } from '../types.ts'
import type { Allocation, Allocations, RelayPort } from './allocations.ts'
import { type RelayLimits, Throttle } from './limits.ts'
import { readPeer } from './peer-attribute.ts'
import type { PeerFilter } from './peer-filter.ts'

interface TrafficOptions {
  readonly allocations: Allocations
  readonly filter: PeerFilter
  readonly limits: () => RelayLimits
  readonly random: (bytes: number) => Buffer
}

/** Attributes of a Send indication that are understood; with any other that has to be it is dropped. */
const KNOWN: ReadonlySet<number> = new Set([ATTRIBUTE.xorPeerAddress, ATTRIBUTE.data, ATTRIBUTE.dontFragment])

/** Packets between clients and peers (RFC 8656 sections 11 and 12). What is not allowed vanishes, as the RFC has it. */
export class Traffic {
  readonly #options: TrafficOptions
  readonly #up = new Throttle()
  readonly #down = new Throttle()

  constructor(options: TrafficOptions) {
    this.#options = options
  }

  /** A Send indication. */
  send(allocation: Allocation, message: StunMessage, now: Milliseconds): void {
    if (message.attributes.some(({ type }) => type <= LAST_REQUIRED && !KNOWN.has(type))) return
    const data = message.get(ATTRIBUTE.data)
    const peer = readPeer(message.get(ATTRIBUTE.xorPeerAddress), message.transaction)
    if (!data || !peer || peer.port === 0) return
    this.#fromClient(allocation, data, peer, now)
  }

  /** ChannelData; false when it is none, or of no channel of this client's. */
  channelData(allocation: Allocation, packet: Buffer, now: Milliseconds): boolean {
    const read = decodeChannelData(packet, allocation.client.lastChannel)
    const peer = read && allocation.channels.peerOf(read.channel, now)
    if (!peer) return false
    this.#fromClient(allocation, read.data, peer, now)
    return true
  }

  /** A packet that came to a port of the allocation. */
  fromPeer(allocation: Allocation, packet: Buffer, from: HostPort, now: Milliseconds): void {
    const { client, usage, channels, permissions } = allocation
    if (!permissions.has(from.address, now)) return
    if (!usage.receive(packet.length, this.#options.limits(), this.#down, now)) return
    const number = channels.numberOf(from, now)
    if (number !== undefined) return client.send(encodeChannelData(number, packet, client.transport !== 'udp'))
    const transaction = this.#options.random(TRANSACTION)
    const writer = new StunWriter('indication', METHOD.data, transaction)
    writer.add(ATTRIBUTE.xorPeerAddress, encodeXorAddress(from, transaction)).add(ATTRIBUTE.data, packet)
    client.send(writer.finish({ fingerprint: false }))
  }

  #fromClient(allocation: Allocation, packet: Buffer, peer: HostPort, now: Milliseconds): void {
    const port = allocation.portFor(peer.address)
    if (!port || !allocation.permissions.has(peer.address, now)) return
    if (!allocation.usage.send(packet.length, this.#options.limits(), this.#up, now)) return
    if (this.#options.filter.isRelay(peer.address)) this.#toRelay(port, packet, peer, now)
    else port.send(packet, peer)
  }

  /** To an address of this very server: another client's, most often, which gets it without a detour through the network. */
  #toRelay(port: RelayPort, packet: Buffer, peer: HostPort, now: Milliseconds): void {
    const { allocations, filter } = this.#options
    const other = allocations.byRelayed(peer)
    if (other) this.fromPeer(other, packet, port.address, now)
    else if (filter.mayLeaveTo(peer.address)) port.send(packet, peer)
  }
}
