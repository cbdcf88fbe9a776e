import type { Milliseconds } from '../../types.ts'
import type { CandidateKind, LocalCandidate, RemoteCandidate } from '../candidate.ts'
import { unknownAttributes } from '../stun/attributes.ts'
import type { StunMessage } from '../stun/message.ts'
import { ERROR, METHOD } from '../stun/registry.ts'
import { formatTransport, isSameTransport, type TransportAddress } from '../transport-address.ts'
import { type Base, basesOf, checkPriority, familyOf } from './base.ts'
import type { CandidatePair } from './candidate-pair.ts'
import { CheckList } from './check-list.ts'
import { type Check, readAnswer, readCheck, writeAnswer, writeCheck, writeRefusal } from './check-message.ts'
import { areCredentials, type IceCredentials, isSameCredentials } from './credentials.ts'
import { failureReason, UNSENT } from './failure-reason.ts'
import { CheckBudget, MAX_SEEN, Pacer } from './limits.ts'
import { MtuProbe } from './mtu-probe.ts'
import { Nomination } from './nomination.ts'
import type { PairReport } from './pair-report.ts'
import { RemoteAddresses } from './remote-addresses.ts'
import { Role } from './role.ts'
import { betterIn, kindOf, rankOf, scoreOf } from './score.ts'
import { keyOf, type Transaction, Transactions, type TransactionWatcher } from './transactions.ts'

export type { IceCredentials } from './credentials.ts'

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
/** Until it is told that nothing works. Checks go on: a peer may be late (RFC 8863). */
const PATIENCE: Milliseconds = 7000
/** A peer that nothing was heard of for so long is not looked for any more, until something is. */
const LIFE: Milliseconds = 300_000
/** After a restart of ours, the peer may know only the old credentials for so long. */
const OLD_CREDENTIALS: Milliseconds = 60_000
/** The controlled side waits so long for a nomination before it uses what works; and two round trips. */
const GRACE: Milliseconds = 300
/** Pairs that are kept alive beside the one in use. */
const STANDBYS = 2
/** Pairs that are being proven at one time. */
const CONTENDERS = 2
/** A pair that is better only in its measurements has to be so for this long, and not sooner after the last such move than this. */
const QUALITY_PROOF: Milliseconds = 3000
const QUALITY_PAUSE: Milliseconds = 30_000
/** Time in use after which a pair is trusted as if it had never failed. */
const TRUSTED: Milliseconds = 60_000
/** Codes of send errors that tell of the path, not of us. */
const DOUBTFUL = ['ECONNREFUSED', 'ECONNRESET']

export interface IceAgentOptions {
  /** The moment it begins, of the monotonic clock that all calls name. */
  readonly now: Milliseconds
  /** Random bytes that nobody can guess. */
  readonly random: (bytes: number) => Buffer
  /** To begin with; where both ends say the same, tie-breakers decide (RFC 8445 section 7.3.1.1). */
  readonly isControlling: boolean
  readonly local: IceCredentials
  /** Of the sockets there are. */
  readonly families: readonly (4 | 6)[]
}

/** What an agent tells, during a call of it. */
export interface IceAgentEvents {
  /** A STUN message is to go to an address, where `relay` says so through that relay. */
  output(packet: Buffer, to: TransportAddress): void
  /** Where packets go from now on; undefined: there is nowhere they may go. Not called again for the same path. */
  selected(path: SelectedPath | undefined, reason: string): void
  /** Nothing has worked, for the reason told; the agent goes on with what trickles in. */
  failed(reason: string): void
  /** More is known of what the path in use carries than when it was told. */
  measured?(path: SelectedPath): void
}

/** The path in use. */
export interface SelectedPath {
  readonly to: TransportAddress
  /** The worse of both ends. */
  readonly kind: CandidateKind
  readonly local: CandidateKind
  readonly remote: CandidateKind
  /** Smoothed round trip. */
  readonly rtt: Milliseconds | undefined
  /** Largest UDP payload known to arrive, or presumed: `IceAgent.selected` tells as more is known. */
  readonly mtu: number
}

/** What an agent needs of the multiplexer that it is registered with. */
export interface AgentPort extends TransactionWatcher {
  readonly pacer: Pacer
  /** It goes by these user fragments from now on. */
  names(ufrags: readonly string[]): void
}

