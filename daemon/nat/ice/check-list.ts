import type { Milliseconds } from '../../types.ts'
import { formatTransport, type TransportAddress } from '../transport-address.ts'
import { type Base, familyOf } from './base.ts'
import { CandidatePair, type RemoteAddress } from './candidate-pair.ts'
import { MAX_PAIRS } from './limits.ts'
import { rankOf } from './score.ts'

/** All pairs of one agent, and whose turn it is (RFC 8445 sections 6.1.2 and 6.1.4.2). */
export class CheckList {
  #pairs: CandidatePair[] = []
  readonly #byKey = new Map<string, CandidatePair>()
  /** Checks that answer those of the peer go first (RFC 8445 section 7.3.1.4). */
  #triggered: CandidatePair[] = []

  get pairs(): readonly CandidatePair[] {
    return this.#pairs
  }

  find(to: TransportAddress): CandidatePair | undefined {
    return this.#byKey.get(formatTransport(to))
  }

  /**
   * Makes the pairs of these bases and addresses, best first; `isOwn` tells addresses that lead to ourselves, `isKept` pairs that stay although
   * the peer does not name them any more. Returns the pairs that are gone, and those whose address the peer does not name any more.
   */
  rebuild(
    bases: readonly Base[],
    remotes: readonly RemoteAddress[],
    is: {
      readonly controlling: boolean
      readonly own: (remote: RemoteAddress) => boolean
      readonly kept: (pair: CandidatePair) => boolean
    },
  ): { readonly gone: readonly CandidatePair[]; readonly unnamed: readonly CandidatePair[] } {
    const before = this.#pairs
    const wanted = new Map<string, CandidatePair>()
    for (const base of bases)
      for (const remote of remotes) {
        if (familyOf(remote.address) !== base.family || is.own(remote)) continue
        const key = formatTransport({ ...remote, relay: base.relay })
        const known = this.#byKey.get(key)
        if (wanted.has(key)) continue
        if (known) known.remote = remote
        wanted.set(key, known ?? new CandidatePair(base, remote))
      }
    const unnamed = before.filter(
      (pair) =>
        !wanted.has(pair.key) &&
        is.kept(pair) &&
        bases.some(({ relay, family }) => relay === pair.base.relay && family === pair.base.family),
    )
    for (const pair of unnamed) {
      pair.remote = { ...pair.remote, kind: 'prflx' }
      wanted.set(pair.key, pair)
    }
    const kept = sorted([...wanted.values()], is.controlling)
    const first = kept.filter((pair) => is.kept(pair))
    this.#pairs = [...first, ...kept.filter((pair) => !is.kept(pair))].slice(0, MAX_PAIRS)
    this.#pairs = sorted(this.#pairs, is.controlling)
    this.#byKey.clear()
    for (const pair of this.#pairs) this.#byKey.set(pair.key, pair)
    this.#triggered = this.#triggered.filter((pair) => this.#byKey.has(pair.key))
    const gone = before.filter((pair) => !this.#byKey.has(pair.key))
    for (const pair of gone) pair.isGone = true
    this.#thaw()
    return { gone, unnamed }
  }

  /** The roles have changed, and with them the order. */
  sort(isControlling: boolean): void {
    this.#pairs = sorted(this.#pairs, isControlling)
  }

  /** The pair is to be checked before all others. */
  trigger(pair: CandidatePair): void {
    if (pair.state !== 'succeeded') pair.state = 'waiting'
    if (!this.#triggered.includes(pair)) this.#triggered.push(pair)
  }

  isTriggered(pair: CandidatePair): boolean {
    return this.#triggered.includes(pair)
  }

  /** Pairs to check, in their order; each waits until `start` is called. */
  *due(now: Milliseconds, mayRetry: (pair: CandidatePair) => boolean): Generator<CandidatePair> {
    for (const pair of this.#pairs)
      if (pair.state === 'failed' && pair.retryAt <= now && mayRetry(pair)) pair.state = 'waiting'
    yield* [...this.#triggered]
    this.#thaw()
    for (const pair of this.#pairs) if (pair.state === 'waiting' && !this.#triggered.includes(pair)) yield pair
  }

  /** Its check begins. */
  start(pair: CandidatePair): void {
    this.#triggered = this.#triggered.filter((other) => other !== pair)
    if (pair.state !== 'succeeded') pair.state = 'in-progress'
  }

  /** How many are to be checked or are being checked: it stretches repetitions (RFC 8445 section 14.3). */
  get unsettled(): number {
    return this.#pairs.filter(({ state }) => state === 'waiting' || state === 'in-progress').length
  }

  /** Frozen pairs of one foundation wait for the first of them (RFC 8445 section 6.1.2.6). */
  #thaw(): void {
    const busy = new Set<string>()
    for (const { state, foundation } of this.#pairs)
      if (state === 'waiting' || state === 'in-progress') busy.add(foundation)
    for (const pair of this.#pairs) {
      if (pair.state !== 'frozen' || busy.has(pair.foundation)) continue
      pair.state = 'waiting'
      busy.add(pair.foundation)
    }
  }
}

/** By priority (RFC 8445 section 6.1.2.3), and among equally good kinds the two families in turns (RFC 8421 section 4). */
function sorted(pairs: readonly CandidatePair[], isControlling: boolean): CandidatePair[] {
  const byPriority = pairs
    .map((pair) => ({ pair, priority: pair.priority(isControlling) }))
    .sort((a, b) => (a.priority < b.priority ? 1 : a.priority > b.priority ? -1 : a.pair.key < b.pair.key ? -1 : 1))
    .map(({ pair }) => pair)
  const counts = new Map<string, number>()
  return byPriority
    .map((pair) => {
      const rank = rankOf(pair)
      const kind = `${rank} ${pair.base.family}`
      const turn = counts.get(kind) ?? 0
      counts.set(kind, turn + 1)
      return { pair, rank, turn }
    })
    .sort((a, b) => a.rank - b.rank || a.turn - b.turn || b.pair.base.family - a.pair.base.family)
    .map(({ pair }) => pair)
}
