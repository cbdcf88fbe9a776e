import type { Milliseconds } from './types.ts'

/** How much of something may be used: `rate` a second, and `burst` at once. */
export interface Allowance {
  readonly rate: number
  readonly burst: number
}

/** Holds somebody to an allowance: what may not be had now is refused (`take`), or goes into debt that is paid back first (`use`). */
export class TokenBucket {
  readonly #allowance: Allowance
  #tokens: number
  #at: Milliseconds

  constructor(allowance: Allowance, now: Milliseconds) {
    this.#allowance = allowance
    this.#tokens = allowance.burst
    this.#at = now
  }

  /** False where so much may not be used now; then nothing is. */
  take(now: Milliseconds, tokens = 1): boolean {
    this.#refill(now)
    if (this.#tokens < tokens) return false
    this.#tokens -= tokens
    return true
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

  /** How long until `take` would succeed; 0 for now. */
  until(now: Milliseconds, tokens = 1): Milliseconds {
    this.#refill(now)
    return Math.max(0, ((tokens - this.#tokens) / this.#allowance.rate) * 1000)
  }

  #refill(now: Milliseconds): void {
    const { rate, burst } = this.#allowance
    this.#tokens = Math.min(burst, this.#tokens + ((now - this.#at) / 1000) * rate)
    this.#at = now
  }
}

/** A bucket for each key (an address, a peer), for a bounded number of keys; one that was pushed out starts anew. */
export class TokenBuckets {
  readonly #limits: Allowance & { readonly keys: number }
  readonly #buckets = new Map<string, TokenBucket>()

  constructor(limits: Allowance & { readonly keys: number }) {
    this.#limits = limits
  }

  take(key: string, now: Milliseconds, tokens = 1): boolean {
    return this.of(key, now).take(now, tokens)
  }

  /** The bucket of a key; whoever keeps it shares it with others who ask for it, until it is pushed out. */
  of(key: string, now: Milliseconds): TokenBucket {
    const bucket = this.#buckets.get(key) ?? new TokenBucket(this.#limits, now)
    this.#buckets.delete(key)
    this.#buckets.set(key, bucket)
    const [oldest] = this.#buckets.keys()
    if (this.#buckets.size > this.#limits.keys && oldest !== undefined) this.#buckets.delete(oldest)
    return bucket
  }
}
