import type { Milliseconds } from '../../types.ts'

/** UDP payloads of common links, tunnels and relayed paths; the last is Ethernet's, over IPv6 and IPv4. */
const SIZES = {
  4: [1200, 1232, 1280, 1332, 1372, 1400, 1432, 1452, 1472],
  6: [1200, 1232, 1280, 1332, 1372, 1400, 1432, 1452],
} as const
/** What is presumed of a path until more, or less, is known (RFC 9000 section 14). */
const PRESUMED = 1200
/** Taken where not even that arrives: what hosts must take (RFC 1122 section 3.3.2), less headers. */
const LEAST = 548
/** So often a size is tried, so far apart at least. */
const TRIES = 3
const INTERVAL: Milliseconds = 200
/** More often for the least one, which decides whether a path is of use at all; and again after a while, in case it was chance. */
const LEAST_TRIES = 7
const AGAIN: Milliseconds = 10_000

/** Finds how large a packet a pair carries (RFC 8899), with padded checks: the largest first, then the middle of what is left. */
export class MtuProbe {
  readonly #sizes: readonly number[]
  /** Index of the largest size that arrived; -1: none yet. */
  #low = -1
  /** Index of the smallest that did not. */
  #high: number
  #tries = 0
  #at: Milliseconds = Number.NEGATIVE_INFINITY

  constructor(family: 4 | 6) {
    this.#sizes = SIZES[family]
    this.#high = this.#sizes.length
  }

  /** Largest UDP payload known to arrive, or presumed. */
  get mtu(): number {
    if (this.#low >= 0) return this.#sizes[this.#low] as number
    return this.isNarrow ? LEAST : PRESUMED
  }

  /** Not even what is presumed arrives. */
  get isNarrow(): boolean {
    return this.#high === 0
  }

  get isDone(): boolean {
    return this.#high - this.#low <= 1 && !this.isNarrow
  }

  get deadline(): Milliseconds {
    return this.isDone ? Number.POSITIVE_INFINITY : this.#at
  }

  /** The size of the check to send now; undefined for none. */
  due(now: Milliseconds, rtt: Milliseconds | undefined): number | undefined {
    if (this.isDone || now < this.#at) return undefined
    if (this.#tries >= (this.#aim === 0 ? LEAST_TRIES : TRIES)) this.#refuse(this.#aim)
    if (this.isDone) return undefined
    this.#tries++
    this.#at = now + (this.isNarrow ? AGAIN : Math.max(INTERVAL, 2 * (rtt ?? 0)))
    return this.#sizes[this.#aim]
  }

  /** A check of this size was answered. */
  arrived(size: number, now: Milliseconds): void {
    const index = this.#sizes.indexOf(size)
    if (index <= this.#low) return
    this.#low = index
    this.#high = Math.max(this.#high, index + 1)
    this.#begin(now)
  }

  /** The system refuses to send the size that was tried last. */
  tooLarge(now: Milliseconds): void {
    if (this.isDone || this.#tries === 0) return
    this.#refuse(this.#aim)
    this.#at = now
  }

  get #aim(): number {
    if (this.#high === this.#sizes.length) return this.#high - 1
    return this.#low < 0 ? 0 : (this.#low + this.#high) >> 1
  }

  #refuse(index: number): void {
    this.#high = index
    this.#tries = 0
  }

  #begin(now: Milliseconds): void {
    this.#tries = 0
    this.#at = now
  }
}
