import type { Milliseconds } from '../types.ts'

const KIB = 1024
/** Bytes per second. */
const MIN_RATE = 128 * KIB
const INITIAL_RATE = 16 * KIB * KIB
const MAX_RATE = 16 * KIB * KIB * KIB
/** What may leave at once: this long at the rate, within bounds, so that a timer of a millisecond's grain keeps up with any rate. */
const BURST: Milliseconds = 8
const MIN_BURST = 32 * KIB
const MAX_BURST = 1024 * KIB
/** Fewer packets tell nothing of a loss. */
const ENOUGH = 40
/** More loss than this above what the path loses anyway is taken for congestion. */
const CONGESTED = 0.05
/** So much less is not: the rate may grow. */
const CLEAR = 0.02
/** Spans whose lowest quarter of losses is what the path loses at any rate, as radio does; fewer than `LEARNED` do not tell. */
const REMEMBERED = 12
const LEARNED = 4
/** More than this is congestion on any path. */
const MAX_USUAL = 0.3
/** How far above what arrives the rate may grow: it cannot run away from a path that keeps losing. */
const HEADROOM = 2.5
/** Below what arrived, so that a queue that has built up drains. */
const BACK_OFF = 0.95

/** What the other end reported of the packets of one span of time. */
export interface Delivered {
  readonly sent: number
  readonly received: number
  /** Bytes received. */
  readonly bytes: number
  readonly elapsed: Milliseconds
}

const NOTHING: Delivered = { sent: 0, received: 0, bytes: 0, elapsed: 0 }

/**
 * How fast to send, so that a slow path is not flooded: paced by a bucket, cut to what arrives when too much is lost, and raised while it is what
 * holds the sender back. A sender below it pays an addition and a comparison a packet.
 */
export class SendRate {
  #rate = INITIAL_RATE
  #tokens = MIN_BURST
  #at: Milliseconds
  #isLimiting = false
  #isLearning = true
  #isKnown = false
  #losses: number[] = []
  #span = NOTHING

  constructor(now: Milliseconds) {
    this.#at = now
    this.#tokens = this.#burst
  }

  /** Bytes per second. */
  get rate(): number {
    return this.#rate
  }

  /** Bytes per second that the path is taken to carry; undefined before anything was reported. */
  get capacity(): number | undefined {
    return this.#isKnown ? this.#rate : undefined
  }

  /** True when a packet may leave now. */
  ready(now: Milliseconds): boolean {
    if (now > this.#at) {
      this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) * this.#rate) / 1000)
      this.#at = now
    }
    if (this.#tokens > 0) return true
    this.#isLimiting = true
    return false
  }

  spend(bytes: number): void {
    this.#tokens -= bytes
  }

  /** How long until something may leave when `ahead` bytes go first. */
  wait(now: Milliseconds, ahead = 0): Milliseconds {
    if (this.ready(now) && this.#tokens > ahead) return 0
    return ((ahead - this.#tokens + 1) / this.#rate) * 1000
  }

  /** Learns from a report; spans with few packets are taken together. */
  report(delivered: Delivered): void {
    const before = this.#span
    const sent = before.sent + delivered.sent
    const received = before.received + delivered.received
    const bytes = before.bytes + delivered.bytes
    const elapsed = before.elapsed + delivered.elapsed
    this.#span = { sent, received, bytes, elapsed }
    if (sent < ENOUGH || elapsed <= 0) return
    this.#span = NOTHING
    this.#isKnown = true
    this.#adapt(Math.max(0, 1 - received / sent), sent, (bytes / elapsed) * 1000)
    this.#isLimiting = false
  }

  #adapt(loss: number, sent: number, arrived: number): void {
    const usual = this.#usualLoss()
    this.#losses = [...this.#losses.slice(1 - REMEMBERED), loss]
    const chance = 2 * Math.sqrt((usual * (1 - usual)) / sent)
    if (loss > usual + CONGESTED + chance) {
      this.#set(Math.min(this.#rate, arrived * BACK_OFF))
      this.#isLearning = false
    } else if (this.#isLimiting && loss <= usual + CLEAR + chance) {
      this.#set(Math.max(this.#rate, Math.min(this.#rate * (this.#isLearning ? 2 : 1.05), arrived * HEADROOM)))
    }
  }

  #usualLoss(): number {
    if (this.#losses.length < LEARNED) return 0
    const quarter = this.#losses.toSorted((a, b) => a - b)[this.#losses.length >> 2] ?? 0
    return Math.min(MAX_USUAL, quarter)
  }

  get #burst(): number {
    return Math.min(MAX_BURST, Math.max(MIN_BURST, (this.#rate * BURST) / 1000))
  }

  #set(rate: number): void {
    this.#rate = Math.min(MAX_RATE, Math.max(MIN_RATE, rate))
  }
}
