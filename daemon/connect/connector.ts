import type { Clock } from '../clock.ts'
import { type ErrorCode, PartylineError, toPartylineError } from '../errors.ts'
import { cleanName } from '../identity/host-name.ts'
import type { Link } from '../link/link.ts'
import type { Dial } from '../link/tls-dial.ts'
import type { Logger } from '../logger.ts'
import { formatHostPort, type NetworkInterface } from '../network/network.ts'
import type { KnownAddress } from '../peers/peer-book.ts'
import type { Refusals } from '../refusals.ts'
import type { HostPort, Milliseconds, PeerId } from '../types.ts'
import { sortCandidates } from './candidates.ts'
import { raceDials } from './dial-race.ts'
import { type Ballot, Election, type Held } from './election.ts'
import { encodeGreeting, type Greeting, type Hello, type HelloInvite, readGreeting } from './greeting.ts'
import { isNear } from './route.ts'

/** A link that the election made a session's. */
export interface ElectedLink {
  readonly link: Link
  /** The same on both sides, and never used again. */
  readonly session: string
  /** What the peer calls itself: said over the link, so a fact. */
  readonly name: string
  /** The port the peer listens on. */
  readonly port: number
  /** Key exchange group of the link's TLS. */
  readonly group: string
  /** The instance of the peer's daemon: another one has been restarted. */
  readonly instance: string
  /** One of the two is the elector, the same one for all links of a pair. */
  readonly isElector: boolean
  /** Set when the session goes on: how many bytes of it the peer has. */
  readonly resumedAt: number | undefined
}

/** A stream's link in the place of another. */
export interface StreamAgain {
  /** Number of this link, from 2. */
  readonly link: number
  /** Bytes of the stream that have arrived at the dialler. */
  readonly received: number
}

/** Finds a way to a peer by what both can do together: the links come to `take` and `accept`, whoever dials them. */
export interface WayFinder {
  /** True where it can begin. */
  reaches(peer: PeerId): boolean
  /** Begins to look, or goes on; `failed` is called once if there is no way. Returns the way to stop. */
  look(peer: PeerId, failed: (error: PartylineError) => void): () => void
}

/** Decides whom a session is opened with, and what others are told. */
export interface LinkGate {
  /** A peer opens a session, or goes on with one. `answer`: what it is told where it is refused; undefined: nothing. */
  greeted(
    link: Link,
    occasion: {
      readonly name: string
      readonly invite: HelloInvite | undefined
      /** Somebody here wants a session with it. */
      readonly isWanted: boolean
      /** It goes on with the session that is held here. */
      readonly goesOn: boolean
    },
  ):
    | { readonly kind: 'admit' }
    | { readonly kind: 'refuse'; readonly code: ErrorCode; readonly answer: ErrorCode | undefined }
  /** True where a link that was dialled here may be used. */
  mayUse(link: Link): boolean
  /** True where somebody may be told who lives here. */
  mayAnswerOn(link: Link): boolean
}

/** The session that a stream belongs to. */
interface StreamOf {
  /** The session's own link. */
  readonly link: Pick<Link, 'peer' | 'remote' | 'path'>
  readonly id: string
  /** Tells the peer of a link that is dialled on a carrier beside that one. */
  readonly announce: (carrierStream: number) => void
}

interface ConnectorOptions {
  readonly self: PeerId
  /** Random, 16 hexadecimal digits, new at each start. */
  readonly instance: string
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly dial: Dial
  /** Finds ways to peers that dialling their addresses does not reach. */
  readonly traversal?: WayFinder
  readonly addressesOf: (peer: PeerId) => readonly KnownAddress[]
  readonly interfaces: () => readonly NetworkInterface[]
  readonly isBlocked: (peer: PeerId) => boolean
  /** Without one everybody is let in who is not blocked. */
  readonly gate?: LinkGate
  readonly name: () => string
  readonly port: () => number
  /** What shows a peer that this host holds a ticket of it, while it is being joined. */
  readonly inviteFor?: (peer: PeerId) => HelloInvite | undefined
  /** Time for a greeting. */
  readonly greetingTimeout: Milliseconds
  /** The session that is held with a peer, on a link or without. */
  readonly holds: (peer: PeerId) => Held
  /** Takes a session off its link, for another one; returns how many bytes of it have arrived, or undefined when it is gone. */
  readonly suspend: (peer: PeerId, session: string) => number | undefined
  readonly onElected: (elected: ElectedLink) => void
  /** Takes a link that carries a stream; false when there is no such session or stream. One that comes `again` is answered first. */
  readonly onStream: (
    peer: PeerId,
    session: string,
    stream: string,
    link: Link,
    again: AnsweredStreamAgain | undefined,
  ) => boolean
}

