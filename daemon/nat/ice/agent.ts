import { scopeOf } from '../../network/addresses.ts'
import { TokenBucket } from '../../token-bucket.ts'
import type { HostPort, Milliseconds } from '../../types.ts'
import {
  type CandidateKind,
  type LocalCandidate,
  MAX_REMOTE_CANDIDATES,
  priorityOf,
  type RemoteCandidate,
} from '../candidate.ts'
import type { StunMessage } from '../stun/message.ts'
import { TRANSACTION } from '../stun/message.ts'
import { formatTransport, type TransportAddress } from '../transport-address.ts'
import {
  encodeAnswer,
  encodeCheck,
  encodeRoleConflict,
  type IncomingCheck,
  readAnswer,
  readCheck,
} from './check-message.ts'
import type { IceCredentials } from './credentials.ts'
import { Pair, TRIES } from './pair.ts'
import type { PairReport } from './pair-report.ts'
import { compare, isBetter, rankOfPair } from './ranking.ts'

export type { IceCredentials } from './credentials.ts'

/** Between two checks (RFC 8445 section 14.2: no less than 5 ms). */
const PACE: Milliseconds = 10
/** Checks to addresses that have not proven themselves: a second, and at once. */
const BLIND = { rate: 50, burst: 50 }
/** Checks to one such address since something last came from there, and until the peer tells its candidates anew. */
const MAX_UNPROVEN = 30
/** Pairs in all; of these, addresses that only packets told of. */
const MAX_PAIRS = 100
const MAX_PRFLX = 16
/** Requests that came before the peer said who it is. */
const MAX_EARLY = 16
/** Roles are changed no more often than this. */
const MAX_ROLE_CHANGES = 8
/** RFC 7675 section 5.1: consent is asked for every 5 s, give or take a fifth, and ends after 30 s. */
const CONSENT: Milliseconds = 5000
const CONSENT_ENDS: Milliseconds = 30_000
/** Pairs beside the selected one that are kept alive, and how often they are checked. */
const STANDBYS = 2
const STANDBY: Milliseconds = 10_000
/** Checks of a pair in use without an answer, one after the other, after which it counts as silent. */
const DOUBTS = 3
/** A better pair has to answer that often, over that long, checked so often. */
const PROOFS = 4
const PROVING: Milliseconds = 1000
const PROOF_PACE: Milliseconds = 300
/** When a failed pair that would be better than the present one is tried again; doubled each time, up to the last. */
const RETRY: Milliseconds = 3000
const MAX_RETRY: Milliseconds = 25_000
/** When it is told that nothing works. */
const PATIENCE: Milliseconds = 7500
/** What every path carries (RFC 8200 section 5, less headers). */
const LEAST_MTU = 1200

export interface IceAgentOptions {
  readonly now: Milliseconds
  /** Random bytes that nobody can guess. */
  readonly random: (bytes: number) => Buffer
  /** To begin with; conflicts of roles are resolved (RFC 8445 section 7.3.1.1). */
  readonly isControlling: boolean
  readonly local: IceCredentials
  /** Families of the direct sockets. */
  readonly families: readonly (4 | 6)[]
}

/** Where packets go. */
export interface SelectedPath {
  readonly to: TransportAddress
  /** Kinds of the ends, and of the worse of them. */
  readonly kind: CandidateKind
  readonly local: CandidateKind
  readonly remote: CandidateKind
  readonly rtt: Milliseconds | undefined
  /** Largest UDP payload that is known to arrive. */
  readonly mtu: number
}

export interface IceAgentEvents {
  /** A packet is to leave, straight or through the relay that `to` names. */
  output(packet: Buffer, to: TransportAddress): void
  /** Where packets go from now on, and why; undefined: nowhere. */
  selected(path: SelectedPath | undefined, reason: string): void
  /** Nothing works so far; it goes on all the same. */
  failed(reason: string): void
}

/**
 * Finds paths to one peer and keeps the best (RFC 8445, with trickled candidates as in RFC 8838 and consent as in RFC 7675). Free of I/O. Sockets
 * are shared: a pair is told by where its packets go. Both sides are ours, so the controlling one nominates as soon as a pair works, and
 * again whenever a better one has proven itself; both take packets on every pair that works.
 */
