import type { Milliseconds } from '../types.ts'

const FIRST: Milliseconds = 1000
/** The longest pause for the first minutes after a loss, and later. */
const SHORT: Milliseconds = 5000
const LONG: Milliseconds = 300_000
const LATELY: Milliseconds = 600_000
const JITTER = 0.25

/** Pauses between attempts at one server: short ones while its line may come back any moment, ever longer ones then. */
export class Retry {
  readonly #random: () => number
  #failures = 0
  #lostAt: Milliseconds

  /** `random`: 0 to 1, exclusive. */
  constructor(random: () => number, now: Milliseconds) {
    this.#random = random
    this.#lostAt = now
  }

  /** It worked, until now. */
  lost(now: Milliseconds): void {
    this.#failures = 0
    this.#lostAt = now
  }

  /** How long to wait after another failure. */
  pause(now: Milliseconds): Milliseconds {
    const longest = now - this.#lostAt < LATELY ? SHORT : LONG
    const pause = Math.min(longest, FIRST * 2 ** this.#failures)
    this.#failures = Math.min(this.#failures + 1, 20)
    return pause * (1 + JITTER * (2 * this.#random() - 1))
  }
}
