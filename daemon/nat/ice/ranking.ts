import type { CandidateKind } from '../candidate.ts'
import type { Pair } from './pair.ts'

/** Better pairs first: kinds in the order of routes, and among equal ones the quicker. */
const RANK: Record<CandidateKind, number> = { host: 0, mapped: 1, srflx: 2, prflx: 2, relay: 3 }
/** So much of the checks lost makes any other pair better. */
const BAD_LOSS = 0.4
/** A quicker pair has to be that much quicker. */
const QUICKER = 0.7
const QUICKER_BY = 10

/** Lower is better. */
export function rankOfPair({ local, remote, loss, to }: Pick<Pair, 'local' | 'remote' | 'loss' | 'to'>): number {
  const ends = to.relay !== undefined || remote === 'relay' ? RANK.relay : Math.max(RANK[local], RANK[remote])
  // Through two relays is worse than through one.
  const both = to.relay !== undefined && remote === 'relay' ? 1 : 0
  return ends + both + (loss > BAD_LOSS ? 10 : 0)
}

/** True where `one` is to be moved to from `current`, once it has proven itself. */
export function isBetter(one: Pair, current: Pair): boolean {
  const [mine, theirs] = [rankOfPair(one), rankOfPair(current)]
  if (mine !== theirs) return mine < theirs
  if (one.rtt === undefined || current.rtt === undefined) return false
  return one.rtt < current.rtt * QUICKER - QUICKER_BY
}

/** The order in which pairs are fallen back to. */
export function compare(a: Pair, b: Pair): number {
  return rankOfPair(a) - rankOfPair(b) || (a.rtt ?? 1e9) - (b.rtt ?? 1e9) || (a.priority < b.priority ? 1 : -1)
}
