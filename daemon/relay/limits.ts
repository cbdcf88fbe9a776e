import { type Allowance, TokenBucket } from '../token-bucket.ts'
import type { Milliseconds, PeerId } from '../types.ts'

/** What the settings allow. */
export interface RelayLimits {
  /** Allocations in all, and of one peer. */
  readonly allocations: number
  readonly perPeer: number
  /** Bits a second each way, of one peer and in all; 0: as much as there is. */
  readonly bandwidth: number
  readonly totalBandwidth: number
}

/** What may come at once: a quarter of a second's worth, and never less than a few packets. */
const BURST = 0.25
const LEAST_BURST = 65_536
const SECOND: Milliseconds = 1000

/** Holds traffic in one direction to a bandwidth, which may change. */
export class Throttle {
  #bandwidth = 0
  #bucket: TokenBucket | undefined

  /** False where so many bytes are too many now. */
  take(bytes: number, bandwidth: number, now: Milliseconds): boolean {
    if (bandwidth === 0) return true
    if (bandwidth !== this.#bandwidth || !this.#bucket) {
      this.#bandwidth = bandwidth
      this.#bucket = new TokenBucket(allowanceOf(bandwidth), now)
    }
    return this.#bucket.take(now, bytes)
  }
}

function allowanceOf(bandwidth: number): Allowance {
  const rate = bandwidth / 8
  return { rate, burst: Math.max(rate * BURST, LEAST_BURST) }
}

/** Counts what goes by in one direction. */
class Flow {
  bytes = 0
  packets = 0
  #second = 0
  #current = 0
  #before = 0

  add(bytes: number, now: Milliseconds): void {
    this.#advance(now)
    this.bytes += bytes
    this.packets++
    this.#current += bytes
  }

  /** Bits a second, in the last whole second. */
  rate(now: Milliseconds): number {
    this.#advance(now)
    return this.#before * 8
  }

  #advance(now: Milliseconds): void {
    const second = Math.floor(now / SECOND)
    if (second === this.#second) return
    this.#before = second === this.#second + 1 ? this.#current : 0
    this.#current = 0
    this.#second = second
  }
}

/** What one peer uses, through all its allocations. */
export class Usage {
  readonly peer: PeerId
  allocations = 0
  /** From the peer to others, and from others to it. */
  readonly sent = new Flow()
  readonly received = new Flow()
  /** Packets that went over a limit. */
  dropped = 0
  readonly #up = new Throttle()
  readonly #down = new Throttle()

  constructor(peer: PeerId) {
    this.peer = peer
  }

  /** Counts what the peer sends; false where it is too much. */
  send(bytes: number, limits: RelayLimits, total: Throttle, now: Milliseconds): boolean {
    return this.#count(bytes, this.#up, this.sent, limits, total, now)
  }

  /** Counts what the peer is sent; false where it is too much. */
  receive(bytes: number, limits: RelayLimits, total: Throttle, now: Milliseconds): boolean {
    return this.#count(bytes, this.#down, this.received, limits, total, now)
  }

  #count(bytes: number, own: Throttle, flow: Flow, limits: RelayLimits, total: Throttle, now: Milliseconds): boolean {
    if (!own.take(bytes, limits.bandwidth, now) || !total.take(bytes, limits.totalBandwidth, now)) {
      this.dropped++
      return false
    }
    flow.add(bytes, now)
    return true
  }
}
