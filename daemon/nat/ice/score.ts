import { type CandidateKind, isRelayKind } from '../candidate.ts'
import type { CandidatePair } from './candidate-pair.ts'

/** Those of relays leave room for a path over two of them. */
const RANK: Readonly<Record<CandidateKind, number>> = {
  host: 0,
  mapped: 1,
  srflx: 2,
  prflx: 2,
  'friend-relay': 3,
  relay: 5,
}
/** What a step from one kind to the next is worth, in milliseconds of round trip: more than any that is of use. */
const STEP = 2000
/** Presumed until it was measured. */
const UNKNOWN_RTT = 200
/** RFC 8421: IPv6 where all else is equal. */
const IPV4 = 2
/** Of all packets lost, as milliseconds. */
const LOSS = 1000
/** A path below what QUIC and UDX need is the last resort. */
const NARROW = 100_000
/** By how much a pair of the same kind has to be better, so that measurements that waver decide nothing. */
const MARGIN = 20
const MARGIN_PART = 0.3

/** The worse of both ends: what a pair counts as. */
export function kindOf(pair: CandidatePair): CandidateKind {
  const { localKind, remote } = pair
  return RANK[remote.kind] > RANK[localKind] ? remote.kind : localKind
}

/** How good a kind of pair is at best: lower is better; over two relays is worse than over one. */
export function rankOf({ localKind, remote }: CandidatePair): number {
  const worst = Math.max(RANK[localKind], RANK[remote.kind])
  return isRelayKind(localKind) && isRelayKind(remote.kind) ? worst + 1 : worst
}

/** Kind first, then round trip, loss and family; lower is better. */
export function scoreOf(pair: CandidatePair): number {
  const { rtt, loss } = pair.health
  const narrow = pair.mtu.isNarrow ? NARROW : 0
  const family = pair.base.family === 4 ? IPV4 : 0
  return rankOf(pair) * STEP + Math.min(STEP / 2, rtt ?? UNKNOWN_RTT) + Math.min(1, loss) * LOSS + family + narrow
}

type Comparison = 'kind' | 'quality' | undefined

/** In what `pair` is so much better than `current` that it is worth a move; undefined: in nothing. */
export function betterIn(pair: CandidatePair, current: CandidatePair): Comparison {
  const gain = scoreOf(current) - scoreOf(pair)
  if (gain <= 0) return undefined
  if (rankOf(pair) < rankOf(current)) return 'kind'
  const margin = Math.max(MARGIN, MARGIN_PART * (current.health.rtt ?? UNKNOWN_RTT))
  return gain > margin ? 'quality' : undefined
}

/** It goes over a relay, at whichever end. */
export function isRelayed({ base, remote }: CandidatePair): boolean {
  return base.relay !== undefined || isRelayKind(remote.kind)
}
