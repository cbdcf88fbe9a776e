import type { Milliseconds } from '../../types.ts'
import type { CandidateKind, LocalCandidate, RemoteCandidate } from '../candidate.ts'
import type { StunMessage } from '../stun/message.ts'
import { ERROR, METHOD } from '../stun/registry.ts'
import { isSameTransport, type TransportAddress } from '../transport-address.ts'
import { AgentState } from './agent-state.ts'
import type { CandidatePair } from './candidate-pair.ts'
import { type Check, readAnswer } from './check-message.ts'
import { Checks } from './checks.ts'
import { areCredentials, type IceCredentials, isSameCredentials } from './credentials.ts'
import { failureReason, UNSENT } from './failure-reason.ts'
import type { Pacer } from './limits.ts'
import { LocalCandidates } from './local-candidates.ts'
import { MtuProbe } from './mtu-probe.ts'
import { type PairReport, reportOf } from './pair-report.ts'
import { PathChoice } from './path-choice.ts'
import { Requests } from './requests.ts'
import { Role } from './role.ts'
import { kindOf } from './score.ts'
import type { Transaction, TransactionWatcher } from './transactions.ts'

export type { IceCredentials } from './credentials.ts'

/** Until it is told that nothing works. Checks go on: a peer may be late (RFC 8863). */
const PATIENCE: Milliseconds = 7000
/** However often either side begins anew meanwhile. */
const MOST_PATIENCE: Milliseconds = 8000
/** After a restart of ours, the peer may know only the old credentials for so long. */
const OLD_CREDENTIALS: Milliseconds = 60_000
/** Codes of send errors that anybody can cause, by ICMP. */
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
  readonly #events: IceAgentEvents
  readonly #state: AgentState
  readonly #candidates: LocalCandidates
  readonly #requests: Requests
  readonly #checks: Checks
  readonly #choice: PathChoice
  /** What is to be told when a call is done, and what it says is so. */
  readonly #outbox: (() => void)[] = []
  #port: AgentPort | undefined
  #old: { readonly credentials: IceCredentials; readonly until: Milliseconds } | undefined
  /** Since when there is to be a path, and when it is told that there is none. */
  #expectedSince: Milliseconds = Number.NEGATIVE_INFINITY
  #failAt: Milliseconds = Number.POSITIVE_INFINITY
  #isTelling = false
  #isClosed = false

  constructor(options: IceAgentOptions, events: IceAgentEvents) {
    const { now, random, isControlling, local, families } = options
    this.#events = events
    this.#state = new AgentState({ role: new Role(isControlling, random, now), local: checked(local), now, random })
    this.#candidates = new LocalCandidates(families)
    const send = (packet: Buffer, to: TransportAddress): void => void this.#outbox.push(() => events.output(packet, to))
    this.#requests = new Requests(this.#state, send)
    this.#checks = new Checks(this.#state, now, send)
    this.#choice = new PathChoice(this.#state, {
      selected: (pair, reason) => {
        const path = pair && pathOf(pair)
        this.#outbox.push(() => events.selected(path, reason))
      },
      nominated: (pair, at) => this.#checks.upkeep(pair, at),
    })
  }

  get selected(): SelectedPath | undefined {
    const { selected } = this.#state
    return selected && pathOf(selected)
  }

  /** True while this side decides on the path. */
  get isControlling(): boolean {
    return this.#state.role.isControlling
  }

  /** When `tick` is to be called next; infinite for not at all. */
  get deadline(): Milliseconds {
    if (this.#isClosed) return Number.POSITIVE_INFINITY
    return Math.min(this.#failAt, this.#checks.deadline, this.#choice.deadline)
  }

  /** It is given what is for it by a multiplexer from now on; returns the way to stop that. */
  attach(port: AgentPort): () => void {
    this.#port = port
    this.#checks.pacer = port.pacer
    this.#state.transactions.watcher = port
    this.#tellNames()
    return () => {
      if (this.#port !== port) return
      this.#port = undefined
      this.#state.transactions.watcher = undefined
    }
  }

  /** Our candidates now, all of them. */
  setLocal(candidates: readonly LocalCandidate[], now: Milliseconds): void {
    this.#do(now, () => {
      const { isChanged, gone } = this.#candidates.set(candidates)
      if (!isChanged) return
      for (const pair of this.#state.list.pairs) {
        if (pair.mapped && gone.has(pair.mapped.address)) this.#state.fail(pair, 'its interface is gone', now)
        else if (pair.state === 'succeeded') pair.localKind = this.#candidates.kindAt(pair.base, pair.mapped)
      }
      this.#rebuild(now)
      this.#state.reviveAll(now)
    })
  }

  /**
   * The peer's credentials and candidates now, all of them. Other credentials: it has restarted (RFC 8445 section 9). Where there is no path,
   * being told the same again is a reason to try again.
   */
  setRemote(credentials: IceCredentials, candidates: readonly RemoteCandidate[], now: Milliseconds): void {
    const state = this.#state
    if (!areCredentials(credentials) || credentials.ufrag === state.local.ufrag) return
    this.#do(now, () => {
      const { remote: before, remotes } = state
      const isOther = !isSameCredentials(before, credentials)
      state.remote = credentials
      state.lifeAt = now
      if (isOther && before) {
        remotes.forgetReflexive()
        state.nomination.forget(true)
        // What is in use stays so, and the peer has to be told anew.
        if (state.role.isControlling && state.selected) state.nomination.nominate(state.selected)
        state.reset(now)
      }
      const isChanged = remotes.name(candidates)
      this.#rebuild(now)
      if (isOther) for (const { from, check } of remotes.takeEarly(credentials.ufrag)) this.#heard(check, from, now)
      if (isChanged || !state.selected) state.reviveAll(now)
      if (isOther) this.#expectPath(now)
    })
  }

  /** Begins anew with other credentials (RFC 8445 section 2.4); the path in use stays in use until there is another. */
  restart(local: IceCredentials, now: Milliseconds): void {
    const next = checked(local)
    this.#do(now, () => {
      this.#old = { credentials: this.#state.local, until: now + OLD_CREDENTIALS }
      this.#state.local = next
      this.#tellNames()
      this.#state.reset(now)
      this.#expectPath(now)
    })
  }

  /** Takes a check or an answer; false when it is none for this agent, or not authentic. */
  receive(message: StunMessage, from: TransportAddress, now: Milliseconds): boolean {
    if (message.method !== METHOD.binding || message.class === 'indication') return false
    return this.#do(now, () => {
      return message.class === 'request' ? this.#request(message, from, now) : this.#answer(message, from, now)
    })
  }

  /** Authentic traffic of the peer came from there: a sign of life, but no consent to send there (RFC 7675 section 4). */
  alive(from: TransportAddress, now: Milliseconds): void {
    const pair = this.#state.list.find(from)
    if (this.#isClosed || !pair) return
    this.#state.lifeAt = now
    pair.health.carried(now)
  }

  /** The system could not send there. */
  sendFailed(to: TransportAddress, code: string, now: Milliseconds): void {
    const pair = this.#state.list.find(to)
    if (!pair) return
    this.#do(now, () => {
      if (code === 'EMSGSIZE') pair.mtu.tooLarge(now)
      else if (DOUBTFUL.includes(code)) pair.health.doubt(now)
      else if (pair.state === 'in-progress' || pair.state === 'succeeded')
        this.#state.fail(pair, `${UNSENT} (${code})`, now)
    })
  }

  /** The host's network is another one now: nothing that was found out about pairs is certain. */
  networkChanged(now: Milliseconds): void {
    this.#do(now, () => {
      this.#state.lifeAt = now
      for (const pair of this.#state.list.pairs) pair.mtu = new MtuProbe(pair.base.family)
      this.#state.reviveAll(now)
      if (this.#failAt === Number.POSITIVE_INFINITY) this.#expectPath(now)
    })
  }

  /** Does what is due. */
  tick(now: Milliseconds): void {
    this.#do(now, () => {})
  }

  /** Nothing came for a while along the path in use although it should have: whether it still works is asked at once. */
  doubt(now: Milliseconds): void {
    const { selected } = this.#state
    if (selected?.state === 'succeeded') this.#do(now, () => selected.health.doubt(now))
  }

  /** Every pair, best first. */
  pairs(): readonly PairReport[] {
    const { list, selected } = this.#state
    return list.pairs
      .map((pair) => reportOf(pair, pair === selected ? this.#choice.why : undefined, this.#checks.isWanted(pair)))
      .sort((a, b) => Number(b.isSelected) - Number(a.isSelected) || a.score - b.score)
  }

  /** Ends it; every later call does nothing. Safe to call twice. */
  close(): void {
    this.#isClosed = true
    this.#state.transactions.drop()
    this.#port?.names([])
    this.#outbox.length = 0
  }

  /** Does something, then all that follows from it, and tells the outcome last. */
  #do<Result>(now: Milliseconds, work: () => Result): Result | false {
    if (this.#isClosed) return false
    const result = work()
    this.#advance(now)
    if (this.#isTelling) return result
    this.#isTelling = true
    for (let tell = this.#outbox.shift(); tell; tell = this.#outbox.shift()) tell()
    this.#isTelling = false
    return result
  }

  #advance(now: Milliseconds): void {
    if (this.#old && now >= this.#old.until) {
      this.#old = undefined
      this.#tellNames()
    }
    const { selected } = this.#state
    this.#checks.repeat(now)
    this.#choice.run(now)
    if (this.#state.isStale) this.#rebuild(now)
    this.#checks.keepUp(now)
    this.#checks.begin(now)
    this.#checks.probe(now)
    if (this.#state.selected) this.#failAt = Number.POSITIVE_INFINITY
    else if (selected) this.#expectPath(now)
    if (now >= this.#failAt) this.#giveUp()
  }

  /** From now on there is to be a path within our patience. */
  #expectPath(now: Milliseconds): void {
    if (!this.#state.remote || this.#state.selected) return
    if (this.#failAt === Number.POSITIVE_INFINITY) this.#expectedSince = now
    this.#failAt = Math.min(now + PATIENCE, this.#expectedSince + MOST_PATIENCE)
  }

  #giveUp(): void {
    this.#failAt = Number.POSITIVE_INFINITY
    const { list, remotes, wasHeard } = this.#state
    const reason = failureReason(list.pairs, remotes.all.length, wasHeard)
    this.#outbox.push(() => this.#events.failed(reason))
  }

  #request(message: StunMessage, from: TransportAddress, now: Milliseconds): boolean {
    const { local, remote, remotes } = this.#state
    const own = this.#old && now < this.#old.until ? [local, this.#old.credentials] : [local]
    const said = this.#requests.receive(message, from, own, now)
    if (said === 'foreign') return false
    if (said === 'answered') return true
    if (said.from === remote?.ufrag) this.#heard(said, from, now)
    else remotes.early(from, said)
    return true
  }

  /** An authentic check of the peer: RFC 8445 sections 7.3.1.3 to 7.3.1.5. */
  #heard(check: Check, from: TransportAddress, now: Milliseconds): void {
    const { list, remotes, role, nomination, transactions } = this.#state
    this.#state.lifeAt = now
    this.#state.wasHeard = true
    if (!list.find(from)) {
      const isKept = ({ address, port }: TransportAddress): boolean =>
        list.pairs.some(
          (pair) => isSameTransport({ ...pair.to, relay: undefined }, { address, port }) && pair.hasConsent(now),
        )
      if (!remotes.heard(from, check.priority, isKept)) return
      this.#rebuild(now)
    }
    const pair = list.find(from)
    if (!pair) return
    pair.health.heard(now)
    const { nomination: number } = check
    if (number !== undefined && !role.isControlling && nomination.heard(number, pair, now)) pair.probation = 0
    if (pair.isUsable(now)) return
    if (pair.state === 'succeeded') return pair.health.doubt(now)
    transactions.cancel(pair)
    list.trigger(pair)
  }

  /** RFC 8445 section 7.2.5. */
  #answer(message: StunMessage, from: TransportAddress, now: Milliseconds): boolean {
    const { transactions, role, list } = this.#state
    const transaction = transactions.get(message.transaction)
    if (!transaction || !isSameTransport(from, transaction.pair.to)) return false
    const answer = message.isAuthentic(Buffer.from(transaction.key), 'sha256') ? readAnswer(message) : undefined
    if (!answer) return false
    const { pair } = transaction
    transactions.delete(message.transaction)
    this.#state.lifeAt = now
    if ('mapped' in answer) {
      pair.mapped = answer.mapped
      this.#answered(transaction, now)
    } else if (answer.refused !== ERROR.roleConflict) {
      this.#state.fail(pair, `the peer refuses checks (${answer.refused})`, now)
    } else {
      if (role.refused(transaction.role, now)) this.#state.roleChanged()
      if (pair.state === 'succeeded') pair.health.doubt(now)
      else list.trigger(pair)
    }
    return true
  }

  #answered({ pair, sends, sentAt, purpose, size }: Transaction, now: Milliseconds): void {
    if (pair.state !== 'succeeded') {
      this.#state.transactions.cancel(pair)
      pair.mtu = new MtuProbe(pair.base.family)
      if (this.#state.usable(now).length === 0) this.#choice.begin(now - sentAt, now)
    }
    pair.succeeded()
    pair.localKind = this.#candidates.kindAt(pair.base, pair.mapped)
    // An answer to a check that was sent twice may be to either (Karn).
    const rtt = sends === 1 ? now - sentAt : undefined
    pair.health.answered(rtt, purpose !== 'mtu', now, this.#state.fraction)
    if (purpose === 'mtu') this.#arrived(pair, size, now)
  }

  #arrived(pair: CandidatePair, size: number, now: Milliseconds): void {
    const { mtu: before } = pair.mtu
    pair.mtu.arrived(size, now)
    if (pair !== this.#state.selected || pair.mtu.mtu === before) return
    const path = pathOf(pair)
    this.#outbox.push(() => this.#events.measured?.(path))
  }

  /** Makes the pairs that there are to be now. */
  #rebuild(now: Milliseconds): void {
    const { list, remotes, role, transactions, nomination } = this.#state
    this.#state.isStale = false
    const { gone, unnamed } = list.rebuild(this.#candidates.bases, remotes.all, {
      controlling: role.isControlling,
      own: (remote) => this.#candidates.has(remote),
      kept: (pair) => pair.state === 'succeeded' && pair.hasConsent(now),
    })
    for (const pair of gone) {
      transactions.drop(pair)
      nomination.drop(pair)
      pair.why ||= 'is gone'
    }
    for (const pair of unnamed) pair.health.doubt(now)
  }

  #tellNames(): void {
    this.#port?.names([this.#state.local.ufrag, ...(this.#old ? [this.#old.credentials.ufrag] : [])])
  }
}

function checked(credentials: IceCredentials): IceCredentials {
  if (areCredentials(credentials)) return credentials
  throw new RangeError('ICE credentials of another form than RFC 8445 section 5.3 asks for')
}

function pathOf(pair: CandidatePair): SelectedPath {
  const { to, localKind: local, remote, health, mtu } = pair
  return { to, kind: kindOf(pair), local, remote: remote.kind, rtt: health.rtt, mtu: mtu.mtu }
}