export class IceAgent {
  readonly #events: IceAgentEvents
  readonly #random: (bytes: number) => Buffer
  readonly #families: ReadonlySet<4 | 6>
  readonly #tieBreaker: bigint
  readonly #blind: TokenBucket
  readonly #pairs = new Map<string, Pair>()
  /** Who asked before the peer's credentials were known, and with which. */
  #early: { readonly from: TransportAddress; readonly check: IncomingCheck }[] = []
  #local: IceCredentials
  #remote: IceCredentials | undefined
  #locals: readonly LocalCandidate[] = []
  #told: readonly RemoteCandidate[] = []
  #isControlling: boolean
  #roleChanges = 0
  /** The highest nomination, ours or the peer's. */
  #nomination = 0
  #selected: Pair | undefined
  #path: SelectedPath | undefined
  /** When the next check may leave. */
  #pace: Milliseconds
  #failsAt = Number.POSITIVE_INFINITY
  #isClosed = false

  constructor(options: IceAgentOptions, events: IceAgentEvents) {
    this.#events = events
    this.#random = options.random
    this.#families = new Set(options.families)
    this.#local = options.local
    this.#isControlling = options.isControlling
    this.#tieBreaker = options.random(8).readBigUInt64BE()
    this.#blind = new TokenBucket(BLIND, options.now)
    this.#pace = options.now
  }

  /** Our user fragment. */
  get ufrag(): string {
    return this.#local.ufrag
  }

  get selected(): SelectedPath | undefined {
    return this.#path
  }

