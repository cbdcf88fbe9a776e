import type Udx from 'udx-native'
import binding from 'udx-native/binding.js'
import Stream from 'udx-native/lib/stream.js'

/**
 * The largest UDP payload that fits every path of IPv6 (RFC 8200 section 5), through a relay as well (RFC 8656 section 12.4): what UDX begins
 * with. And the largest it can make.
 */
export const SAFE_PAYLOAD = 1172
const LARGEST_PAYLOAD = 1472

/** How a stream keeps its search for an MTU: five numbers before the MTU itself. These are state, probe wanted, probes sent, size, limit. */
const UNSEARCHED = [1, 0, 0, 1200, 1500] as const
/** The state of a search that is over; UDX takes it by itself where the interface has no room for larger packets. */
const SEARCHED = 4

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
  #isAdjustable = false

  constructor(udx: Udx, id: number, events: UdxStreamEvents) {
    // A packet that came to another socket of ours than the one this stream sends with is as good as any.
    super(udx, id, { firewall: () => false })
    this.#events = events
  }

  /**
   * Keeps it from searching for an MTU, for which it has no setting. Its probes carry data, and cost a round trip or a second where they get
   * lost; what it finds is of no use to the next path.
   */
  stopSearching(): void {
    const at = this._handle.byteOffset + binding.offsetof_udx_stream_t_mtu - UNSEARCHED.length * 4
    const search = new Int32Array(this._handle.buffer, at, UNSEARCHED.length)
    this.#isAdjustable = UNSEARCHED.every((value, i) => search[i] === value)
    if (this.#isAdjustable) search[0] = SEARCHED
  }

  /** Sets the UDP payload of the largest packets it makes from now on; those it made before stay as they are. */
  setPayload(bytes: number): void {
    if (!this.#isAdjustable) return
    const payload = Math.max(SAFE_PAYLOAD, Math.min(bytes, LARGEST_PAYLOAD))
    const mtu = new Uint16Array(this._handle.buffer, this._handle.byteOffset + binding.offsetof_udx_stream_t_mtu, 1)
    mtu[0] = payload + UNSEARCHED[3] - SAFE_PAYLOAD
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
