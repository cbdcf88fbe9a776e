import type { Clock, Timer } from '../clock.ts'
import type { AnsweredStreamAgain, ElectedLink, StreamAgain } from '../connect/connector.ts'
import type { Held } from '../connect/election.ts'
import type { DatagramPort } from '../datagram/datagram-port.ts'
import { PartylineError, toPartylineError } from '../errors.ts'
import type { Link } from '../link/link.ts'
import type { Logger } from '../logger.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { Refusals } from '../refusals.ts'
import type { Milliseconds, PeerId, Route } from '../types.ts'
import { FrameWriter } from './frame.ts'
import { LinkSession, type RouteChange } from './link-session.ts'
import type { CloseReason, IncomingMessage, IncomingStream, Session } from './session.ts'

/** Sessions in all; a newcomer over it is turned away. */
export const MAX_SESSIONS = 4096
const IDLE_LOOK: Milliseconds = 5000
/** How long a session that was taken off its link waits for the one that was dialled in its place. */
const SWITCH: Milliseconds = 1500
/** How long one attempt to find a lost session's peer takes, and the pauses between them; they double, up to the last. */
const RESUME_ATTEMPT: Milliseconds = 4000
const RESUME_PAUSE: Milliseconds = 100
const MAX_RESUME_PAUSE: Milliseconds = 2000

interface ManagerOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  /** Ends with the id of the session that was elected. */
  readonly connect: (peer: PeerId, timeout?: Milliseconds) => Promise<string>
  readonly dialStream: (
    session: { link: Link; id: string; announce: (carrierStream: number) => void },
    stream: string,
    again?: StreamAgain,
  ) => Promise<{ link: Link; received: number }>
  readonly routeOf: (link: Link) => Route
  /** Where unreliable messages leave and arrive; undefined: over links only. */
  readonly datagrams: DatagramPort | undefined
  /** How long a session without a link waits for another; 0 ends it at once. */
  readonly resumeFor: () => Milliseconds
  /** True when an app wants the session to stay, used or not. */
  readonly isHeld: (peer: PeerId) => boolean
  /** Close a session that nobody used for so long; 0 keeps it. */
  readonly idleClose: () => Milliseconds
  readonly onMessage: (message: IncomingMessage) => void
  readonly onStream: (stream: IncomingStream) => void
  readonly onOpened: (session: Session, elected: ElectedLink) => void
  /** It lost its link, has another, or its link took another path; why. */
  readonly onChanged: (session: Session, change: RouteChange) => void
  /** Its peer's traffic has begun to stop and burst in a pattern. */
  readonly onStalled: (session: Session) => void
  readonly onClosed: (session: Session, reason: CloseReason) => void
}

/** One session per pair of hosts. */
export class SessionManager {
  readonly #options: ManagerOptions
  readonly #sessions = new Map<PeerId, LinkSession>()
  /** Ends the pause of each session that looks for a link. */
  readonly #resuming = new Map<LinkSession, () => void>()
  /** One for all: what it gathers is taken before another session's turn. */
  readonly #writer = new FrameWriter()
  #timer: Timer | undefined
  #stopped = false

  constructor(options: ManagerOptions) {
    this.#options = options
    this.#watchIdle()
  }

  get(peer: PeerId): Session | undefined {
    return this.#sessions.get(peer)
  }

