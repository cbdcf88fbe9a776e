import type { Milliseconds } from '../../types.ts'
import type { CandidateKind } from '../candidate.ts'
import type { TransportAddress } from '../transport-address.ts'
import type { PairState } from './candidate-pair.ts'

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