/**
 * One end of Interactive Connectivity Establishment (RFC 8445) with one peer, which never ends: candidates come and go (RFC 8838), the path
 * moves to what is better once that is proven, and away from what falls silent. Free of I/O: messages and the time in, packets and the next
 * deadline out. After any call `deadline` may be nearer than before.
 */
export class IceAgent {
  readonly #options: IceAgentOptions
  readonly #events: IceAgentEvents
  readonly #role: Role
  readonly #budget: CheckBudget
  readonly #list = new CheckList()
  readonly #remotes = new RemoteAddresses()
  readonly #transactions = new Transactions()
  readonly #nomination = new Nomination()
  /** Where checks of the peer came from, by transaction. */
  readonly #seen = new Map<string, string>()
  readonly #outbox: (() => void)[] = []
  #port: AgentPort | undefined
  #pacer = new Pacer()
  #local: IceCredentials
  #old: { readonly credentials: IceCredentials; readonly until: Milliseconds } | undefined
  #remote: IceCredentials | undefined
  #candidates: readonly LocalCandidate[] = []
  #bases: readonly Base[]
  readonly #had = new Set<4 | 6>()
  #selected: CandidatePair | undefined
  #selectedAt: Milliseconds = Number.NEGATIVE_INFINITY
  #why = ''
  /** The turn that was given to us; undefined: none was asked for. */
  #slot: Milliseconds | undefined
  #checkAt: Milliseconds = Number.POSITIVE_INFINITY
  #failAt: Milliseconds = Number.POSITIVE_INFINITY
  /** Until then a nomination is waited for; undefined: none is. */
  #graceUntil: Milliseconds | undefined
  #lifeAt: Milliseconds
  #qualityMoveAt: Milliseconds = Number.NEGATIVE_INFINITY
  #wasHeard = false
  #isStale = false
  #isFlushing = false
  #isClosed = false

  constructor(options: IceAgentOptions, events: IceAgentEvents) {
    const { now, random, isControlling, local, families } = options
    if (!areCredentials(local))
      throw new RangeError('ICE credentials of another form than RFC 8445 section 5.3 asks for')
    this.#options = options
    this.#events = events
    this.#role = new Role(isControlling, random, now)
    this.#budget = new CheckBudget(now)
    this.#local = local
    this.#lifeAt = now
    this.#bases = basesOf(families, [], this.#had)
  }

  get selected(): SelectedPath | undefined {
    return this.#selected && pathOf(this.#selected)
  }

  /** True while this side decides on the path. */
  get isControlling(): boolean {
    return this.#role.isControlling
  }

  /** When `tick` is to be called next; infinite for not at all. */
  get deadline(): Milliseconds {
    if (this.#isClosed) return Number.POSITIVE_INFINITY
    let first = Math.min(this.#checkAt, this.#failAt, this.#graceUntil ?? this.#failAt, this.#transactions.deadline)
    for (const pair of this.#list.pairs) {
      if (pair.state !== 'succeeded') continue
      first = Math.min(first, pair.health.deadline, pair.health.consentUntil)
      if (isProbed(pair) && !pair.isSilent) first = Math.min(first, pair.mtu.deadline)
    }
    return first
  }

  /** It is given what is for it by a multiplexer from now on; returns the way to stop that. */
  attach(port: AgentPort): () => void {
    this.#port = port
    this.#pacer = port.pacer
    this.#transactions.watcher = port
    this.#tellNames()
    return () => {
      if (this.#port !== port) return
      this.#port = undefined
      this.#transactions.watcher = undefined
    }
  }

  /** Our candidates now, all of them. */
  setLocal(candidates: readonly LocalCandidate[], now: Milliseconds): void {
    this.#do(now, () => {
      const gone = this.#candidates.filter(
        (one) => one.kind === 'host' && !candidates.some(({ address }) => address === one.address),
      )
      this.#candidates = candidates
      this.#bases = basesOf(this.#options.families, candidates, this.#had)
      for (const { kind, address } of candidates) if (kind !== 'relay') this.#had.add(familyOf(address))
      for (const pair of this.#list.pairs) {
        const { mapped } = pair
        if (mapped && gone.some(({ address }) => address === mapped.address))
          this.#fail(pair, 'its interface is gone', now)
        else if (pair.state === 'succeeded') pair.localKind = this.#localKindOf(pair)
      }
      this.#rebuild(now)
      this.#reviveAll(now)
    })
  }

