import type { Milliseconds } from '../types.ts'

/** Queueing that is allowed on the way, beyond the shortest time that anything took: what a bulk lane may delay an interactive one by. */
const QUEUE: Milliseconds = 4
/** Bytes on the way, at least and to begin with. */
const LEAST = 8 * 1024
const INITIAL = 16 * 1024
const MOST = 8 * 1024 * 1024
/** The shortest time is found anew after this long, by half a window for so many marks: the way may have become longer (as BBR does). */
const MEMORY: Milliseconds = 10_000
const DRAIN_MARKS = 4
/** Marks on the way at a time; more are not needed to see the rate. */
const MAX_MARKS = 64

/**
 * How much may be on the way of one link, so that what comes later never waits long behind it: the rate at which the peer confirms times the
 * shortest time to a confirmation plus 4 ms, the rule of TCP Vegas (Brakmo and Peterson, 1994) with a target in time instead of packets. The
 * kernel's own buffer would hold megabytes, which are seconds on a slow line.
 */
export class Pace {
  #window = INITIAL
  #shortest: Milliseconds = Number.POSITIVE_INFINITY
  #shortestAt: Milliseconds = 0
  /** Nothing has queued yet: the window grows by a quarter with each mark, as in the slow start of TCP. */
  #isStarting = true
  /** Marks left with half a window. */
  #draining = 0
  /** What had been sent, and confirmed, when; oldest first. */
  readonly #marks: { sent: number; confirmed: number; at: Milliseconds; limited: boolean }[] = []
  #confirmed = 0
  #marked = 0

  /** Bytes that may be unconfirmed. */
  get window(): number {
    return this.#window
  }

  /** Written at once at most: what leaves in bursts comes back in bursts, and its own length looks like a queue. */
  get burst(): number {
    return Math.max(4096, this.#window >> 3)
  }

  /** Messages are cut into pieces of this many bytes, so that others get in between. */
  get piece(): number {
    return Math.min(16 * 1024, Math.max(1024, this.#window >> 3))
  }

  /** `total` bytes were sent so far; true when the peer should confirm these at once. `limited`: more waits for the window. */
  sent(total: number, now: Milliseconds, limited: boolean): boolean {
    if (total - this.#marked < this.#window >> 3 && !limited) return false
    if (this.#marks.length >= MAX_MARKS || total === this.#marked) return false
    this.#marks.push({ sent: total, confirmed: this.#confirmed, at: now, limited })
    this.#marked = total
    return true
  }

  /** The peer has the first `total` bytes. */
  confirmed(total: number, now: Milliseconds): void {
    this.#confirmed = Math.max(this.#confirmed, total)
    for (let mark = this.#marks[0]; mark && mark.sent <= total; mark = this.#marks[0]) {
      this.#marks.shift()
      this.#learn(mark, now)
    }
  }

  /** A round trip was measured otherwise. */
  roundTrip(sample: Milliseconds, now: Milliseconds): void {
    if (sample > this.#shortest) return
    this.#shortest = sample
    this.#shortestAt = now
  }

  /** A new link: what was on the way is sent again, and the times say nothing. */
  restart(confirmed: number): void {
    this.#marks.length = 0
    this.#confirmed = confirmed
    this.#marked = confirmed
    this.#window = INITIAL
    this.#shortest = Number.POSITIVE_INFINITY
    this.#draining = 0
    this.#isStarting = true
  }

  #learn(
    { confirmed, at, limited }: { confirmed: number; at: Milliseconds; limited: boolean },
    now: Milliseconds,
  ): void {
    const took = Math.max(0.05, now - at)
    this.roundTrip(took, now)
    if (this.#draining > 0) {
      this.#draining--
      return
    }
    const rate = (this.#confirmed - confirmed) / took
    const fitting = rate * (this.#shortest + QUEUE)
    // Who sends little learns nothing of what there would be room for.
    if (fitting < this.#window && !limited) return
    if (now - this.#shortestAt > MEMORY) {
      this.#draining = DRAIN_MARKS
      this.#shortest = Number.POSITIVE_INFINITY
      this.#shortestAt = now
      this.#window = Math.max(LEAST, this.#window >> 1)
      return
    }
    if (took > this.#shortest + QUEUE) this.#isStarting = false
    // Towards what fits, not at once: one late answer is not a slow line.
    const step = (fitting - this.#window) / (fitting < this.#window ? 2 : 4)
    const next = this.#window + (this.#isStarting ? Math.max(step, this.#window / 4) : step)
    this.#window = Math.round(Math.min(MOST, Math.max(LEAST, next)))
  }
}
