import type { Milliseconds } from '../../types.ts'
import type { CandidateKind } from '../candidate.ts'
import type { TransportAddress } from '../transport-address.ts'
import type { CandidatePair, PairState } from './candidate-pair.ts'
import { scoreOf } from './score.ts'

/** What became of one pair, for people to read. */
export interface PairReport {
  readonly to: TransportAddress
  readonly local: CandidateKind
  readonly remote: CandidateKind
  readonly state: PairState
  readonly isSelected: boolean
  /** Smoothed round trip. */
  readonly rtt: Milliseconds | undefined
  /** Part of its checks that were not answered, 0 to 1. */
  readonly loss: number
  /** Largest UDP payload known to arrive, or the least that is presumed. */
  readonly mtu: number
  /** Lower is better. */
  readonly score: number
  /** Why it is used, or is not. */
  readonly reason: string
}

/** `why`: the reason for which a pair is in use, undefined where it is not; `isWanted`: it would be tried if its turn came. */
export function reportOf(pair: CandidatePair, why: string | undefined, isWanted: boolean): PairReport {
  const { to, localKind, remote, state, health, mtu } = pair
  return {
    to,
    local: localKind,
    remote: remote.kind,
    state,
    isSelected: why !== undefined,
    rtt: health.rtt,
    loss: health.loss,
    mtu: mtu.mtu,
    score: scoreOf(pair),
    reason: why === undefined ? reasonOf(pair, isWanted) : pair.isSilent ? 'in use, but silent' : `in use: ${why}`,
  }
}

function reasonOf({ state, health, why }: CandidatePair, isWanted: boolean): string {
  switch (state) {
    case 'succeeded':
      if (health.duty === 'proving') return 'it works, and is being proven'
      return health.duty === 'standby' ? 'it works, and stands by' : 'it works, but others are better'
    case 'failed':
      return why
    case 'in-progress':
      return 'it is being checked'
    default:
      return why || (isWanted ? 'it waits for its turn' : 'not tried: what works is better')
  }
}
