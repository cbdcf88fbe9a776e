import { randomInt } from 'node:crypto'
import type { Clock } from '../clock.ts'
import { PartylineError } from '../errors.ts'
import type { TransportAddress } from '../nat/transport-address.ts'
import type { UdpEndpoint } from '../network/udp-endpoint.ts'
import type { Refusals } from '../refusals.ts'
import type { Milliseconds } from '../types.ts'
import { UdxCarrier } from './udx-carrier.ts'
import { streamOf } from './udx-packet.ts'
import { streamOfPiece } from './udx-pieces.ts'

/** Carriers at once, those included that closed a moment ago. */
const MAX_CARRIERS = 1024
/** How long the last packets of a carrier may take through this host's own port. */
const LAST_PACKETS: Milliseconds = 100

interface UdxCarriersOptions {
  readonly endpoint: UdpEndpoint
  readonly clock: Clock
  readonly refusals: Refusals
  /** Sends a datagram, straight from the endpoint or through a relay. */
  readonly send: (packet: Buffer, to: TransportAddress) => void
  readonly limit?: number
}

/**
 * All carriers over the daemon's UDP port. Packets for their streams are taken by UDX as they come to the port; what comes here is what UDX
 * sends, on its way out, and what relays bring, on its way in.
 */
export class UdxCarriers {
  readonly #options: UdxCarriersOptions
  readonly #byId = new Map<number, UdxCarrier>()
  /** By the number that their packets have on the way out. */
  readonly #byLoopId = new Map<number, UdxCarrier>()
  readonly #stop: () => void

  constructor(options: UdxCarriersOptions) {
    this.#options = options
    this.#stop = options.endpoint.handle('udx', (packet, from) => this.receive(packet, from))
  }

  get size(): number {
    return this.#byId.size
  }

  /** A random number that no carrier here has: both ends have to use the same. */
  freeId(): number {
    for (;;) {
      const id = randomInt(1, 2 ** 32)
      if (!this.#byId.has(id) && !this.#byLoopId.has(id)) return id
    }
  }

  /**
   * Opens a carrier, whose packets go nowhere until it is told where. Throws `local.limit` when there are too many or one has this id, and
   * `network.none` while the port is not open.
   */
  open(id: number, to?: TransportAddress, payload?: number): UdxCarrier {
    const { endpoint, clock, send, limit = MAX_CARRIERS } = this.#options
    if (this.#byLoopId.size >= limit) throw new PartylineError('local.limit', `there are ${limit} links over UDX`)
    if (this.#byId.has(id) || this.#byLoopId.has(id)) throw new PartylineError('local.limit', 'the stream id is in use')
    const loopId = this.freeId()
    const onClose = (): void => {
      this.#byId.delete(id)
      clock.after(LAST_PACKETS, () => this.#byLoopId.delete(loopId))
    }
    const carrier = new UdxCarrier({ id, loopId, endpoint, clock, send, onClose })
    this.#byId.set(id, carrier)
    this.#byLoopId.set(loopId, carrier)
    if (to) carrier.move(to, payload)
    return carrier
  }

  /** Takes a packet that a relay brought, and what UDX knows no stream for. */
  receive(packet: Buffer, from: TransportAddress): void {
    const piece = streamOfPiece(packet)
    if (piece !== undefined) return this.#byId.get(piece)?.takePiece(packet)
    const stream = streamOf(packet)
    if (stream === undefined) return this.#refuse()
    if (from.relay !== undefined) {
      const carrier = this.#byId.get(stream)
      if (!carrier) return
      this.#options.endpoint.loop(packet)
      carrier.cameFrom(from)
      return
    }
    const carrier = this.#options.endpoint.isOwn(from) ? this.#byLoopId.get(stream) : undefined
    // One of a carrier that was closed here a moment ago is not worth a word.
    if (carrier) carrier.transmit(packet)
  }

  /** Closes all. Safe to call twice. */
  close(): void {
    this.#stop()
    for (const carrier of [...this.#byId.values()]) carrier.destroy()
  }

  #refuse(): void {
    this.#options.refusals.count('peer.malformed')
  }
}
