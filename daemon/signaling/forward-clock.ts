import type { Clock } from '../clock.ts'
import type { Milliseconds, UnixMilliseconds } from '../types.ts'

/**
 * The wall clock without its leaps backwards: it follows when the wall clock is set forward or the machine slept, and otherwise runs on with
 * the monotonic clock. So what was too old once is too old for good, whatever is done to the wall clock, and it never runs slower than the
 * monotonic one.
 */
export class ForwardClock {
  readonly #clock: Clock
  /** From 0, so that a wall clock before 1970 gives a time that fits a signal. */
  #offset: Milliseconds = 0

  constructor(clock: Clock) {
    this.#clock = clock
  }

  wall(): UnixMilliseconds {
    const now = this.#clock.now()
    this.#offset = Math.max(this.#offset, this.#clock.wall() - now)
    return this.#offset + now
  }
}
