/** Which checks are sent, and when: to find paths, to know that they work, to see what they carry. */
import type { Milliseconds } from '../../types.ts'
import type { TransportAddress } from '../transport-address.ts'
import type { AgentState } from './agent-state.ts'
import { checkPriority } from './base.ts'
import type { CandidatePair } from './candidate-pair.ts'
import { type Check, writeCheck } from './check-message.ts'
import { CheckBudget, Pacer } from './limits.ts'
import { STANDBYS } from './path-choice.ts'
import { isRelayed, rankOf } from './score.ts'
import type { Transaction } from './transactions.ts'

/** Between new checks where many wait: what repetitions are stretched by (RFC 8445 section 14.2). */
const TA: Milliseconds = 25
/** RFC 8445 section 14.3. */
const LEAST_RTO: Milliseconds = 500
/** A check is sent so often before its pair has failed: the first time, and when it is tried again. */
const TRIES = 4
const RETRY_TRIES = 3
/** The first time and one more make seven. */
const ROUNDS = 2
/** After the last of them. */
const LAST_WAIT: Milliseconds = 2000
/** A peer of which nothing was heard for so long is not looked for any more, until something is. */
const LIFE: Milliseconds = 300_000

const ONCE = { tries: 1, rto: Number.POSITIVE_INFINITY } as const

/** The checks of one agent. */
export class Checks {
  pacer = new Pacer()
  readonly #state: AgentState
  readonly #send: (packet: Buffer, to: TransportAddress) => void
  readonly #budget: CheckBudget
  /** The turn that was given to us; undefined: none was asked for. */
  #slot: Milliseconds | undefined
  #beginAt: Milliseconds = Number.POSITIVE_INFINITY

  constructor(state: AgentState, now: Milliseconds, send: (packet: Buffer, to: TransportAddress) => void) {
    this.#state = state
    this.#send = send
    this.#budget = new CheckBudget(now)
  }

