import type { Clock } from '../clock.ts'
import { TokenBuckets } from '../token-bucket.ts'
import type { PeerId } from '../types.ts'

/** Peers that are counted at a time. */
export const MAX_COUNTED = 4096
const MINUTE = 60

/** What a peer may begin so often a minute. */
export type Kind = 'sessions' | 'streams' | 'requests'

/** Holds each peer to what it may begin a minute, as the settings say now; all of it at once, then one after another. */
export class PeerRates {
  readonly #clock: Clock
  readonly #perMinute: (kind: Kind) => number
  readonly #buckets = new Map<Kind, { readonly limit: number; readonly buckets: TokenBuckets }>()

  /** `perMinute`: 0 has no limit. */
  constructor(clock: Clock, perMinute: (kind: Kind) => number) {
    this.#clock = clock
    this.#perMinute = perMinute
  }

  /** False where it is too much. */
  take(kind: Kind, peer: PeerId): boolean {
    const limit = this.#perMinute(kind)
    if (limit === 0) return true
    const known = this.#buckets.get(kind)
    const current =
      known?.limit === limit
        ? known
        : { limit, buckets: new TokenBuckets({ rate: limit / MINUTE, burst: limit, keys: MAX_COUNTED }) }
    this.#buckets.set(kind, current)
    return current.buckets.take(peer, this.#clock.now())
  }
}
