import type { Milliseconds } from '../../types.ts'
import type { AgentState } from './agent-state.ts'
import type { CandidatePair } from './candidate-pair.ts'
import { betterIn, isRelayed, kindOf, scoreOf } from './score.ts'

/** Pairs that are kept alive beside the one in use. */
export const STANDBYS = 2
/** Pairs that are being proven at one time. */
const CONTENDERS = 2
/** The controlled side waits so long for a nomination before it uses what works; and two round trips. */
const GRACE: Milliseconds = 300
/** A pair that is better only in its measurements has to be so for this long, and not sooner after the last such move than this. */
const QUALITY_PROOF: Milliseconds = 3000
const QUALITY_PAUSE: Milliseconds = 30_000
/** Time in use after which a pair is trusted as if it had never failed. */
const TRUSTED: Milliseconds = 60_000

interface PathChoiceEvents {
  /** Another pair is in use than before, or none. */
  selected(pair: CandidatePair | undefined, reason: string): void
  /** A check of the nominated pair is to leave now. */
  nominated(pair: CandidatePair, now: Milliseconds): void
}

/**
 * Which pair is used. Where there is none, whatever works first; where one works, only what is better and has proven it; where one does not
 * work any more, the best that still does. The controlling side nominates, the controlled side follows while what was nominated works.
 */
export class PathChoice {
  readonly #state: AgentState
  readonly #events: PathChoiceEvents
  #since: Milliseconds = Number.NEGATIVE_INFINITY
  #why = ''
  /** Until then a nomination is waited for; undefined: none is. */
  #graceUntil: Milliseconds | undefined
  #qualityMoveAt: Milliseconds = Number.NEGATIVE_INFINITY

  constructor(state: AgentState, events: PathChoiceEvents) {
    this.#state = state
    this.#events = events
  }

  /** Why the pair in use was chosen. */
  get why(): string {
    return this.#why
  }

  get deadline(): Milliseconds {
    let first = this.#graceUntil ?? Number.POSITIVE_INFINITY
    for (const { state, health } of this.#state.list.pairs)
      if (state === 'succeeded') first = Math.min(first, health.consentUntil)
    return first
  }

  /** The first pair is about to work, its round trip being `rtt`. */
  begin(rtt: Milliseconds, now: Milliseconds): void {
    this.#graceUntil = now + GRACE + 2 * rtt
  }

  /** Finds what does not work any more, chooses, and assigns to each pair what it is checked for. */
  run(now: Milliseconds): void {
    if (this.#graceUntil !== undefined && now >= this.#graceUntil) this.#graceUntil = undefined
    this.#judge(now)
    this.#choose(now)
    this.#assign(now)
  }

  /** Finds what has fallen silent, and what there is no consent for any more. */
  #judge(now: Milliseconds): void {
    const state = this.#state
    for (const pair of state.list.pairs) {
      if (pair.state !== 'succeeded') continue
      const { health } = pair
      if (now >= health.consentUntil) {
        state.fail(pair, health.duty === 'none' ? 'not needed: others are better' : 'no answer for 30 seconds', now)
      } else if (health.isDue(now) && health.isExhausted && !pair.isSilent) {
        if (health.duty === 'selected' || health.duty === 'proving') pair.distrust()
        if (pair === state.selected) {
          pair.isSilent = true
          state.reviveAll(now)
        } else state.fail(pair, 'it answers no more', now)
      }
    }
  }

  #choose(now: Milliseconds): void {
    const { selected: current, role, nomination } = this.#state
    const nominated = role.isControlling ? undefined : nomination.pair
    if (current?.isUsable(now)) {
      if (now - this.#since > TRUSTED) current.probation = 0
      if (role.isControlling) this.#improve(current, now)
      else if (nominated && nominated !== current && nominated.isUsable(now)) this.#follow(nominated, now)
      return
    }
    const isFollowing = nominated?.isUsable(now) ?? false
    const next = isFollowing ? nominated : this.#alternative(current, now)
    if (next) return this.#select(next, reasonFor(current, isFollowing), now)
    if (current && (!current.hasConsent(now) || current.state !== 'succeeded'))
      this.#select(undefined, `${describe(current)}: ${current.why || 'is gone'}`, now)
  }

  /** Moves to what is so much better than a path that works that it is worth it. */
  #improve(current: CandidatePair, now: Milliseconds): void {
    const proven = this.#state.usable(now).filter(({ health, probation }) => health.isProven(probation, now))
    const best = bestOf(proven.filter((pair) => this.#isWorthIt(pair, current, now)))
    if (!best) return
    if (betterIn(best, current) === 'quality') this.#qualityMoveAt = now
    this.#select(best, `${describe(best)} is better than ${describe(current)}`, now)
  }

  #isWorthIt(pair: CandidatePair, current: CandidatePair, now: Milliseconds): boolean {
    const gain = betterIn(pair, current)
    if (gain !== 'quality') return gain === 'kind'
    return now - this.#qualityMoveAt >= QUALITY_PAUSE && pair.health.isProven(QUALITY_PROOF, now)
  }

  /** The peer controls and has chosen another; one that did not hold here has to prove itself first. */
  #follow(nominated: CandidatePair, now: Milliseconds): void {
    const { probation, health } = nominated
    if (probation === 0 || health.isProven(probation, now))
      this.#select(nominated, `the peer has chosen ${describe(nominated)}`, now)
  }