  list(): Session[] {
    return [...this.#sessions.values()]
  }

  /** The session to a peer, opened if there is none. Rejects as `Connector.connect` does. */
  async open(peer: PeerId, timeout?: Milliseconds): Promise<Session> {
    const existing = this.#sessions.get(peer)
    if (existing) return existing
    if (this.#stopped) throw new PartylineError('local.stopping')
    if (this.#sessions.size >= MAX_SESSIONS)
      throw new PartylineError('local.limit', `${MAX_SESSIONS} sessions are open already`)
    await this.#options.connect(peer, timeout)
    const opened = this.#sessions.get(peer)
    if (!opened) throw new PartylineError('network.lost', 'the session ended as soon as it began')
    return opened
  }

  /** Ends the session to a peer; false when there was none. */
  async close(peer: PeerId, reason?: { code: CloseReason['code']; message: string }): Promise<boolean> {
    const session = this.#sessions.get(peer)
    if (!session) return false
    await session.close(reason)
    return true
  }

  /** Ends every session, with a goodbye. Safe to call twice. */
  async stop(): Promise<void> {
    this.#stopped = true
    this.#timer?.cancel()
    await Promise.all(
      [...this.#sessions.keys()].map((peer) =>
        this.close(peer, { code: 'done', message: 'the host is shutting down' }),
      ),
    )
  }

  /** The session held with a peer, on a link or without. */
  holds(peer: PeerId): Held {
    const session = this.#stopped ? undefined : this.#sessions.get(peer)
    return { session: session?.id ?? '', heard: session?.heard ?? false }
  }

  /** Takes a session off its link, for another; how many bytes of it have arrived, or undefined when it is gone. */
  suspend(peer: PeerId, id: string): number | undefined {
    const session = this.#sessions.get(peer)
    if (session?.id !== id) return undefined
    const wasOpen = session.state === 'open'
    const received = session.suspend()
    // The other link is about to be attached: only if it is not after all, one is looked for.
    if (wasOpen) this.#options.clock.after(SWITCH, () => this.#switched(session))
    return received
  }

  #switched(session: LinkSession): void {
    if (session.state === 'resuming' && this.#sessions.get(session.peer) === session)
      this.#lost(session, 'its peer dialled again')
  }

  /** The election made this link a session's. */
  take(elected: ElectedLink): void {
    const { link, session: id, resumedAt } = elected
    const before = this.#sessions.get(link.peer)
    // The same id and not resumed: the peer had not heard of the session, and begins it with this link.
    if (before?.id === id) return this.#resume(before, elected)
    if (before) this.#replace(before, elected)
    if (resumedAt !== undefined) return link.destroy()
    if (this.#stopped || this.#sessions.size >= MAX_SESSIONS) {
      this.#options.refusals.count('peer.too-many-links')
      return link.destroy()
    }
    const { clock, refusals, datagrams, dialStream, routeOf, onMessage, onStream } = this.#options
    const session = new LinkSession({
      elected,
      clock,
      refusals,
      writer: this.#writer,
      datagrams,
      routeOf,
      dialStream: (session, stream, again) => dialStream({ ...session, id }, stream, again),
      onMessage,
      onStream,
      onStalled: (stalled) => this.#options.onStalled(stalled),
      onLost: (lost, reason) => this.#lost(lost, reason),
      onMoved: (moved, change) => this.#options.onChanged(moved, change),
      onEnd: (ended, reason) => {
        this.#forget(ended)
        const { code, message, by } = reason
        this.#options.logger.debug('a session has ended', { peer: link.peer, code, message, by })
        this.#options.onClosed(ended, reason)
      },
    })
    this.#sessions.set(link.peer, session)
    const { route, carrier } = session.facts
    this.#options.logger.debug('a session is open', { peer: link.peer, route, carrier })
    this.#options.onOpened(session, elected)
  }

  /** A link came in for a stream of a session; false when there is no such session. */
  takeStream(peer: PeerId, id: string, stream: string, link: Link, again?: AnsweredStreamAgain): boolean {
    const session = this.#sessions.get(peer)
    return session?.id === id && session.takeStream(stream, link, again)
  }

  #resume(session: LinkSession, elected: ElectedLink): void {
    const change = session.attach(elected)
    if (!change || session.state !== 'open') return
    this.#wake(session)
    this.#resuming.delete(session)
    this.#options.onChanged(session, change)
  }

  /** The peer does not go on with the session there was. */
  #replace(before: LinkSession, { instance, session }: ElectedLink): void {
    const { peer } = before
    this.#options.logger.info('a session was replaced', { peer, before: before.id, session })
    if (instance === before.instance) before.fail('network.lost', 'the peer had given the session up')
    else before.fail('peer.restarted', 'the daemon of the peer was restarted')
  }

  /** A session without a link: it looks for another until its time is over. */
  #lost(session: LinkSession, reason: string): void {
    if (this.#stopped || this.#resuming.has(session)) return
    const limit = this.#options.resumeFor()
    if (limit === 0) return session.fail('network.lost', reason)
    const { peer } = session
    this.#options.logger.info('a session lost its link', { peer, reason })
    this.#resuming.set(session, () => {})
    this.#options.onChanged(session, { from: session.facts.route, to: null, reason })
    void this.#look(session, this.#options.clock.now() + limit, reason)
  }

  async #look(session: LinkSession, until: Milliseconds, reason: string): Promise<void> {
    const { clock, connect, logger } = this.#options
    const isLooking = (): boolean => this.#resuming.has(session)
    for (let pause = RESUME_PAUSE; isLooking(); pause = Math.min(pause * 2, MAX_RESUME_PAUSE)) {
      const left = until - clock.now()
      if (left <= 0) {
        this.#resuming.delete(session)
        return session.fail('network.lost', `${reason}, and no other was found in time`)
      }
      await connect(session.peer, Math.min(left, RESUME_ATTEMPT)).catch((error: unknown) => {
        const { code, message } = toPartylineError(error)
        logger.debug('a session found no link yet', { peer: session.peer, code, message })
      })
      if (isLooking()) await this.#pause(session, Math.min(pause, Math.max(1, until - clock.now())))
    }
  }

  /** Waits, or until there is reason to try at once. */
  #pause(session: LinkSession, delay: Milliseconds): Promise<void> {
    return new Promise((resolve) => {
      const timer = this.#options.clock.after(delay, resolve)
      this.#resuming.set(session, () => {
        timer.cancel()
        resolve()
      })
    })
  }

  #wake(session: LinkSession): void {
    this.#resuming.get(session)?.()
  }

  networkChanged(interfaces: readonly NetworkInterface[]): void {
    for (const session of [...this.#sessions.values()]) {
      session.networkChanged(interfaces)
      this.#wake(session)
    }
  }

  #forget(session: LinkSession): void {
    this.#wake(session)
    this.#resuming.delete(session)
    if (this.#sessions.get(session.peer) === session) this.#sessions.delete(session.peer)
  }

  #watchIdle(): void {
    this.#timer = this.#options.clock.after(IDLE_LOOK, () => {
      const limit = this.#options.idleClose()
      if (limit > 0)
        for (const session of [...this.#sessions.values()])
          if (session.idle >= limit && !this.#options.isHeld(session.peer))
            void session.close({ code: 'done', message: 'nobody used it' })
      if (!this.#stopped) this.#watchIdle()
    })
  }
}