/** What the accepting side gets: before it uses the link, it tells how many bytes of the stream it has. */
export interface AnsweredStreamAgain extends StreamAgain {
  answer(received: number): void
}

/** How long `connect` tries. */
const CONNECT_TIMEOUT: Milliseconds = 10_000
/** Pause before dialling again after a link was lost or turned down and none was elected; it doubles, up to the last. */
const RETRY_DELAY: Milliseconds = 100
const MAX_RETRY_DELAY: Milliseconds = 1600
/** How long addresses on a network of ours are tried before another way is looked for as well: a handshake there takes some 10 ms. */
const HEAD_START: Milliseconds = 250
/** How often it is looked whether another way can be looked for by now. */
const SIGNALLED: Milliseconds = 500
/** Time that addresses get although no other way was found. */
const LEAST_DIALLING: Milliseconds = 3000
/** Pause before a peer is dialled again whose owner has been asked. */
const ASKED: Milliseconds = 2000
/** How long a better way is dialled. */
const UPGRADE_TIMEOUT: Milliseconds = 5000
/** Pairs of hosts whose election is remembered. */
const MAX_ELECTIONS = 4096

interface Attempt {
  readonly promise: Promise<string>
  readonly elected: (session: string) => void
  readonly failed: (error: unknown) => void
  /** The peer's owner has been asked. */
  isAsked: boolean
  /** Begins anew, for there is news. */
  again: () => void
}

/** The search for a way beside dialling. */
interface Search {
  underWay: boolean
  failure: PartylineError | undefined
}

/** Dials peers, greets on links in both directions, and lets the election pick the one that becomes the session's. */
export class Connector {
  readonly #options: ConnectorOptions
  readonly #elections = new Map<PeerId, Election>()
  readonly #attempts = new Map<PeerId, Attempt>()
  readonly #links = new Set<Link>()
  readonly #stopping = new AbortController()
  #lastLink = 0
  #lastProposal = 0

  constructor(options: ConnectorOptions) {
    this.#options = options
  }

