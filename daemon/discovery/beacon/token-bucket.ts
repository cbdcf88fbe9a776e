import type { Milliseconds } from '../../types.ts'

/** Allows `rate` a second, and `burst` at once. */
export class TokenBucket {
  readonly #rate: number
  readonly #burst: number
  #tokens: number
  #at: Milliseconds

  constructor(rate: number, burst: number, now: Milliseconds) {
    this.#rate = rate
    this.#burst = burst
    this.#tokens = burst
    this.#at = now
  }

  take(now: Milliseconds): boolean {
    this.#tokens = Math.min(this.#burst, this.#tokens + ((now - this.#at) / 1000) * this.#rate)
    this.#at = now
    if (this.#tokens < 1) return false
    this.#tokens--
    return true
  }
}

/** A bucket for each address, for a bounded number of addresses; one that was pushed out starts anew. */
export class TokenBuckets {
  readonly #limits: { readonly rate: number; readonly burst: number; readonly addresses: number }
  readonly #buckets = new Map<string, TokenBucket>()

  constructor(limits: { rate: number; burst: number; addresses: number }) {
    this.#limits = limits
  }

  take(address: string, now: Milliseconds): boolean {
    const { rate, burst, addresses } = this.#limits
    const bucket = this.#buckets.get(address) ?? new TokenBucket(rate, burst, now)
    this.#buckets.delete(address)
    this.#buckets.set(address, bucket)
    const [oldest] = this.#buckets.keys()
    if (this.#buckets.size > addresses && oldest !== undefined) this.#buckets.delete(oldest)
    return bucket.take(now)
  }
}
