import type { HostPort, Milliseconds } from '../../types.ts'
import type { CandidateKind } from '../candidate.ts'
import { formatTransport, type TransportAddress } from '../transport-address.ts'
import type { Base } from './base.ts'
import { MtuProbe } from './mtu-probe.ts'
import { PairHealth } from './pair-health.ts'

/** RFC 8445 section 6.1.2.6. */
export type PairState = 'frozen' | 'waiting' | 'in-progress' | 'succeeded' | 'failed'

/** An address of the peer: named by it (then not `prflx`), or one that its checks came from. */
export interface RemoteAddress extends HostPort {
  readonly kind: CandidateKind
  readonly priority: number
  readonly foundation: string
}

/** When a failed pair is tried again, after the first failure and later ones. */
const RETRIES: readonly Milliseconds[] = [2000, 4000, 8000, 15_000, 15_000, 15_000, 30_000, 30_000, 60_000]
/** Time for which a pair has to be proven again after it was left: it doubles, up to the last. */
const PROBATION: Milliseconds = 1000
const MAX_PROBATION: Milliseconds = 60_000

/** A way to the peer: a base of ours, and an address of its own. */
export class CandidatePair {
  readonly base: Base
  readonly to: TransportAddress
  /** Tells it from other pairs. */
  readonly key: string
  remote: RemoteAddress
  state: PairState = 'frozen'
  health: PairHealth
  mtu: MtuProbe
  /** As the peer sees us over it (RFC 8445 section 7.2.5.3.1). */
  mapped: HostPort | undefined
  localKind: CandidateKind
  /** It answered nothing lately; told only of succeeded pairs. */
  isSilent = false
  /** Where failed, why: for people. */
  why = ''
  /** When it is checked again after it has failed. */
  retryAt: Milliseconds = Number.POSITIVE_INFINITY
  /** How long it has to be proven before it is chosen in place of one that works. */
  probation: Milliseconds = 0
  /** Its checks were answered at some time: the address is the peer's. */
  isProven = false
  isGone = false
  #failures = 0

  constructor(base: Base, remote: RemoteAddress) {
    this.base = base
    this.remote = remote
    const { address, port } = remote
    this.to = base.relay === undefined ? { address, port } : { address, port, relay: base.relay }
    this.key = formatTransport(this.to)
    this.localKind = base.kind
    this.health = new PairHealth()
    this.mtu = new MtuProbe(base.family)
  }

  /** It has been checked and answers. */
  isUsable(now: Milliseconds): boolean {
    return this.state === 'succeeded' && !this.isSilent && now < this.health.consentUntil && !this.isGone
  }

  /** Consent to send there (RFC 7675) is there. */
  hasConsent(now: Milliseconds): boolean {
    return now < this.health.consentUntil && !this.isGone
  }

  /** How often it has failed since there was any news of it. */
  get failures(): number {
    return this.#failures
  }

  /** RFC 8445 section 6.1.2.6: pairs of one foundation are likely to come out alike. */
  get foundation(): string {
    return `${this.base.foundation} ${this.remote.foundation}`
  }

  /** RFC 8445 section 6.1.2.3. */
  priority(isControlling: boolean): bigint {
    const [g, d] = isControlling
      ? [this.base.priority, this.remote.priority]
      : [this.remote.priority, this.base.priority]
    return (BigInt(Math.min(g, d)) << 32n) + 2n * BigInt(Math.max(g, d)) + (g > d ? 1n : 0n)
  }

  fail(why: string, now: Milliseconds): void {
    this.state = 'failed'
    this.why = why
    this.isSilent = false
    this.health.stop()
    this.retryAt = now + (RETRIES[Math.min(this.#failures, RETRIES.length - 1)] as number)
    this.#failures++
  }

  /** It is to be checked as if it were new. */
  revive(): void {
    this.#failures = 0
    this.retryAt = Number.POSITIVE_INFINITY
    if (this.state === 'failed' || this.state === 'in-progress') this.state = 'waiting'
  }

  /** Other credentials: nothing that was found counts. */
  reset(): void {
    this.revive()
    this.state = 'waiting'
    this.isSilent = false
    this.health = new PairHealth()
    this.isProven = false
  }

  succeeded(): void {
    this.state = 'succeeded'
    this.isProven = true
    this.isSilent = false
    this.#failures = 0
    this.retryAt = Number.POSITIVE_INFINITY
  }

  /** It was in use, or about to be, and did not hold. */
  distrust(): void {
    this.probation = Math.min(MAX_PROBATION, Math.max(PROBATION, this.probation * 2))
  }
}
