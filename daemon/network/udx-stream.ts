import type Udx from 'udx-native'
import binding from 'udx-native/binding.js'
import Stream from 'udx-native/lib/stream.js'

/**
 * The largest packet, IP header included. UDX never splits a packet again that it has sent once, so one that is larger than what the next
 * path takes would never arrive. This fits every path of IPv6 (RFC 8200 section 5), through a relay as well (RFC 8656 section 12.4).
 */
const LARGEST_PACKET = 1200
/** UDX's own limit, which it tries to reach by probing. */
const LARGEST_PROBE = 1500

/** Told of what comes on a stream. */
export interface UdxStreamEvents {
  readonly data: (bytes: Buffer) => void
  readonly end: () => void
}

/** A stream of `udx-native` that hands over what comes at once and in larger pieces, instead of keeping it in a queue of its own. */
export class UdxStream extends Stream {
  readonly #events: UdxStreamEvents
  /** Came in this turn of the event loop, one piece of one buffer. */
  #arrived: Buffer | undefined
  #handingOver = false

  constructor(udx: Udx, id: number, events: UdxStreamEvents) {
    // A packet that came to another socket of ours than the one this stream sends with is as good as any.
    super(udx, id, { firewall: () => false })
    this.#events = events
  }

  /** Keeps it from probing for a larger packet, for which it has no setting: its limit is the number before its MTU. */
  keepPacketsSmall(): void {
    const at = binding.offsetof_udx_stream_t_mtu - 4
    const limit = new Int32Array(this._handle.buffer, this._handle.byteOffset + at, 1)
    if (limit[0] === LARGEST_PROBE) limit[0] = LARGEST_PACKET
  }

  override _ondata(length: number): Buffer {
    this.#take(length)
    return this._buffer
  }

  override _onend(length: number): void {
    if (length > 0) this.#take(length)
    this.#handOver()
    this.#events.end()
  }

  /** UDX gives each packet by itself, the bytes of most next to those of the last. Handling a TLS record at once costs less than in parts. */
  #take(length: number): void {
    const bytes = this._consumeData(length)
    const before = this.#arrived
    if (before?.buffer === bytes.buffer && before.byteOffset + before.length === bytes.byteOffset) {
      this.#arrived = Buffer.from(bytes.buffer, before.byteOffset, before.length + bytes.length)
      return
    }
    if (before) this.#events.data(before)
    this.#arrived = bytes
    if (this.#handingOver) return
    this.#handingOver = true
    setImmediate(() => {
      this.#handingOver = false
      this.#handOver()
    })
  }

  #handOver(): void {
    const bytes = this.#arrived
    this.#arrived = undefined
    if (bytes) this.#events.data(bytes)
  }
}
