import type { Milliseconds } from '../types.ts'

/** How much of something may be used: `rate` a second, and `burst` at once. */
export interface Allowance {
  readonly rate: number
  readonly burst: number
}

/** A token bucket that may go into debt: what was used is paid back before more is. */
export class TokenBucket {
  readonly #allowance: Allowance
  #tokens: number
  #at: Milliseconds

  constructor(allowance: Allowance, now: Milliseconds) {
    this.#allowance = allowance
    this.#tokens = allowance.burst
    this.#at = now
  }

  use(tokens: number, now: Milliseconds): void {
    this.#refill(now)
    this.#tokens -= tokens
  }

  /** How long until something may be used again; 0 for now. */
  wait(now: Milliseconds): Milliseconds {
    this.#refill(now)
    return this.#tokens > 0 ? 0 : ((1 - this.#tokens) / this.#allowance.rate) * 1000
  }

  #refill(now: Milliseconds): void {
    const { rate, burst } = this.#allowance
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#at) / 1000) * rate)
    this.#at = now
  }
}