  /** The peer's credentials and candidates now, all of them. Other credentials: it has restarted (RFC 8445 section 9). */
  setRemote(credentials: IceCredentials, candidates: readonly RemoteCandidate[], now: Milliseconds): void {
    if (!areCredentials(credentials) || credentials.ufrag === this.#local.ufrag) return
    this.#do(now, () => {
      const isFirst = this.#remote === undefined
      const isOther = !isSameCredentials(this.#remote, credentials)
      this.#remote = credentials
      this.#lifeAt = now
      if (isOther && !isFirst) {
        this.#remotes.forgetReflexive()
        this.#nomination.forget(true)
        this.#reset(now)
      }
      const isChanged = this.#remotes.name(candidates)
      this.#rebuild(now)
      if (isOther)
        for (const { from, check } of this.#remotes.takeEarly(credentials.ufrag)) this.#heardCheck(check, from, now)
      if (isChanged || !this.#selected) this.#reviveAll(now)
      if (isOther && !this.#selected) this.#failAt = now + PATIENCE
    })
  }

  /** Begins anew with other credentials (RFC 8445 section 2.4); the path in use stays in use until there is another. */
  restart(local: IceCredentials, now: Milliseconds): void {
    if (!areCredentials(local))
      throw new RangeError('ICE credentials of another form than RFC 8445 section 5.3 asks for')
    this.#do(now, () => {
      this.#old = { credentials: this.#local, until: now + OLD_CREDENTIALS }
      this.#local = local
      this.#tellNames()
      this.#reset(now)
      if (this.#remote && !this.#selected) this.#failAt = now + PATIENCE
    })
  }

  /** Takes a check or an answer; false when it is none for this agent, or not authentic. */
  receive(message: StunMessage, from: TransportAddress, now: Milliseconds): boolean {
    if (this.#isClosed || message.method !== METHOD.binding) return false
    return this.#do(now, () => {
      if (message.class === 'request') return this.#request(message, from, now)
      return message.class !== 'indication' && this.#answer(message, from, now)
    })
  }

  /** Authentic traffic of the peer came from there: a sign of life, but no consent to send there (RFC 7675 section 4). */
  alive(from: TransportAddress, now: Milliseconds): void {
    const pair = this.#list.find(from)
    if (this.#isClosed || !pair) return
    this.#lifeAt = now
    pair.health.carried(now)
  }

  /** The system could not send there. */
  sendFailed(to: TransportAddress, code: string, now: Milliseconds): void {
    const pair = this.#list.find(to)
    if (this.#isClosed || !pair) return
    this.#do(now, () => {
      if (code === 'EMSGSIZE') pair.mtu.tooLarge(now)
      else if (DOUBTFUL.includes(code)) pair.health.doubt(now)
      else if (pair.state === 'in-progress' || pair.state === 'succeeded') this.#fail(pair, `${UNSENT} (${code})`, now)
    })
  }

  /** The host's network is another one now: nothing that was found out about pairs is certain. */
  networkChanged(now: Milliseconds): void {
    this.#do(now, () => {
      this.#lifeAt = now
      for (const pair of this.#list.pairs) pair.mtu = new MtuProbe(pair.base.family)
      this.#reviveAll(now)
      if (this.#remote && !this.#selected) this.#failAt = Math.min(this.#failAt, now + PATIENCE)
    })
  }

  /** Does what is due. */
  tick(now: Milliseconds): void {
    this.#do(now, () => {})
  }

  /** Every pair, best first. */
  pairs(): readonly PairReport[] {
    return this.#list.pairs
      .map((pair) => this.#report(pair))
      .sort((a, b) => Number(b.isSelected) - Number(a.isSelected) || a.score - b.score)
  }

  /** Ends it; every later call does nothing. Safe to call twice. */
  close(): void {
    this.#isClosed = true
    this.#transactions.drop()
    this.#port?.names([])
    this.#outbox.length = 0
  }

  /** Does something, then all that follows from it, and tells the outcome last, when what it says is so. */
  #do<Result>(now: Milliseconds, work: () => Result): Result | false {
    if (this.#isClosed) return false
    const result = work()
    this.#advance(now)
    if (this.#isFlushing) return result
    this.#isFlushing = true
    for (let tell = this.#outbox.shift(); tell; tell = this.#outbox.shift()) tell()
    this.#isFlushing = false
    return result
  }

  #advance(now: Milliseconds): void {
    if (this.#old && now >= this.#old.until) {
      this.#old = undefined
      this.#tellNames()
    }
    if (this.#graceUntil !== undefined && now >= this.#graceUntil) this.#graceUntil = undefined
    this.#repeat(now)
    this.#judge(now)
    this.#choose(now)
    if (this.#isStale) this.#rebuild(now)
    this.#assign(now)
    this.#keepUp(now)
    this.#begin(now)
    this.#probe(now)
    if (now < this.#failAt) return
    this.#failAt = Number.POSITIVE_INFINITY
    if (this.#selected) return
    const reason = failureReason(this.#list.pairs, this.#remotes.all.length, this.#wasHeard)
    this.#outbox.push(() => this.#events.failed(reason))
  }

  // What arrives

  /** RFC 8445 section 7.3. */
  #request(message: StunMessage, from: TransportAddress, now: Milliseconds): boolean {
    const check = readCheck(message)
    const local = check && [this.#local, this.#old?.credentials].find((one) => one?.ufrag === check.to)
    // Our own check, sent back to us, would be authentic only if the peer had our password; it is none of the peer's anyway.
    if (!check || !local || this.#transactions.get(message.transaction)) return false
    if (!message.isAuthentic(Buffer.from(local.pwd), 'sha256')) return false
    const isNew = this.#note(message.transaction, from)
    if (isNew === undefined) return false
    const unknown = unknownAttributes(message)
    if (unknown.length > 0) {
      const error = { code: ERROR.unknownAttribute, reason: 'Unknown Attribute' }
      this.#send(writeRefusal(message, error, local.pwd, unknown), from)
      return true
    }
    const role = this.#role.name
    if (!this.#role.heard(check.role, check.tieBreaker, now)) {
      this.#send(writeRefusal(message, { code: ERROR.roleConflict, reason: 'Role Conflict' }, local.pwd), from)
      return true
    }
    if (role !== this.#role.name) this.#roleChanged()
    this.#send(writeAnswer(message, from, local.pwd), from)
    if (!isNew) return true
    if (check.from === this.#remote?.ufrag) this.#heardCheck(check, from, now)
    else this.#remotes.early(from, check)
    return true
  }

  /** Remembers a check's transaction; false where it was there before, undefined where it was from elsewhere: that is a replay. */
  #note(transaction: Buffer, from: TransportAddress): boolean | undefined {
    const id = keyOf(transaction)
    const before = this.#seen.get(id)
    if (before !== undefined) return before === formatTransport(from) ? false : undefined
    this.#seen.set(id, formatTransport(from))
    const [oldest] = this.#seen.keys()
    if (this.#seen.size > MAX_SEEN && oldest !== undefined) this.#seen.delete(oldest)
    return true
  }

  /** An authentic check of the peer: RFC 8445 sections 7.3.1.3 to 7.3.1.5. */
  #heardCheck(check: Check, from: TransportAddress, now: Milliseconds): void {
    this.#lifeAt = now
    this.#wasHeard = true
    if (!this.#list.find(from)) {
      const isKept = (one: TransportAddress): boolean =>
        this.#list.pairs.some((pair) => isSameTransport({ ...pair.remote }, one) && pair.hasConsent(now))
      if (!this.#remotes.heard(from, check.priority, isKept)) return
      this.#rebuild(now)
    }
    const pair = this.#list.find(from)
    if (!pair) return
    pair.health.heard(now)
    if (
      check.nomination !== undefined &&
      !this.#role.isControlling &&
      this.#nomination.heard(check.nomination, pair, now)
    ) {
      pair.probation = 0
    }
    if (pair.isUsable(now)) return
    if (pair.state === 'succeeded') return pair.health.doubt(now)
    this.#transactions.cancel(pair)
    this.#list.trigger(pair)
  }

  /** RFC 8445 section 7.2.5. */
  #answer(message: StunMessage, from: TransportAddress, now: Milliseconds): boolean {
    const transaction = this.#transactions.get(message.transaction)
    if (!transaction || !isSameTransport(from, transaction.pair.to)) return false
    if (!message.isAuthentic(Buffer.from(transaction.key), 'sha256')) return false
    const { pair, size, role } = transaction
    const answer = readAnswer(message)
    if (!answer) return false
    this.#transactions.delete(message.transaction)
    if (pair.isGone) return true
    this.#lifeAt = now
    if ('mapped' in answer) {
      pair.mapped = answer.mapped
      this.#answered(pair, transaction, now)
      if (size > 0) this.#arrived(pair, size, now)
      return true
    }
    if (answer.refused !== ERROR.roleConflict) {
      this.#fail(pair, `the peer refuses checks (${answer.refused})`, now)
      return true
    }
    if (this.#role.refused(role, now)) this.#roleChanged()
    if (pair.state === 'succeeded') pair.health.doubt(now)
    else this.#list.trigger(pair)
    return true
  }

  #arrived(pair: CandidatePair, size: number, now: Milliseconds): void {
    const { mtu } = pair.mtu
    pair.mtu.arrived(size, now)
    if (pair !== this.#selected || pair.mtu.mtu === mtu) return
    const path = pathOf(pair)
    this.#outbox.push(() => this.#events.measured?.(path))
  }

  #answered(pair: CandidatePair, { sends, sentAt, purpose }: Transaction, now: Milliseconds): void {
    if (pair.state !== 'succeeded') {
      if (pair.state !== 'failed') this.#transactions.cancel(pair)
      pair.mtu = new MtuProbe(pair.base.family)
      if (this.#usable(now).length === 0) this.#graceUntil = now + GRACE + 2 * (now - sentAt)
    }
    pair.succeeded()
    pair.localKind = this.#localKindOf(pair)
    // An answer to a check that was sent twice may be to either (Karn).
    const rtt = sends === 1 ? now - sentAt : undefined
    pair.health.answered(rtt, purpose !== 'mtu', now, this.#fraction)
  }

  // Which path is used

  #usable(now: Milliseconds): CandidatePair[] {
    return this.#list.pairs.filter((pair) => pair.isUsable(now))
  }

  /** Finds what has fallen silent, and what there is no consent for any more. */
  #judge(now: Milliseconds): void {
    for (const pair of this.#list.pairs) {
      if (pair.state !== 'succeeded') continue
      const { health } = pair
      if (now >= health.consentUntil) {
        this.#fail(pair, health.duty === 'none' ? 'not needed: others are better' : 'no answer for 30 seconds', now)
      } else if (health.isDue(now) && health.isExhausted && !pair.isSilent) {
        if (health.duty !== 'standby' && health.duty !== 'none') pair.distrust()
        if (pair !== this.#selected) this.#fail(pair, 'it answers no more', now)
        else {
          pair.isSilent = true
          this.#reviveAll(now)
        }
      }
    }
  }

  #choose(now: Milliseconds): void {
    const current = this.#selected
    const { pair: nominated } = this.#nomination
    const isControlling = this.#role.isControlling
    if (current?.isUsable(now)) {
      if (now - this.#selectedAt > TRUSTED) current.probation = 0
      const next = isControlling ? this.#better(current, now) : nominated
      if (!next || next === current || !next.isUsable(now)) return
      if (isControlling) return this.#select(next, `${describe(next)} is better than ${describe(current)}`, now)
      if (next.probation === 0 || next.health.isProven(next.probation, now))
        this.#select(next, `the peer has chosen ${describe(next)}`, now)
      return
    }
    const next = !isControlling && nominated?.isUsable(now) ? nominated : this.#alternative(current, now)
    if (next) {
      const reason = current
        ? `${describe(current)} ${current.isSilent ? 'went silent' : current.why}`
        : 'it was the first to work'
      return this.#select(next, next === nominated && !current ? 'the peer has chosen it' : reason, now)
    }
    if (current && (!current.hasConsent(now) || current.state !== 'succeeded'))
      this.#select(undefined, `${describe(current)}: ${current.why || 'is gone'}`, now)
  }

  /** What is so much better than a path that works that it is worth a move. */
  #better(current: CandidatePair, now: Milliseconds): CandidatePair | undefined {
    const better = this.#usable(now).filter((pair) => {
      const gain = betterIn(pair, current)
      if (gain === undefined) return false
      if (gain === 'kind') return pair.health.isProven(pair.probation, now)
      return (
        now - this.#qualityMoveAt >= QUALITY_PAUSE && pair.health.isProven(Math.max(QUALITY_PROOF, pair.probation), now)
      )
    })
    const best = bestOf(better)
    if (best && betterIn(best, current) === 'quality') this.#qualityMoveAt = now
    return best
  }

  /** What to use where the path does not work, or there is none. */
  #alternative(current: CandidatePair | undefined, now: Milliseconds): CandidatePair | undefined {
    const usable = this.#usable(now)
    if (current?.state === 'succeeded') {
      // Whatever silenced it may have silenced others: only what has answered since counts.
      const { doubtedAt } = current.health
      return bestOf(usable.filter(({ health }) => !health.isWaiting || health.answeredAt >= doubtedAt))
    }
    if (!current && !this.#role.isControlling && this.#graceUntil !== undefined) return undefined
    return bestOf(usable)
  }

  #select(pair: CandidatePair | undefined, reason: string, now: Milliseconds): void {
    const before = this.#selected
    this.#selected = pair
    this.#selectedAt = now
    this.#why = reason
    this.#graceUntil = undefined
    this.#failAt = pair || !this.#remote ? Number.POSITIVE_INFINITY : now + PATIENCE
    if (before?.isSilent) this.#fail(before, 'it answers no more', now)
    if (pair && this.#role.isControlling) this.#nominate(pair, now)
    if (!pair) this.#reviveAll(now)
    const path = pair && pathOf(pair)
    this.#outbox.push(() => this.#events.selected(path, reason))
  }

  #nominate(pair: CandidatePair, now: Milliseconds): void {
    this.#nomination.nominate(pair)
    pair.health.assign('selected', now, this.#fraction)
    this.#upkeepCheck(pair, now)
  }

  /** What each pair that works is checked for. */
  #assign(now: Milliseconds): void {
    const current = this.#selected
    const usable = this.#usable(now).sort((a, b) => scoreOf(a) - scoreOf(b))
    const { pair: nominated } = this.#nomination
    let contenders = CONTENDERS
    const standbys = current ? standbysOf(current, usable) : usable.slice(0, STANDBYS)
    for (const pair of usable) {
      const mayReplace =
        current && (this.#role.isControlling ? betterIn(pair, current) !== undefined : pair === nominated)
      if (pair === current) pair.health.assign('selected', now, this.#fraction)
      else if (mayReplace && contenders-- > 0) pair.health.assign('proving', now, this.#fraction)
      else pair.health.assign(standbys.includes(pair) ? 'standby' : 'none', now, this.#fraction)
    }
  }

  // What is sent

  /** Checks of pairs that work: consent, doubt, proof. */
  #keepUp(now: Milliseconds): void {
    const current = this.#selected
    for (const pair of this.#list.pairs) {
      if (pair.state !== 'succeeded' || !this.#remote) continue
      const { health } = pair
      // To be ready when the path in use turns out to be dead.
      const isAsked = health.isWaiting || health.answeredAt >= (current?.health.doubtedAt ?? 0)
      if (current?.health.isDoubtful && pair !== current && !isAsked) health.doubt(now)
      if (health.isDue(now)) this.#upkeepCheck(pair, now)
    }
  }

  #upkeepCheck(pair: CandidatePair, now: Milliseconds): void {
    pair.health.sent(now)
    this.#check(pair, { purpose: 'upkeep', tries: 1, size: 0, rto: Number.POSITIVE_INFINITY }, now)
  }

  #probe(now: Milliseconds): void {
    if (!this.#remote) return
    for (const pair of this.#list.pairs) {
      if (!pair.isUsable(now) || !isProbed(pair)) continue
      const size = pair.mtu.due(now, pair.health.rtt)
      if (size !== undefined) this.#check(pair, { purpose: 'mtu', tries: 1, size, rto: Number.POSITIVE_INFINITY }, now)
    }
  }

  /** Begins checks whose turn it is (RFC 8445 section 6.1.4.2). */
  #begin(now: Milliseconds): void {
    this.#checkAt = Number.POSITIVE_INFINITY
    if (!this.#remote) return
    for (let pair = this.#next(now); pair; pair = this.#next(now)) {
      this.#slot ??= this.#pacer.reserve(now)
      if (this.#slot > now) {
        this.#checkAt = this.#slot
        return
      }
      this.#slot = undefined
      this.#budget.take(addressOf(pair), now)
      this.#list.start(pair)
      const rto = Math.max(LEAST_RTO, TA * this.#list.unsettled)
      this.#check(pair, { purpose: 'find', tries: pair.failures === 0 ? TRIES : RETRY_TRIES, size: 0, rto }, now)
    }
  }

  /** The pair to check now; where there is none, `#checkAt` is when there may be one. */
  #next(now: Milliseconds): CandidatePair | undefined {
    this.#checkAt = Number.POSITIVE_INFINITY
    for (const pair of this.#list.due(now, (one) => this.#mayRetry(one, now))) {
      if (!this.#isWanted(pair)) continue
      const wait = this.#budget.wait(addressOf(pair), now)
      if (wait === 0) return pair
      this.#checkAt = Math.min(this.#checkAt, now + wait)
    }
    for (const pair of this.#list.pairs)
      if (pair.state === 'failed' && this.#mayRetry(pair, now)) this.#checkAt = Math.min(this.#checkAt, pair.retryAt)
    return undefined
  }

  /**
   * What never answered gets as many checks as one transaction may have (RFC 8489 section 6.2.1, Rc), then no more until there is news; or ever
   * rarer ones while there is a path, for then the peer lives. What has answered at some time is asked for longer.
   */
  #mayRetry(pair: CandidatePair, now: Milliseconds): boolean {
    if (!this.#isWanted(pair) || now - this.#lifeAt >= LIFE) return false
    return pair.isProven || pair.failures < ROUNDS || (this.#selected?.isUsable(now) ?? false)
  }

  /** Worth to be found out about: it may be better than what there is, or is needed beside it. */
  #isWanted(pair: CandidatePair): boolean {
    const current = this.#selected
    if (!current || current.isSilent || this.#list.isTriggered(pair) || rankOf(pair) < rankOf(current)) return true
    const others = this.#list.pairs.filter((one) => one.state === 'succeeded' && one !== current)
    return others.length < STANDBYS || (isRelayed(pair) && !isRelayed(current) && !others.some(isRelayed))
  }

  /** Sends again what had no answer, and gives up what had none to the last (RFC 8489 section 6.2.1). */
  #repeat(now: Milliseconds): void {
    for (const one of this.#transactions.due(now)) {
      const { pair } = one
      if (one.sends >= one.tries) {
        one.nextAt = Number.POSITIVE_INFINITY
        if (pair.state === 'in-progress') this.#fail(pair, `no answer to ${one.sends} checks`, now)
        continue
      }
      const wait = this.#budget.wait(addressOf(pair), now)
      if (wait > 0) {
        one.nextAt = now + wait
        continue
      }
      this.#budget.take(addressOf(pair), now)
      one.sends++
      one.sentAt = now
      one.rto *= 2
      one.nextAt = now + (one.sends < one.tries ? one.rto : Math.min(LAST_WAIT, one.rto))
      this.#send(one.packet, pair.to)
    }
  }

  #check(pair: CandidatePair, how: Pick<Transaction, 'purpose' | 'tries' | 'size' | 'rto'>, now: Milliseconds): void {
    const remote = this.#remote
    if (!remote) return
    const { name: role, tieBreaker, isControlling } = this.#role
    const isNominated = isControlling && pair === this.#selected && pair === this.#nomination.pair
    const check: Check = {
      to: remote.ufrag,
      from: this.#local.ufrag,
      priority: checkPriority(pair.base),
      role,
      tieBreaker,
      nomination: isNominated ? this.#nomination.number : undefined,
    }
    const id = this.#options.random(12)
    const packet = writeCheck(id, check, remote.pwd, how.size)
    const nextAt = now + how.rto
    this.#transactions.add({ ...how, id, pair, key: remote.pwd, role, packet, sends: 1, sentAt: now, nextAt })
    this.#send(packet, pair.to)
  }

  #send(packet: Buffer, to: TransportAddress): void {
    this.#outbox.push(() => this.#events.output(packet, to))
  }

  // What changes

  #rebuild(now: Milliseconds): void {
    this.#isStale = false
    const isOwn = ({ address, port }: TransportAddress): boolean =>
      this.#candidates.some((own) => own.address === address && own.port === port)
    const { gone, unnamed } = this.#list.rebuild(this.#bases, this.#remotes.all, {
      controlling: this.#role.isControlling,
      own: isOwn,
      kept: (pair) => pair.state === 'succeeded' && pair.hasConsent(now),
    })
    for (const pair of gone) {
      this.#transactions.drop(pair)
      this.#nomination.drop(pair)
      pair.why ||= 'is gone'
    }
    for (const pair of unnamed) pair.health.doubt(now)
  }

  #fail(pair: CandidatePair, why: string, now: Milliseconds): void {
    pair.fail(why, now)
    if (!this.#remotes.find(pair.to)) this.#isStale = true
  }

  /** Everything that has failed may work now. */
  #reviveAll(now: Milliseconds): void {
    for (const pair of this.#list.pairs) {
      if (pair.state === 'in-progress') this.#transactions.cancel(pair)
      if (pair.state !== 'succeeded') pair.revive()
      else pair.health.doubt(now)
    }
  }

  /** Other credentials: everything is found out again, but the path in use is used meanwhile. */
  #reset(now: Milliseconds): void {
    this.#transactions.drop()
    for (const pair of this.#list.pairs) {
      if (pair === this.#selected && pair.state === 'succeeded') pair.health.doubt(now)
      else pair.reset()
    }
  }

  #roleChanged(): void {
    this.#list.sort(this.#role.isControlling)
    this.#nomination.forget(false)
    if (this.#role.isControlling && this.#selected) this.#nomination.nominate(this.#selected)
  }

  /** RFC 8445 section 7.2.5.3.1: our candidate is the one that the peer saw. */
  #localKindOf({ base, mapped }: CandidatePair): CandidateKind {
    if (base.relay !== undefined) return 'relay'
    const seen = this.#candidates.filter(
      (own) => own.kind !== 'relay' && own.address === mapped?.address && own.port === mapped.port,
    )
    return seen.find(({ kind }) => kind === 'host')?.kind ?? seen[0]?.kind ?? 'prflx'
  }

  #tellNames(): void {
    this.#port?.names([this.#local.ufrag, ...(this.#old ? [this.#old.credentials.ufrag] : [])])
  }

  readonly #fraction = (): number => this.#options.random(4).readUInt32BE() / 2 ** 32

  #report(pair: CandidatePair): PairReport {
    const { to, localKind, remote, state, health, mtu } = pair
    return {
      to,
      local: localKind,
      remote: remote.kind,
      state,
      isSelected: pair === this.#selected,
      rtt: health.rtt,
      loss: health.loss,
      mtu: mtu.mtu,
      score: scoreOf(pair),
      reason: this.#reasonOf(pair),
    }
  }

  #reasonOf(pair: CandidatePair): string {
    if (pair === this.#selected) return pair.isSilent ? 'in use, but it answers no more' : `in use: ${this.#why}`
    switch (pair.state) {
      case 'succeeded':
        if (pair.health.duty === 'proving') return 'it works, and is being proven'
        return pair.health.duty === 'standby' ? 'it works, and stands by' : 'it works, but others are better'
      case 'failed':
        return pair.why
      case 'in-progress':
        return 'it is being checked'
      default:
        return pair.why || (this.#isWanted(pair) ? 'it waits for its turn' : 'not tried: what works is better')
    }
  }
}

function pathOf(pair: CandidatePair): SelectedPath {
  const { to, localKind: local, remote, health, mtu } = pair
  return { to, kind: kindOf(pair), local, remote: remote.kind, rtt: health.rtt, mtu: mtu.mtu }
}

function bestOf(pairs: readonly CandidatePair[]): CandidatePair | undefined {
  return pairs.reduce<CandidatePair | undefined>(
    (best, one) => (best && scoreOf(best) <= scoreOf(one) ? best : one),
    undefined,
  )
}

/** The next best, and the best of those that are of another sort, so that what ends one does not end all. */
function standbysOf(current: CandidatePair, usable: readonly CandidatePair[]): CandidatePair[] {
  const others = usable.filter((pair) => pair !== current)
  const unlike = others.find((pair) => isRelayed(pair) !== isRelayed(current))
  return unlike
    ? [...others.filter((pair) => pair !== unlike).slice(0, STANDBYS - 1), unlike]
    : others.slice(0, STANDBYS)
}

function isRelayed({ base, remote }: CandidatePair): boolean {
  return base.relay !== undefined || remote.kind === 'relay'
}

function describe(pair: CandidatePair): string {
  return `${pair.key} (${kindOf(pair)})`
}

/** Which packets fit is of interest. */
function isProbed({ health: { duty }, mtu }: CandidatePair): boolean {
  return duty === 'selected' || duty === 'proving' || (duty === 'standby' && mtu.isNarrow)
}

/** What the budget counts: each way to each address. */
function addressOf({ key }: CandidatePair): string {
  return key
}