  /** When `tick` is to be called next; infinite for not at all. */
  get deadline(): Milliseconds {
    if (this.#isClosed) return Number.POSITIVE_INFINITY
    let first = this.#failsAt
    if (!this.#remote) return first
    for (const pair of this.#pairs.values()) first = Math.min(first, Math.max(pair.at, this.#pace))
    if (this.#selected) first = Math.min(first, this.#selected.answeredAt + CONSENT_ENDS)
    return first
  }

  /** The present candidates of this host, all of them. */
  setLocal(candidates: readonly LocalCandidate[], now: Milliseconds): void {
    if (this.#isClosed) return
    this.#locals = candidates
    const relays = new Set(candidates.map(({ relay }) => relay))
    for (const [key, pair] of this.#pairs)
      if (pair.to.relay !== undefined && !relays.has(pair.to.relay)) this.#remove(key, pair, 'its relay is gone', now)
    this.#makePairs(now)
    this.tick(now)
  }

  /** The peer's credentials, and its present candidates, all of them. Other credentials than before: it begins anew. */
  setRemote(credentials: IceCredentials, candidates: readonly RemoteCandidate[], now: Milliseconds): void {
    if (this.#isClosed) return
    const before = this.#remote
    this.#remote = credentials
    this.#told = candidates.filter(isUsable).slice(0, MAX_REMOTE_CANDIDATES)
    if (before && (before.ufrag !== credentials.ufrag || before.pwd !== credentials.pwd)) this.#restart(now)
    for (const pair of this.#pairs.values()) {
      pair.isTold = this.#told.some((one) => one.address === pair.to.address && one.port === pair.to.port)
      pair.unproven = 0
    }
    this.#makePairs(now)
    const early = this.#early.filter(({ check }) => check.ufrag === credentials.ufrag)
    this.#early = []
    for (const { from, check } of early) this.#asked(from, check, now)
    this.tick(now)
  }

  /** Begins anew with other credentials of ours (RFC 8445 section 9); packets go the old way until there is another. */
  restart(local: IceCredentials, now: Milliseconds): void {
    if (this.#isClosed) return
    this.#local = local
    this.#restart(now)
    this.tick(now)
  }

  /** Takes a STUN message; false when it is not for this agent. */
  receive(message: StunMessage, from: TransportAddress, now: Milliseconds): boolean {
    if (this.#isClosed) return false
    const isTaken = message.class === 'request' ? this.#request(message, from, now) : this.#answer(message, from, now)
    if (isTaken) this.tick(now)
    return isTaken
  }

  /** Something else that only the peer can have sent came from there: a sign of life, though not of consent. */
  alive(from: TransportAddress, now: Milliseconds): void {
    const pair = this.#pairs.get(formatTransport(from))
    if (pair) pair.heardAt = now
  }

  /** Nothing could be sent to an address. */
  sendFailed(to: TransportAddress, code: string, now: Milliseconds): void {
    const pair = this.#pairs.get(formatTransport(to))
    if (!pair || this.#isClosed || pair.state === 'failed') return
    this.#fail(pair, `nothing can be sent there (${code})`, now)
    this.tick(now)
  }

  /** Whether the present path and the others still work is found out at once. */
  networkChanged(now: Milliseconds): void {
    for (const pair of this.#pairs.values()) {
      pair.retries = 0
      pair.unproven = 0
      pair.forgetSize()
      if (pair.state === 'failed') pair.renew(now)
      else if (pair.state === 'succeeded') pair.at = Math.min(pair.at, now)
    }
    this.#expectFailure(now)
    this.tick(now)
  }

  /** The present path seems to be silent: it is put to the test. */
  doubt(now: Milliseconds): void {
    const pair = this.#selected
    if (!pair || pair.tries > 0 || now - pair.answeredAt < pair.wait) return
    pair.at = now
    this.tick(now)
  }

  tick(now: Milliseconds): void {
    if (this.#isClosed || !this.#remote) return
    this.#expire(now)
    while (now >= this.#pace) {
      const pair = this.#next(now)
      if (!pair) break
      if (!this.#check(pair, now)) continue
      this.#pace = now + PACE
    }
    if (now >= this.#failsAt) this.#tellFailure()
  }

  /** Every pair, best first. */
  pairs(): readonly PairReport[] {
    return [...this.#pairs.values()].sort(compare).map((pair) => ({
      to: pair.to,
      local: pair.local,
      remote: pair.remote,
      state: pair.state,
      isSelected: pair === this.#selected,
      rtt: pair.rtt,
      loss: pair.proofs + pair.tries > 0 ? pair.loss : undefined,
      mtu: pair.mtu,
      reason: this.#reasonOf(pair),
    }))
  }

  close(): void {
    this.#isClosed = true
    this.#pairs.clear()
    this.#selected = undefined
  }

  // -- pairs ---------------------------------------------------------------------------------------------------------------------------

  /** Pairs each way out of this host with each address of the peer of the same family (RFC 8445 section 6.1.2). */
  #makePairs(now: Milliseconds): void {
    if (!this.#remote) return
    const relays = this.#locals.filter(({ kind }) => kind === 'relay')
    const before = this.#pairs.size
    for (const remote of [...this.#told].sort((a, b) => b.priority - a.priority)) {
      const family = familyOf(remote)
      const own = this.#locals.filter((one) => one.kind !== 'relay' && familyOf(one) === family)
      if (this.#families.has(family)) this.#pair(remote, undefined, Math.max(0, ...own.map(({ priority }) => priority)))
      for (const relay of relays) if (familyOf(relay) === family) this.#pair(remote, relay.relay, relay.priority)
    }
    if (this.#pairs.size > before) this.#expectFailure(now)
    this.#thaw(now)
  }

  #pair(remote: RemoteCandidate, relay: string | undefined, localPriority: number): void {
    const to = { address: remote.address, port: remote.port, ...(relay !== undefined && { relay }) }
    if (this.#isOwn(to)) return
    const known = this.#pairs.get(formatTransport(to))
    const priority = pairPriority(this.#isControlling, localPriority, remote.priority)
    if (known) {
      known.remote = remote.kind
      known.priority = priority
      return
    }
    if (this.#pairs.size >= MAX_PAIRS) return
    const foundation = `${relay ?? familyOf(to)} ${remote.foundation}`
    this.#pairs.set(
      formatTransport(to),
      new Pair(to, relay === undefined ? 'host' : 'relay', remote.kind, priority, foundation),
    )
  }

  /** Of each foundation the best pair is checked first, the others when that worked (RFC 8445 sections 6.1.2.6 and 7.2.5.3.3). */
  #thaw(now: Milliseconds): void {
    const all = [...this.#pairs.values()].sort((a, b) => (a.priority < b.priority ? 1 : -1))
    const busy = new Set(
      all.filter(({ state }) => state === 'waiting' || state === 'in-progress').map(({ foundation }) => foundation),
    )
    for (const pair of all) {
      if (pair.state !== 'frozen' || busy.has(pair.foundation)) continue
      busy.add(pair.foundation)
      pair.renew(now)
    }
  }

  #remove(key: string, pair: Pair, why: string, now: Milliseconds): void {
    this.#pairs.delete(key)
    if (pair === this.#selected) this.#leave(why, now)
  }

  #restart(now: Milliseconds): void {
    this.#nomination = 0
    for (const [key, pair] of [...this.#pairs]) {
      pair.nominated = 0
      pair.unproven = 0
      if (pair === this.#selected) pair.at = now
      else if (pair.remote === 'prflx') this.#pairs.delete(key)
      else pair.renew(now)
    }
    this.#expectFailure(now)
  }

  // -- checks --------------------------------------------------------------------------------------------------------------------------

  /** The pair whose check is due: those that the peer asks on first, then by priority. */
  #next(now: Milliseconds): Pair | undefined {
    let best: Pair | undefined
    for (const pair of this.#pairs.values()) {
      if (pair.at > now) continue
      if (!best || goesBefore(pair, best)) best = pair
    }
    return best
  }

  /** Sends a check, or does what its absence of an answer means; false when nothing left. */
  #check(pair: Pair, now: Milliseconds): boolean {
    if (this.#isSilent(pair)) {
      this.#fail(pair, pair.answeredAt > 0 ? 'it has fallen silent' : 'no answer', now)
      return false
    }
    const isProven = now - Math.max(pair.answeredAt, pair.heardAt) < CONSENT_ENDS
    if (!isProven && (pair.unproven >= MAX_UNPROVEN || !this.#blind.take(now))) {
      if (pair.unproven >= MAX_UNPROVEN) this.#fail(pair, 'no answer', now, false)
      else pair.at = now + 1000 / BLIND.rate
      return false
    }
    if (pair.state === 'waiting') pair.state = 'in-progress'
    pair.isTriggered = false
    this.#send(pair, now)
    return true
  }

  #send(pair: Pair, now: Milliseconds): void {
    const remote = this.#remote
    if (!remote) return
    const transaction = this.#random(TRANSACTION)
    const size = pair.tries === 0 ? pair.probe : 0
    const packet = encodeCheck(
      {
        transaction,
        priority: priorityOf('prflx', 65_535),
        isControlling: this.#isControlling,
        tieBreaker: this.#tieBreaker,
        nomination: this.#nominationFor(pair),
      },
      this.#local,
      remote,
      size,
    )
    pair.checked(transaction.toString('latin1'), size, now)
    pair.at = now + pair.wait
    this.#events.output(packet, pair.to)
  }

  /** Until anything is selected every check nominates its pair: the peer need not be asked again. */
  #nominationFor(pair: Pair): number {
    if (!this.#isControlling) return 0
    if (!this.#selected) return Math.max(1, this.#nomination)
    return pair === this.#selected ? this.#nomination : 0
  }

  /** True where a pair does not answer any more, or never did. */
  #isSilent(pair: Pair): boolean {
    if (pair.state === 'succeeded') return pair.tries >= DOUBTS && this.#hasInstead(pair)
    return pair.tries >= TRIES
  }

  /** While there is nothing else, the path in use is asked until consent ends. */
  #hasInstead(pair: Pair): boolean {
    if (pair !== this.#selected) return true
    return [...this.#pairs.values()].some(
      (other) => other !== pair && other.state === 'succeeded' && other.tries < DOUBTS,
    )
  }

  #fail(pair: Pair, why: string, now: Milliseconds, again = true): void {
    pair.state = 'failed'
    pair.why = why
    pair.proofs = 0
    const pause = Math.min(MAX_RETRY, RETRY * 2 ** pair.retries++)
    pair.at = again ? now + pause : Number.POSITIVE_INFINITY
    pair.tries = 0
    if (pair === this.#selected) this.#leave(`${formatTransport(pair.to)}: ${why}`, now)
    this.#thaw(now)
  }

  /** Consent that ended, and failed pairs that are worth another try. */
  #expire(now: Milliseconds): void {
    const selected = this.#selected
    if (selected && now - selected.answeredAt >= CONSENT_ENDS) this.#fail(selected, 'it has fallen silent', now)
    for (const [key, pair] of this.#pairs) {
      if (pair.state !== 'failed' || pair.at > now) continue
      if (!pair.isTold && pair.retries > 2) this.#remove(key, pair, pair.why, now)
      else if (!this.#selected || rankOfPair({ ...pair, loss: 0 }) < rankOfPair(this.#selected)) pair.renew(now)
      else pair.at = now + MAX_RETRY
    }
  }

  // -- what comes in -------------------------------------------------------------------------------------------------------------------

  #request(message: StunMessage, from: TransportAddress, now: Milliseconds): boolean {
    const check = readCheck(message, this.#local)
    // Our own checks come back with the peer's user fragment first, or our tie-breaker.
    if (!check || check.tieBreaker === this.#tieBreaker) return false
    if (!this.#agreeOnRoles(check, from)) return true
    this.#events.output(encodeAnswer(check.transaction, from, this.#local), from)
    if (this.#remote?.ufrag === check.ufrag) this.#asked(from, check, now)
    else this.#early = [...this.#early.slice(1 - MAX_EARLY), { from, check }]
    return true
  }

  /** RFC 8445 section 7.3.1.1: of two that want the same role the one with the larger tie-breaker controls. False: the other has to change. */
  #agreeOnRoles(check: IncomingCheck, from: TransportAddress): boolean {
    if (check.isControlling !== this.#isControlling) return true
    const shallControl = this.#tieBreaker >= check.tieBreaker
    if (shallControl !== this.#isControlling) return this.#changeRole()
    this.#events.output(encodeRoleConflict(check.transaction, this.#local), from)
    return false
  }

  #changeRole(): boolean {
    if (++this.#roleChanges > MAX_ROLE_CHANGES) return false
    this.#isControlling = !this.#isControlling
    this.#nomination++
    return true
  }

  /** The peer asks from an address: that is checked before others (RFC 8445 sections 7.3.1.3 and 7.3.1.4). */
  #asked(from: TransportAddress, check: IncomingCheck, now: Milliseconds): void {
    const pair = this.#pairs.get(formatTransport(from)) ?? this.#learn(from, check.priority)
    if (!pair) return
    pair.heardAt = now
    pair.nominated = Math.max(pair.nominated, check.nomination)
    if (pair.state === 'succeeded') return this.#nominated(pair, now)
    if (pair.state === 'in-progress' && pair.tries > 0 && pair.tries < 3 && pair.at - now < 100) return
    if (pair.state !== 'in-progress') pair.renew(now)
    pair.isTriggered = true
    pair.at = now
  }

  /** An address of the peer that nobody told of (RFC 8445 section 7.3.1.3). */
  #learn(from: TransportAddress, priority: number): Pair | undefined {
    const learned = [...this.#pairs.entries()].filter(([, { remote }]) => remote === 'prflx')
    if (!isUsable(from) || this.#isOwn(from)) return undefined
    if (learned.length >= MAX_PRFLX || this.#pairs.size >= MAX_PAIRS) {
      const oldest = learned
        .filter(([, pair]) => pair !== this.#selected && pair.state !== 'succeeded')
        .sort(([, a], [, b]) => a.heardAt - b.heardAt)[0]
      if (!oldest) return undefined
      this.#pairs.delete(oldest[0])
    }
    const to = { address: from.address, port: from.port, ...(from.relay !== undefined && { relay: from.relay }) }
    const local: CandidateKind = from.relay === undefined ? 'host' : 'relay'
    const pair = new Pair(
      to,
      local,
      'prflx',
      pairPriority(this.#isControlling, priority, priority),
      formatTransport(to),
    )
    pair.isTold = false
    this.#pairs.set(formatTransport(to), pair)
    return pair
  }

  #answer(message: StunMessage, from: TransportAddress, now: Milliseconds): boolean {
    const remote = this.#remote
    const pair = this.#pairs.get(formatTransport(from))
    const answer = remote && pair && readAnswer(message, remote)
    if (!answer || !pair.answered(message.transaction.toString('latin1'), now)) return false
    if (answer.kind === 'role-conflict') {
      pair.proofs = 0
      this.#changeRole()
      pair.renew(now)
      return true
    }
    this.#succeeded(pair, answer.as, now)
    return true
  }

  #succeeded(pair: Pair, seenAs: HostPort, now: Milliseconds): void {
    const isFirst = pair.state !== 'succeeded'
    pair.state = 'succeeded'
    pair.why = ''
    if (pair.to.relay === undefined) pair.local = this.#kindOf(seenAs)
    this.#failsAt = Number.POSITIVE_INFINITY
    if (isFirst) this.#thaw(now)
    this.#choose(now)
    pair.at = now + this.#pause(pair)
  }

  /** How the peer sees us: as one of our candidates, or as none of them. */
  #kindOf({ address, port }: HostPort): CandidateKind {
    return (
      this.#locals.find((one) => one.kind !== 'relay' && one.address === address && one.port === port)?.kind ?? 'prflx'
    )
  }

  /** Time until a pair that works is checked again. */
  #pause(pair: Pair): Milliseconds {
    if (pair.probe > 0 && pair.probe > pair.mtu) return PROOF_PACE / 3
    if (pair === this.#selected) return CONSENT * (0.8 + (this.#random(2).readUInt16BE() / 65_536) * 0.4)
    const selected = this.#selected
    if (selected && this.#isControlling && isBetter(pair, selected)) return PROOF_PACE
    const rivals = [...this.#pairs.values()].filter(({ state }) => state === 'succeeded').sort(compare)
    return rivals.indexOf(pair) <= STANDBYS ? STANDBY : Number.POSITIVE_INFINITY
  }

  // -- choosing ------------------------------------------------------------------------------------------------------------------------

  /** The first pair that works is used at once, a better one when it has proven itself. */
  #choose(now: Milliseconds): void {
    const working = [...this.#pairs.values()].filter(({ state, tries }) => state === 'succeeded' && tries < DOUBTS)
    const best = working.sort(compare)[0]
    if (!best) return
    const selected = this.#selected
    if (!this.#isControlling) {
      const wanted = this.#wanted(working)
      if (wanted && wanted !== selected) return this.#select(wanted, 'the peer has chosen it', now)
      if (!selected) this.#select(best, 'the first that works', now)
      return
    }
    if (!selected) return this.#nominate(best, 'the first that works', now)
    const rival = working.find((pair) => isBetter(pair, selected) && hasProven(pair, now))
    if (rival)
      this.#nominate(
        rival,
        rankOfPair(rival) < rankOfPair(selected) ? 'a better one has proven itself' : 'it is quicker',
        now,
      )
    else this.#refresh(selected)
  }

  /** What the controlling side nominated last, among those that work. */
  #wanted(working: readonly Pair[]): Pair | undefined {
    const newest = Math.max(...working.map(({ nominated }) => nominated))
    if (newest === 0) return undefined
    // Until it has chosen, it nominates all of them: the one in use will do.
    const nominated = working.filter((pair) => pair.nominated === newest)
    return this.#selected && nominated.includes(this.#selected) ? this.#selected : nominated.sort(compare)[0]
  }

  /** The controlling side nominated a pair that works. */
  #nominated(pair: Pair, now: Milliseconds): void {
    if (this.#isControlling || pair.nominated === 0) return
    this.#choose(now)
  }

  #nominate(pair: Pair, why: string, now: Milliseconds): void {
    this.#nomination++
    this.#select(pair, why, now)
    // The peer learns of it now, unless it knows: its word for us was the first of all.
    pair.at = now
  }

  #select(pair: Pair, why: string, now: Milliseconds): void {
    this.#selected = pair
    pair.at = Math.min(pair.at, now + this.#pause(pair))
    this.#path = pathOf(pair)
    this.#events.selected(this.#path, why)
  }

  /** Keeps what is told of the path up to date. */
  #refresh(pair: Pair): void {
    this.#path = pathOf(pair)
  }

  /** The present path is gone: the best of the others takes its place at once. */
  #leave(why: string, now: Milliseconds): void {
    this.#selected = undefined
    const working = [...this.#pairs.values()].filter(({ state, tries }) => state === 'succeeded' && tries < DOUBTS)
    const next = working.sort(compare)[0]
    // All of them are asked, so that nobody stays with one that is silent too.
    for (const pair of working) pair.at = now
    if (next) {
      if (this.#isControlling) this.#nominate(next, why, now)
      else this.#select(next, why, now)
      return
    }
    this.#path = undefined
    for (const pair of this.#pairs.values()) if (pair.state === 'failed' && pair.why !== why) pair.renew(now)
    this.#expectFailure(now)
    this.#events.selected(undefined, why)
  }

  // -- failure -------------------------------------------------------------------------------------------------------------------------

  /** RFC 8863: what is not there yet may still come; but people want to know. */
  #expectFailure(now: Milliseconds): void {
    if (!this.#selected) this.#failsAt = now + PATIENCE
  }

  #tellFailure(): void {
    this.#failsAt = Number.POSITIVE_INFINITY
    if (this.#selected) return
    const tried = [...this.#pairs.values()].filter(({ answeredAt }) => answeredAt === Number.NEGATIVE_INFINITY)
    const relayed = tried.filter(({ to }) => to.relay !== undefined).length
    const direct = tried.length - relayed
    const parts = [
      `no answer from any of ${direct} addresses`,
      ...(relayed > 0 ? [`or through relays (${relayed} tried)`] : []),
    ]
    this.#events.failed(tried.length === 0 ? 'the peer told no address that can be tried' : parts.join(' '))
  }

  #reasonOf(pair: Pair): string {
    if (pair === this.#selected) return 'in use'
    if (pair.state === 'failed') return pair.why
    if (pair.state !== 'succeeded') return pair.state === 'in-progress' ? 'no answer yet' : 'not tried yet'
    if (!this.#selected) return 'works'
    if (isBetter(pair, this.#selected)) return 'works; it is watched for a while before it is used'
    return rankOfPair(pair) > rankOfPair(this.#selected)
      ? 'works; what is in use is a better kind'
      : 'works; not quicker than what is in use'
  }

  /** One of our own addresses, at which only we can be. */
  #isOwn({ address, port, relay }: TransportAddress): boolean {
    return this.#locals.some(
      (one) => one.address === address && one.port === port && (one.relay === relay || one.kind === 'host'),
    )
  }
}

const familyOf = ({ address }: { readonly address: string }): 4 | 6 => (address.includes(':') ? 6 : 4)

/** Triggered checks first (RFC 8445 section 6.1.4.2), then what is in use, then by priority. */
function goesBefore(one: Pair, other: Pair): boolean {
  if (one.isTriggered !== other.isTriggered) return one.isTriggered
  if ((one.state === 'succeeded') !== (other.state === 'succeeded')) return one.state === 'succeeded'
  if (one.tries !== other.tries) return one.tries < other.tries
  return one.priority > other.priority
}

function hasProven(pair: Pair, now: Milliseconds): boolean {
  return pair.proofs >= PROOFS && now - pair.provenSince >= PROVING && pair.tries <= 1
}

/** RFC 8445 section 6.1.2.3. */
function pairPriority(isControlling: boolean, local: number, remote: number): bigint {
  const [controlling, controlled] = (isControlling ? [local, remote] : [remote, local]).map(BigInt) as [bigint, bigint]
  const [least, most] = controlling < controlled ? [controlling, controlled] : [controlled, controlling]
  return (least << 32n) + 2n * most + (controlling > controlled ? 1n : 0n)
}

/** Nobody can be at the others: loopback, everyone's addresses, and what lacks its zone. */
function isUsable({ address, port }: HostPort): boolean {
  const scope = scopeOf(address)
  const isGroup = address.includes(':') ? /^ff/i.test(address) : Number(address.split('.', 1)[0]) >= 224
  if (port < 1 || scope === 'loopback' || isGroup) return false
  return scope !== 'link-local' || !address.includes(':') || address.includes('%')
}

const ORDER: readonly CandidateKind[] = ['host', 'mapped', 'srflx', 'prflx', 'relay']

function pathOf({ to, local, remote, rtt, mtu }: Pair): SelectedPath {
  const kind = ORDER[Math.max(ORDER.indexOf(local), ORDER.indexOf(remote))] ?? 'relay'
  return { to, kind, local, remote, rtt, mtu: Math.max(mtu, LEAST_MTU) }
}
