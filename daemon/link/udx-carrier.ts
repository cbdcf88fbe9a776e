import type { Clock, Timer } from '../clock.ts'
import { isSameTransport, type TransportAddress } from '../nat/transport-address.ts'
import type { UdpEndpoint } from '../network/udp-endpoint.ts'
import { SAFE_PAYLOAD, type UdxStream } from '../network/udx-stream.ts'
import type { HostPort, Milliseconds } from '../types.ts'
import { UdxAcks } from './udx-acks.ts'
import { isAcknowledgement, readdress } from './udx-packet.ts'
import { UdxPieces } from './udx-pieces.ts'
import { UdxPipe } from './udx-pipe.ts'
import { UdxRepeats } from './udx-repeats.ts'

/** What a carrier knows of its path and its bytes. */
export interface UdxStatistics {
  /** Smoothed; 0 before the first acknowledgement. */
  readonly rtt: Milliseconds
  /** Bytes of a packet, IP and UDP headers included, that carries as much as any. */
  readonly mtu: number
  /** Packets and bytes sent, headers of UDX included, those that were sent again as well. */
  readonly sent: { readonly packets: number; readonly bytes: number }
  /** Packets that UDX sent again. */
  readonly retransmits: number
}

interface UdxCarrierOptions {
  readonly id: number
  readonly loopId: number
  readonly endpoint: UdpEndpoint
  readonly clock: Clock
  readonly send: (packet: Buffer, to: TransportAddress) => void
  readonly onClose: () => void
}

/** Time without a packet, after one was sent that wants an answer, that makes a path doubtful; and so many round trips. */
const SILENCE: Milliseconds = 400
const ROUND_TRIPS = 4

/**
 * An ordered byte pipe over UDX, which can be moved to another path at any time. UDX itself sends only to this host's own port; from there
 * each packet goes where the path is now, those included that were lost on the path before.
 */
export class UdxCarrier {
  readonly id: number
  /** Called when the path may be dead: nothing came for a while although something was sent, or the peer sends along another. */
  onSilence: () => void = () => {}
  readonly socket: UdxPipe
  readonly #options: UdxCarrierOptions
  readonly #stream: UdxStream
  readonly #repeats = new UdxRepeats()
  readonly #acks: UdxAcks
  readonly #pieces: UdxPieces
  #to: TransportAddress | undefined
  #payload = SAFE_PAYLOAD
  #timer: Timer | undefined
  #watch: Timer | undefined
  #isOver = false
  #packets = 0
  #bytes = 0

  constructor(options: UdxCarrierOptions) {
    const { id, loopId, endpoint, clock, onClose } = options
    this.id = id
    this.#options = options
    this.#pieces = new UdxPieces(id)
    this.#acks = new UdxAcks(clock, (packet) => this.#pass(packet))
    this.#stream = endpoint.openUdx(id, loopId, {
      data: (bytes) => this.socket.came(bytes),
      end: () => this.socket.ended(),
    })
    this.socket = new UdxPipe(this.#stream, clock)
    this.#stream.once('close', () => {
      this.#isOver = true
      this.#timer?.cancel()
      this.#watch?.cancel()
      onClose()
    })
  }

  /** Where packets go; undefined while they go nowhere. */
  get to(): TransportAddress | undefined {
    return this.#to
  }

  /** This host's end; which of its addresses packets leave from is the system's choice. */
  get local(): HostPort {
    return { address: this.#to?.address.includes(':') ? '::' : '0.0.0.0', port: this.#options.endpoint.port }
  }

  get statistics(): UdxStatistics {
    const { rtt, mtu, retransmits } = this.#stream
    return { rtt, mtu, retransmits, sent: { packets: this.#packets, bytes: this.#bytes } }
  }

  /**
   * Sends there from now on. Where packets come from does not matter: each side moves when it wants to. `payload` is what a UDP datagram may
   * carry on this path, as far as known; it may be called again when more is known.
   */
  move(to: TransportAddress, payload = SAFE_PAYLOAD): void {
    if (this.#isOver) return
    this.#payload = Math.max(payload, SAFE_PAYLOAD)
    this.#stream.setPayload(payload)
    if (isSameTransport(to, this.#to)) return
    this.#repeats.begin(this.#options.clock.now(), this.#to !== undefined || this.#packets > 0)
    this.#to = to
    this.#schedule()
  }

  /** Sends a packet that UDX made. */
  transmit(packet: Buffer): void {
    readdress(packet, this.id)
    if (isAcknowledgement(packet)) this.#acks.send(packet)
    else this.#pass(packet)
  }

  /** Ends it at once; what has not arrived may never. Safe to call twice. */
  destroy(): void {
    this.socket.destroy()
    this.#stream.destroy()
  }

  #pass(packet: Buffer): void {
    this.#repeats.sent(packet, this.#options.clock.now())
    this.#send(packet)
    this.#listen()
  }

  /** A packet came through a relay: a peer that sends there although we do not may have lost the path that we use. */
  cameFrom(from: TransportAddress): void {
    if (this.#to && !isSameTransport(from, this.#to)) this.onSilence()
  }

  /** Looks whether anything comes that answers what was sent. */
  #listen(): void {
    if (this.#watch || this.#isOver) return
    const { packetsReceived } = this.#stream
    const patience = Math.max(SILENCE, this.#stream.rtt * ROUND_TRIPS)
    this.#watch = this.#options.clock.after(patience, () => {
      this.#watch = undefined
      if (this.#isOver || this.#stream.inflight === 0) return
      if (this.#stream.packetsReceived === packetsReceived) this.onSilence()
      this.#listen()
    })
  }

  /** Takes a piece of a packet that came. */
  takePiece(piece: Buffer): void {
    const packet = this.#pieces.join(piece)
    if (packet) this.#options.endpoint.loop(packet)
  }

  #send(packet: Buffer): void {
    this.#packets++
    this.#bytes += packet.length
    if (!this.#to) return
    if (packet.length <= this.#payload) return this.#options.send(packet, this.#to)
    for (const piece of this.#pieces.split(packet)) this.#options.send(piece, this.#to)
  }

  #schedule(): void {
    this.#timer?.cancel()
    const { deadline } = this.#repeats
    if (!Number.isFinite(deadline) || this.#isOver) return
    const { clock } = this.#options
    this.#timer = clock.after(Math.max(0, deadline - clock.now()), () => this.#repeat())
  }

  #repeat(): void {
    for (const packet of this.#repeats.tick(this.#options.clock.now(), this.#stream)) this.#send(packet)
    this.#schedule()
  }
}
