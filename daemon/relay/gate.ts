import { ipToBytes } from '../network/ip-bytes.ts'
import { type Allowance, TokenBuckets } from '../token-bucket.ts'
import type { Milliseconds } from '../types.ts'

/** Answers that one source address gets before it has proven itself: enough for many clients behind one router. */
const UNPROVEN: Allowance = { rate: 100, burst: 500 }
/** Wrong proofs of one source address. */
const WRONG: Allowance = { rate: 5, burst: 50 }
/** All answers to strangers, whose addresses may all be forged. */
const ALL: Allowance = { rate: 2000, burst: 4000 }
/** Sources remembered. */
const MAX_SOURCES = 4096
/** What one customer of a provider has at least (RFC 6177). */
const IPV6_PREFIX = 8

/** How much is answered to whom, before anybody is known. Nothing else is kept of strangers. */
export class Gate {
  readonly #unproven = new TokenBuckets({ ...UNPROVEN, keys: MAX_SOURCES })
  readonly #wrong = new TokenBuckets({ ...WRONG, keys: MAX_SOURCES })
  readonly #all = new TokenBuckets({ ...ALL, keys: 1 })

  /** True where a stranger may be answered. */
  admits(address: string, now: Milliseconds): boolean {
    return this.#unproven.take(sourceOf(address), now) && this.#all.take('', now)
  }

  /** True while the proofs of this address are worth the work. To be asked for those who have shown that the address is theirs. */
  trusts(address: string, now: Milliseconds): boolean {
    return this.#wrong.of(sourceOf(address), now).until(now) === 0
  }

  /** A proof was wrong. */
  failed(address: string, now: Milliseconds): void {
    this.#wrong.take(sourceOf(address), now)
  }
}

function sourceOf(address: string): string {
  return address.includes(':') ? ipToBytes(address).toString('latin1', 0, IPV6_PREFIX) : address
}
