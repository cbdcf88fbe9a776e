import type { Clock } from '../clock.ts'
import type { TransportAddress } from '../nat/transport-address.ts'
import { interfaceOf } from '../network/addresses.ts'
import { MAX_DATAGRAM } from '../network/datagram-socket.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { UdpEndpoint } from '../network/udp-endpoint.ts'
import type { Refusals } from '../refusals.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import { connectionKey, HEADER, TAG } from './seal.ts'

/** Headers of IPv4 and IPv6 with UDP's, and the MTU where the interface's is unknown. */
const HEADERS = { 4: 28, 6: 48 } as const
const ETHERNET = 1500
/** Largest payload through a relay: Ethernet's, less the headers of IPv6, UDP and ChannelData (RFC 8656 section 12.4). */
const RELAYED = 1448

/** Takes the packets of one connection id. */
export interface PacketReceiver {
  receive(packet: Buffer, from: TransportAddress, now: Milliseconds): void
  sendFailed(to: TransportAddress, code: string, now: Milliseconds): void
}

/** What sessions need of the UDP port. */
export interface DatagramPort {
  /** 0 while there is none. */
  readonly port: number
  send(packet: Buffer, to: TransportAddress): void
  /** True where a packet for a peer may leave towards an address. */
  mayLeave(peer: PeerId, to: TransportAddress): boolean
  /** Gives packets with this connection id to `receiver`; returns the way to stop that. */
  register(cid: Buffer, receiver: PacketReceiver): () => void
  /** Largest UDP payload that leaves in one piece towards `remote`. */
  maxPayload(remote: TransportAddress): number
}

interface PortOptions {
  readonly clock: Clock
  readonly refusals: Refusals
  readonly endpoint: UdpEndpoint
  /** Sends straight from the port, or through a relay. */
  readonly send: (packet: Buffer, to: TransportAddress) => void
  readonly mayLeave: (peer: PeerId, to: TransportAddress) => boolean
  readonly interfaces: () => readonly NetworkInterface[]
}

/** Hands sealed packets of the daemon's UDP port to the sessions that they are for. */
export class SealedPort implements DatagramPort {
  readonly #options: PortOptions
  readonly #receivers = new Map<string, PacketReceiver>()

  constructor(options: PortOptions) {
    this.#options = options
    const { clock, endpoint, refusals } = options
    endpoint.handle('sealed', (packet, from) => {
      const receiver = packet.length >= HEADER + TAG && this.#receivers.get(connectionKey(packet, 1))
      if (receiver) receiver.receive(packet, from, clock.now())
      else refusals.count('peer.malformed')
    })
    endpoint.onSendError((to, code) => {
      for (const receiver of this.#receivers.values()) receiver.sendFailed(to, code, clock.now())
    })
  }

  get port(): number {
    return this.#options.endpoint.port
  }

  send(packet: Buffer, to: TransportAddress): void {
    this.#options.send(packet, to)
  }

  mayLeave(peer: PeerId, to: TransportAddress): boolean {
    return this.#options.mayLeave(peer, to)
  }

  register(cid: Buffer, receiver: PacketReceiver): () => void {
    const key = connectionKey(cid)
    this.#receivers.set(key, receiver)
    return () => this.#receivers.delete(key)
  }

  maxPayload({ address, relay }: TransportAddress): number {
    if (relay !== undefined) return RELAYED
    const mtu = interfaceOf(address, this.#options.interfaces())?.mtu ?? ETHERNET
    return Math.min(MAX_DATAGRAM, Math.max(1200, mtu - HEADERS[address.includes(':') ? 6 : 4]))
  }
}