  /** What to use where the path does not work, or there is none. */
  #alternative(current: CandidatePair | undefined, now: Milliseconds): CandidatePair | undefined {
    const usable = this.#state.usable(now)
    if (current?.state === 'succeeded') {
      // Whatever silenced it may have silenced others: only what has answered since counts.
      const { doubtedAt } = current.health
      return bestOf(usable.filter(({ health }) => !health.isWaiting || health.answeredAt >= doubtedAt))
    }
    const isEarly = !current && !this.#state.role.isControlling && this.#graceUntil !== undefined
    return isEarly ? undefined : bestOf(usable)
  }

  #select(pair: CandidatePair | undefined, reason: string, now: Milliseconds): void {
    const state = this.#state
    const before = state.selected
    state.selected = pair
    this.#since = now
    this.#why = reason
    this.#graceUntil = undefined
    if (before?.isSilent) state.fail(before, 'it answers no more', now)
    if (pair && state.role.isControlling) {
      state.nomination.nominate(pair)
      pair.health.assign('selected', now, state.fraction)
      this.#events.nominated(pair, now)
    }
    if (!pair) state.reviveAll(now)
    this.#events.selected(pair, reason)
  }

  #assign(now: Milliseconds): void {
    const { selected: current, role, nomination, fraction } = this.#state
    const usable = this.#state.usable(now).sort((a, b) => scoreOf(a) - scoreOf(b))
    const standbys = current ? standbysOf(current, usable) : usable.slice(0, STANDBYS)
    const mayReplace = (pair: CandidatePair): boolean =>
      current !== undefined && (role.isControlling ? betterIn(pair, current) !== undefined : pair === nomination.pair)
    let contenders = CONTENDERS
    for (const pair of usable) {
      if (pair === current) pair.health.assign('selected', now, fraction)
      else if (mayReplace(pair) && contenders-- > 0) pair.health.assign('proving', now, fraction)
      else pair.health.assign(standbys.includes(pair) ? 'standby' : 'none', now, fraction)
    }
  }
}

function reasonFor(before: CandidatePair | undefined, isFollowing: boolean): string {
  if (before) return `${describe(before)} ${before.isSilent ? 'went silent' : before.why}`
  return isFollowing ? 'the peer has chosen it' : 'it was the first to work'
}

function bestOf(pairs: readonly CandidatePair[]): CandidatePair | undefined {
  const [first, ...others] = pairs
  return first && others.reduce((best, one) => (scoreOf(best) <= scoreOf(one) ? best : one), first)
}

/** The next best, and the best of those that are of another sort, so that what ends one does not end all. */
function standbysOf(current: CandidatePair, usable: readonly CandidatePair[]): CandidatePair[] {
  const others = usable.filter((pair) => pair !== current)
  const unlike = others.find((pair) => isRelayed(pair) !== isRelayed(current))
  if (!unlike) return others.slice(0, STANDBYS)
  return [...others.filter((pair) => pair !== unlike).slice(0, STANDBYS - 1), unlike]
}

function describe(pair: CandidatePair): string {
  return `${pair.key} (${kindOf(pair)})`
}
