import type { TransportAddress } from '../nat/transport-address.ts'
import type { Refusals } from '../refusals.ts'

/**
 * Who a datagram belongs to, by its first byte, from and to inclusive. STUN, ChannelData: RFC 7983; UDX: its header's magic; the others keep
 * out of their way.
 */
export const DATAGRAM_KINDS = {
  stun: [0, 3],
  'channel-data': [64, 79],
  beacon: [0x50, 0x50],
  sealed: [0xd0, 0xdf],
  udx: [0xff, 0xff],
} as const satisfies Record<string, readonly [number, number]>
export type DatagramKind = keyof typeof DATAGRAM_KINDS

/** Takes a datagram, which is its to keep: nothing writes to it again. Keeping a part of it keeps some 68 KiB of memory; copy small parts. */
export type DatagramHandler = (packet: Buffer, from: TransportAddress) => void

/** Hands each datagram to the one who owns its kind. */
export class Demultiplexer {
  readonly #refusals: Refusals
  readonly #handlers = new Array<DatagramHandler | undefined>(256).fill(undefined)

  constructor(refusals: Refusals) {
    this.#refusals = refusals
  }

  /** Gives all datagrams of a kind to `handler`, instead of to the one before; returns the way to stop that. */
  handle(kind: DatagramKind, handler: DatagramHandler): () => void {
    const [first, last] = DATAGRAM_KINDS[kind]
    this.#handlers.fill(handler, first, last + 1)
    return () => {
      if (this.#handlers[first] === handler) this.#handlers.fill(undefined, first, last + 1)
    }
  }

  /** Hands it over; what nobody owns is counted as `peer.malformed`. */
  deliver(packet: Buffer, from: TransportAddress): void {
    const handler = packet.length > 0 ? this.#handlers[packet[0] as number] : undefined
    if (handler) handler(packet, from)
    else this.#refusals.count('peer.malformed')
  }
}
