/**
 * What a hostile peer can make us do at most (RFC 8445 section 19.5.1). Addresses that have answered a check, which nobody else can do for
 * them, are not held to these: they get consent checks and a few probes.
 */

import { type Allowance, TokenBucket, TokenBuckets } from '../../token-bucket.ts'
import type { Milliseconds } from '../../types.ts'

/** Pairs of one agent (RFC 8445 section 6.1.2.5). */
export const MAX_PAIRS = 100
/** Addresses that checks came from although the peer did not name them. */
export const MAX_REFLEXIVE = 8
/** Checks remembered that came before the credentials of their sender. */
export const MAX_EARLY = 8
/** Checks of one agent that an answer is taken for. */
export const MAX_TRANSACTIONS = 256
/** Checks received whose transaction ids are remembered, to tell replays. */
export const MAX_SEEN = 256

/** RFC 8445 section 14.2: new checks of all agents together, one in 5 ms. */
const GLOBAL_TA: Milliseconds = 5
/** Slots that were not used and may be made up for. */
const GLOBAL_BURST = 8
/** Checks of one agent: Ta of 25 ms, after a few at once. */
const PACE: Allowance = { rate: 40, burst: 5 }
/** In the long run: all pairs with their repetitions once, then five a second. */
const SUSTAINED: Allowance = { rate: 5, burst: 400 }
/** To one address: what RFC 8489 allows one transaction (Rc = 7) and an answer to the peer's own check, then one in 5 seconds. */
const ADDRESS = { rate: 0.2, burst: 8, keys: 256 }

/** Less than this is not waited for: what is taken too early is missing later. */
const LEAST_WAIT: Milliseconds = 1

/** Gives agents their turns, first come first served. */
export class Pacer {
  #last = Number.NEGATIVE_INFINITY

  /** The moment at which whoever asks may begin a check. */
  reserve(now: Milliseconds): Milliseconds {
    this.#last = Math.max(this.#last, now - GLOBAL_BURST * GLOBAL_TA) + GLOBAL_TA
    return Math.max(now, this.#last)
  }
}

/** Checks of one agent to addresses that have not proven that they want any. */
export class CheckBudget {
  readonly #pace: TokenBucket
  readonly #sustained: TokenBucket
  readonly #addresses = new TokenBuckets(ADDRESS)

  constructor(now: Milliseconds) {
    this.#pace = new TokenBucket(PACE, now)
    this.#sustained = new TokenBucket(SUSTAINED, now)
  }

  /** Takes what a check of an address costs, undefined for one that has answered before; false when it may not be sent now. */
  take(address: string | undefined, now: Milliseconds): boolean {
    if (this.wait(address, now) > 0) return false
    this.#pace.use(1, now)
    this.#sustained.use(1, now)
    if (address !== undefined) this.#addresses.of(address, now).use(1, now)
    return true
  }

  /** How long until such a check may be sent; 0 for now. */
  wait(address: string | undefined, now: Milliseconds): Milliseconds {
    const own = address === undefined ? 0 : this.#addresses.of(address, now).until(now)
    const wait = Math.max(this.#pace.until(now), this.#sustained.until(now), own)
    return wait < LEAST_WAIT ? 0 : wait
  }
}