  /**
   * Ends with a session's id, whoever's link was elected; calls made meanwhile share the attempt. Rejects with `policy.blocked`,
   * `peer.not-found`, `network.unreachable`, `network.timeout`, `peer.wrong-key` or `policy.refused`.
   */
  async connect(peer: PeerId, timeout: Milliseconds = CONNECT_TIMEOUT): Promise<string> {
    if (this.#stopping.signal.aborted) throw new PartylineError('local.stopping')
    if (this.#options.isBlocked(peer)) throw new PartylineError('policy.blocked')
    const running = this.#attempts.get(peer)
    if (running) return running.promise
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    const abort = new AbortController()
    const signal = AbortSignal.any([abort.signal, this.#stopping.signal])
    const search: Search = { underWay: false, failure: undefined }
    const timer = this.#options.clock.after(timeout, () =>
      reject(
        attempt.isAsked
          ? new PartylineError('policy.asking')
          : (search.failure ?? new PartylineError('network.timeout', 'the peer did not answer in time')),
      ),
    )
    const stopped = (): void => reject(new PartylineError('local.stopping'))
    this.#stopping.signal.addEventListener('abort', stopped)
    const attempt: Attempt = { promise, elected: resolve, failed: reject, isAsked: false, again: () => {} }
    this.#options.logger.debug('a session is wanted', { peer })
    this.#attempts.set(peer, attempt)
    this.#search(peer, search, signal)
    this.#keepDialling(peer, search, attempt, signal).catch(reject)
    try {
      return await promise
    } catch (error) {
      const { code, message } = toPartylineError(error)
      this.#options.logger.debug('no session came about', { peer, code, message })
      throw error
    } finally {
      timer.cancel()
      this.#stopping.signal.removeEventListener('abort', stopped)
      abort.abort()
      this.#attempts.delete(peer)
    }
  }

  /** A peer that is looked for says by a signal that its owner has been asked, or has let us in. */
  noticed(peer: PeerId, notice: 'asking' | 'accepted'): void {
    const attempt = this.#attempts.get(peer)
    if (!attempt) return
    attempt.isAsked = notice === 'asking'
    if (notice === 'accepted') attempt.again()
  }

  /** True while a session with a peer is wanted here. */
  isWanted(peer: PeerId): boolean {
    return this.#attempts.has(peer)
  }

  /** Takes a link that was dialled along another way. */
  async take(link: Link): Promise<void> {
    this.#track(link)
    if (this.#stopping.signal.aborted || this.#options.isBlocked(link.peer)) return link.destroy()
    try {
      await this.#greet(link)
    } catch (error) {
      this.#attempts.get(link.peer)?.failed(error)
    }
  }

  /**
   * Dials where a peer says that it can be reached from outside, while a way is looked for here or there: a router may let TCP through where it
   * stops UDP. The first that answers is as good as any other link.
   */
  async dialTold(peer: PeerId, told: readonly HostPort[]): Promise<void> {
    const { clock, addressesOf, isBlocked } = this.#options
    const signal = AbortSignal.any([AbortSignal.timeout(UPGRADE_TIMEOUT), this.#stopping.signal])
    const known = new Set(addressesOf(peer).map(formatHostPort))
    const addresses = told.filter((one) => !known.has(formatHostPort(one)))
    if (addresses.length === 0 || signal.aborted || isBlocked(peer)) return
    try {
      const link = await raceDials(
        addresses,
        (address, abort) => this.#dial(address, peer, abort),
        (late) => late.destroy(),
        { clock, signal },
      )
      await this.take(link)
    } catch {
      // What was told may lead nowhere; the search goes on.
    }
  }

  /** Dials addresses that are better than where the session goes now, and moves it to the first that answers. */
  async upgrade(peer: PeerId, addresses: readonly HostPort[]): Promise<void> {
    const { clock, logger } = this.#options
    const signal = AbortSignal.any([AbortSignal.timeout(UPGRADE_TIMEOUT), this.#stopping.signal])
    try {
      const link = await raceDials(
        addresses,
        (address, abort) => this.#dial(address, peer, abort),
        (late) => late.destroy(),
        { clock, signal },
      )
      this.#track(link)
      await this.#greet(link, true)
    } catch (error) {
      logger.debug('no better way', { peer, error: toPartylineError(error).message })
    }
  }

  /** Opens a link that carries one stream of a session, to where the session's own link goes; `received`: what of the stream the peer has. */
  async dialStream(
    { link: { path, peer, remote }, id, announce }: StreamOf,
    stream: string,
    again?: StreamAgain,
  ): Promise<{ link: Link; received: number }> {
    const signal = AbortSignal.any([AbortSignal.timeout(CONNECT_TIMEOUT), this.#stopping.signal])
    const link = await (path ? path.beside(announce, signal) : this.#options.dial(remote, peer, signal))
    this.#track(link)
    send(link, { kind: 'stream', session: id, stream, ...(again && { again }) })
    if (!again) return { link, received: 0 }
    try {
      const answer = await this.#read(link)
      if (answer.kind === 'resume') return { link, received: answer.received }
      throw new PartylineError('peer.malformed', `a stream was resumed with ${answer.kind}`)
    } catch (error) {
      link.destroy()
      throw error
    }
  }

  /** Who lives at an address? Undefined where nobody answers as a host. */
  async probe(target: HostPort): Promise<{ peer: PeerId; name: string; port: number } | undefined> {
    try {
      const signal = AbortSignal.any([AbortSignal.timeout(this.#options.greetingTimeout), this.#stopping.signal])
      const link = await this.#options.dial(target, undefined, signal)
      this.#track(link)
      send(link, { kind: 'probe', name: this.#options.name(), port: this.#options.port() })
      const answer = await this.#read(link)
      link.destroy()
      return answer.kind === 'probe' ? { peer: link.peer, name: cleanName(answer.name), port: answer.port } : undefined
    } catch {
      return undefined
    }
  }

  /** Takes a link from the listener; `greeted` ends its being half-open. */
  async accept(link: Link, greeted: () => void): Promise<void> {
    this.#track(link)
    if (this.#stopping.signal.aborted) return link.destroy()
    try {
      const first = await this.#read(link)
      greeted()
      if (first.kind === 'session')
        this.#options.logger.debug('a link came in', { peer: link.peer, from: formatHostPort(link.remote) })
      if (first.kind === 'session') {
        if (this.#letsIn(link, first)) await this.#greetBack(link, first)
        return
      }
      if (this.#options.isBlocked(link.peer)) return this.#turnAway(link, 'policy.blocked', undefined)
      switch (first.kind) {
        case 'stream':
          if (!this.#takeStream(link, first)) link.destroy()
          return
        case 'probe':
          if (this.#options.gate?.mayAnswerOn(link) === false) return this.#turnAway(link, 'policy.refused', undefined)
          send(link, { kind: 'probe', name: this.#options.name(), port: this.#options.port() })
          link.socket.end()
          return
        default:
          throw new PartylineError('peer.malformed', `a link began with ${first.kind}`)
      }
    } catch (error) {
      this.#refuse(link, error)
    }
  }

  /** Asks the gate; who is not let in is told as little as may be. */
  #letsIn(link: Link, { name, invite, holds: theirs }: Hello): boolean {
    const { gate, isBlocked, holds } = this.#options
    const goesOn = theirs !== '' && theirs === holds(link.peer).session
    const verdict = gate?.greeted(link, { name, invite, isWanted: this.#attempts.has(link.peer), goesOn })
    if (verdict?.kind === 'refuse') this.#turnAway(link, verdict.code, verdict.answer)
    else if (isBlocked(link.peer)) this.#turnAway(link, 'policy.blocked', 'policy.refused')
    else return true
    return false
  }

  #takeStream(link: Link, { session, stream, again }: Extract<Greeting, { kind: 'stream' }>): boolean {
    const answer = (received: number): void => send(link, { kind: 'resume', received })
    return this.#options.onStream(link.peer, session, stream, link, again && { ...again, answer })
  }

  /** Ends every link and attempt. Safe to call twice. */
  stop(): void {
    this.#stopping.abort()
    for (const link of this.#links) link.destroy()
  }

  /** Looks for a way beside dialling, at once where no address is on a network of ours. */
  #search(peer: PeerId, search: Search, signal: AbortSignal): void {
    const { addressesOf, interfaces, clock, traversal } = this.#options
    if (!traversal || signal.aborted) return
    // A signaller may come to reach it while its addresses are dialled.
    if (!traversal.reaches(peer)) return void clock.after(SIGNALLED, () => this.#search(peer, search, signal))
    search.underWay = true
    const began = clock.now()
    const failed = (error: PartylineError): void => {
      search.underWay = false
      search.failure = error
      const giveUp = (): void => {
        const attempt = this.#attempts.get(peer)
        // Whose owner has been asked is waited for.
        if (signal.aborted || attempt?.isAsked) return
        if (this.#elections.get(peer)?.idle ?? true) attempt?.failed(error)
      }
      clock.after(Math.max(0, began + LEAST_DIALLING - clock.now()), giveUp)
    }
    const near = addressesOf(peer).some(({ address }) => isNear(address, interfaces()))
    const begin = clock.after(near ? HEAD_START : 0, () => {
      if (signal.aborted) return
      const stop = traversal.look(peer, failed)
      signal.addEventListener('abort', stop)
    })
    signal.addEventListener('abort', () => begin.cancel())
  }

  /** Dials until a link is elected; ends by itself only with an error. */
  async #keepDialling(peer: PeerId, search: Search, attempt: Attempt, signal: AbortSignal): Promise<void> {
    for (let pause = RETRY_DELAY; !signal.aborted; pause = Math.min(pause * 2, MAX_RETRY_DELAY)) {
      const { addressesOf, interfaces, clock } = this.#options
      const addresses = sortCandidates(addressesOf(peer), interfaces())
      const none = new PartylineError('peer.not-found', 'no address of the peer is known')
      const dialled = raceDials(
        addresses,
        (address, abort) => this.#dial(address, peer, abort),
        (late) => late.destroy(),
        { clock, signal },
      )
      const link = await dialled.catch((error: unknown) => {
        if (search.underWay || attempt.isAsked) return
        // The other side may have got through to us meanwhile.
        if (this.#elections.get(peer)?.idle ?? true) throw search.failure ?? (addresses.length > 0 ? error : none)
      })
      if (link) {
        this.#track(link)
        await this.#greet(link)
      }
      if (signal.aborted) return
      await new Promise<void>((resolve) => {
        const timer = clock.after(attempt.isAsked ? ASKED : pause, resolve)
        attempt.again = () => {
          timer.cancel()
          this.#search(peer, search, signal)
          resolve()
        }
      })
    }
  }

  async #dial(address: HostPort, peer: PeerId, signal: AbortSignal): Promise<Link> {
    const { dial, logger } = this.#options
    const to = formatHostPort(address)
    logger.debug('dialling', { peer, to })
    try {
      const link = await dial(address, peer, signal)
      logger.debug('a link is up', { peer, to, group: link.group })
      return link
    } catch (error) {
      const { code, message } = toPartylineError(error)
      if (!signal.aborted) logger.debug('a dial failed', { peer, to, code, message })
      throw error
    }
  }

  /** Our word first, as the dialler. */
  async #greet(link: Link, moves = false): Promise<void> {
    if (this.#options.gate?.mayUse(link) === false) {
      link.destroy()
      throw new PartylineError('policy.metered')
    }
    const election = this.#electionOf(link.peer)
    const ballot = election.ballot(moves)
    try {
      const invite = this.#options.inviteFor?.(link.peer)
      send(link, { ...this.#hello(ballot, link.group), ...(invite && { invite }) })
      const answer = await this.#read(link)
      if (answer.kind === 'reject') return this.#turnedDown(link, answer.code)
      if (answer.kind !== 'session')
        throw new PartylineError('peer.malformed', `a hello was answered with ${answer.kind}`)
      await this.#elect(link, election, ballot, answer, link.group)
    } catch (error) {
      const refusal = toPartylineError(error)
      this.#refuse(link, refusal)
      if (refusal.code === 'policy.refused') throw refusal
    }
  }

  async #greetBack(link: Link, theirs: Hello): Promise<void> {
    const election = this.#electionOf(link.peer)
    const ballot = election.ballot()
    send(link, this.#hello(ballot, theirs.group))
    await this.#elect(link, election, ballot, theirs, theirs.group)
  }

  async #elect(link: Link, election: Election, ballot: Ballot, theirs: Hello, group: string): Promise<void> {
    // Lost while its hello was read: its end was told already, the election would wait for it in vain.
    if (link.socket.destroyed) return
    const id = ++this.#lastLink
    link.socket.once('close', () => election.closed(id))
    let verdict = election.greeted(id, ballot, theirs)
    if (verdict.kind === 'select') send(link, verdict)
    if (verdict.kind === 'reject') return this.#turnDown(link, 'duplicate')
    if (verdict.kind === 'wait') {
      const word = await this.#read(link)
      if (word.kind === 'reject') return this.#turnedDown(link, word.code)
      if (word.kind !== 'select') throw new PartylineError('peer.malformed', `a verdict was expected, not ${word.kind}`)
      verdict = election.selected(id, word.session, word.resumed, word.choice)
    }
    if (verdict.kind !== 'select') return link.destroy()
    const { session, resumed } = verdict
    const resumedAt = resumed ? await this.#resume(link, session) : undefined
    if (link.socket.destroyed || !election.isLive(id)) return link.destroy()
    const { instance, port } = theirs
    const { isElector } = election
    this.#options.logger.debug('a link was elected', { peer: link.peer, session, resumed })
    this.#options.onElected({
      link,
      session,
      name: cleanName(theirs.name),
      port,
      group,
      instance,
      isElector,
      resumedAt,
    })
    this.#attempts.get(link.peer)?.elected(session)
  }

  /** Both sides tell how far they got; what of the session the peer has. */
  async #resume(link: Link, session: string): Promise<number> {
    const received = this.#options.suspend(link.peer, session)
    if (received === undefined) throw new PartylineError('network.lost', 'the session ended meanwhile')
    send(link, { kind: 'resume', received })
    const answer = await this.#read(link)
    if (answer.kind === 'resume') return answer.received
    throw new PartylineError('peer.malformed', `a session was resumed with ${answer.kind}`)
  }

  #hello(ballot: Ballot, group: string): Hello {
    return {
      kind: 'session',
      instance: this.#options.instance,
      name: this.#options.name(),
      port: this.#options.port(),
      group,
      ...ballot,
    }
  }

  #electionOf(peer: PeerId): Election {
    const { self, instance } = this.#options
    const election =
      this.#elections.get(peer) ??
      new Election(
        self,
        peer,
        instance,
        () => ++this.#lastProposal,
        () => this.#options.holds(peer),
      )
    this.#elections.delete(peer)
    this.#elections.set(peer, election)
    if (this.#elections.size > MAX_ELECTIONS)
      for (const [other, { idle }] of this.#elections) if (idle && this.#elections.delete(other)) break
    return election
  }

  /** `answer`: what the other side is told, which is less: that it is blocked, say, is nobody's business. Undefined: nothing. */
  #turnAway(link: Link, code: ErrorCode, answer: ErrorCode | undefined): void {
    this.#options.refusals.count(code)
    this.#options.logger.debug('a link was turned away', { peer: link.peer, code })
    if (answer) this.#turnDown(link, answer)
    else link.destroy()
  }

  #turnDown(link: Link, code: ErrorCode | 'duplicate'): void {
    send(link, { kind: 'reject', code })
    link.socket.end()
    link.socket.resume()
    this.#options.clock.after(this.#options.greetingTimeout, () => link.destroy())
  }

  #turnedDown(link: Link, code: string): void {
    link.destroy()
    this.#options.logger.debug('the peer turned a link down', { peer: link.peer, code })
    const attempt = this.#attempts.get(link.peer)
    if (code === 'policy.asking' && attempt) attempt.isAsked = true
    else if (code !== 'duplicate') throw new PartylineError('policy.refused', 'the peer refused the link')
  }

  #refuse(link: Link, error: unknown): void {
    const { code, message } = toPartylineError(error)
    if (code.startsWith('peer.')) this.#options.refusals.count(code)
    this.#options.logger.debug('a link ended in its greeting', { peer: link.peer, code, message })
    link.destroy()
  }

  /** The next greeting, within the time a greeting may take. */
  async #read(link: Link): Promise<Greeting> {
    const { promise, reject } = Promise.withResolvers<never>()
    const timer = this.#options.clock.after(this.#options.greetingTimeout, () =>
      reject(new PartylineError('peer.handshake-timeout')),
    )
    try {
      return await Promise.race([readGreeting(link.socket), promise])
    } finally {
      timer.cancel()
    }
  }

  #track(link: Link): void {
    this.#links.add(link)
    link.socket.on('error', () => link.destroy())
    link.socket.once('close', () => this.#links.delete(link))
  }
}

function send(link: Link, greeting: Greeting): void {
  if (link.socket.writable) link.socket.write(encodeGreeting(greeting))
}