  get deadline(): Milliseconds {
    let first = Math.min(this.#beginAt, this.#state.transactions.deadline)
    for (const pair of this.#state.list.pairs) {
      if (pair.state !== 'succeeded') continue
      first = Math.min(first, pair.health.deadline)
      if (isProbed(pair)) first = Math.min(first, pair.mtu.deadline)
    }
    return first
  }

  /** Sends again what had no answer, and gives up what had none to the last (RFC 8489 section 6.2.1). */
  repeat(now: Milliseconds): void {
    for (const one of this.#state.transactions.due(now)) {
      const { pair } = one
      const wait = this.#budget.wait(budgetKey(pair), now)
      if (one.sends >= one.tries) {
        one.nextAt = Number.POSITIVE_INFINITY
        if (pair.state === 'in-progress') this.#state.fail(pair, `no answer to ${one.sends} checks`, now)
      } else if (wait > 0) {
        one.nextAt = now + wait
      } else {
        this.#budget.take(budgetKey(pair), now)
        one.sends++
        one.sentAt = now
        one.rto *= 2
        one.nextAt = now + (one.sends < one.tries ? one.rto : Math.min(LAST_WAIT, one.rto))
        this.#send(one.packet, pair.to)
      }
    }
  }

  /** Checks of pairs that work: consent, doubt, proof. */
  keepUp(now: Milliseconds): void {
    const current = this.#state.selected
    for (const pair of this.#state.list.pairs) {
      if (pair.state !== 'succeeded') continue
      const { health } = pair
      // To be ready when the path in use turns out to be dead.
      const isAsked = health.isWaiting || health.answeredAt >= (current?.health.doubtedAt ?? 0)
      if (current?.health.isDoubtful && pair !== current && !isAsked) health.doubt(now)
      if (health.isDue(now)) this.upkeep(pair, now)
    }
  }

  /** Checks a pair that works. */
  upkeep(pair: CandidatePair, now: Milliseconds): void {
    pair.health.sent(now)
    this.#check(pair, { ...ONCE, purpose: 'upkeep', size: 0 }, now)
  }

  /** Padded checks, on top of the others. */
  probe(now: Milliseconds): void {
    for (const pair of this.#state.list.pairs) {
      if (!pair.isUsable(now) || !isProbed(pair)) continue
      const size = pair.mtu.due(now, pair.health.rtt)
      if (size !== undefined) this.#check(pair, { ...ONCE, purpose: 'mtu', size }, now)
    }
  }

  /** Begins checks whose turn it is (RFC 8445 section 6.1.4.2). */
  begin(now: Milliseconds): void {
    const { list } = this.#state
    for (let pair = this.#next(now); pair; pair = this.#next(now)) {
      this.#slot ??= this.pacer.reserve(now)
      if (this.#slot > now) {
        this.#beginAt = this.#slot
        return
      }
      this.#slot = undefined
      this.#budget.take(budgetKey(pair), now)
      list.start(pair)
      const rto = Math.max(LEAST_RTO, TA * list.unsettled)
      this.#check(pair, { purpose: 'find', tries: pair.failures === 0 ? TRIES : RETRY_TRIES, size: 0, rto }, now)
    }
  }

  /** Worth to be found out about: it may be better than what there is, or is needed beside it. */
  isWanted(pair: CandidatePair): boolean {
    const { selected: current, list } = this.#state
    if (!current || current.isSilent || list.isTriggered(pair) || rankOf(pair) < rankOf(current)) return true
    const others = list.pairs.filter((one) => one.state === 'succeeded' && one !== current)
    return others.length < STANDBYS || (isRelayed(pair) && !isRelayed(current) && !others.some(isRelayed))
  }

  /** The pair to check now; where there is none, `#beginAt` is when there may be one. */
  #next(now: Milliseconds): CandidatePair | undefined {
    const { list, remote } = this.#state
    this.#beginAt = Number.POSITIVE_INFINITY
    if (!remote) return undefined
    for (const pair of list.due(now, (one) => this.#mayRetry(one, now))) {
      if (!this.isWanted(pair)) continue
      const wait = this.#budget.wait(budgetKey(pair), now)
      if (wait === 0) return pair
      this.#beginAt = Math.min(this.#beginAt, now + wait)
    }
    for (const pair of list.pairs)
      if (pair.state === 'failed' && this.#mayRetry(pair, now)) this.#beginAt = Math.min(this.#beginAt, pair.retryAt)
    return undefined
  }

  /**
   * What never answered gets as many checks as one transaction may have (RFC 8489 section 6.2.1, Rc), then no more until there is news; or ever
   * rarer ones while there is a path, for then the peer lives. What has answered at some time is asked for longer.
   */
  #mayRetry(pair: CandidatePair, now: Milliseconds): boolean {
    const { lifeAt, selected } = this.#state
    if (!this.isWanted(pair) || now - lifeAt >= LIFE) return false
    return pair.isProven || pair.failures < ROUNDS || (selected?.isUsable(now) ?? false)
  }

  #check(pair: CandidatePair, how: Pick<Transaction, 'purpose' | 'tries' | 'size' | 'rto'>, now: Milliseconds): void {
    const { remote, local, role, selected, nomination, random, transactions } = this.#state
    if (!remote) return
    const isNominated = role.isControlling && pair === selected && pair === nomination.pair
    const check: Check = {
      to: remote.ufrag,
      from: local.ufrag,
      priority: checkPriority(pair.base),
      role: role.name,
      tieBreaker: role.tieBreaker,
      nomination: isNominated ? nomination.number : undefined,
    }
    const id = random(12)
    const packet = writeCheck(id, check, remote.pwd, how.size)
    const nextAt = now + how.rto
    transactions.add({ ...how, id, pair, key: remote.pwd, role: role.name, packet, sends: 1, sentAt: now, nextAt })
    this.#send(packet, pair.to)
  }
}

/** What has answered before is held to less. */
const budgetKey = ({ isProven, key }: CandidatePair): string | undefined => (isProven ? undefined : key)

/** It is of interest which packets fit. */
function isProbed({ health: { duty }, mtu, isSilent }: CandidatePair): boolean {
  if (isSilent) return false
  return duty === 'selected' || duty === 'proving' || (duty === 'standby' && mtu.isNarrow)
}
