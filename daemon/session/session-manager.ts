import type { Clock, Timer } from '../clock.ts'
import type { ElectedLink } from '../connect/connector.ts'
import { PartylineError } from '../errors.ts'
import type { Link } from '../link/link.ts'
import type { Logger } from '../logger.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { Refusals } from '../refusals.ts'
import type { HostPort, Milliseconds, PeerId } from '../types.ts'
import { LinkSession } from './link-session.ts'
import type { CloseReason, IncomingMessage, IncomingStream, Session } from './session.ts'

/** Sessions in all; a newcomer over it is turned away. */
export const MAX_SESSIONS = 4096
const IDLE_LOOK: Milliseconds = 5000

interface ManagerOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  /** Ends with the id of the session that was elected. */
  readonly connect: (peer: PeerId, timeout?: Milliseconds) => Promise<string>
  readonly dialStream: (session: { peer: PeerId; remote: HostPort; id: string }, stream: string) => Promise<Link>
  /** Close a session that nobody used for so long; 0 keeps it. */
  readonly idleClose: () => Milliseconds
  readonly onMessage: (message: IncomingMessage) => void
  readonly onStream: (stream: IncomingStream) => void
  readonly onOpened: (session: Session, elected: ElectedLink) => void
  readonly onClosed: (session: Session, reason: CloseReason) => void
}

/** One session per pair of hosts. */
export class SessionManager {
  readonly #options: ManagerOptions
  readonly #sessions = new Map<PeerId, LinkSession>()
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

  /** The election made this link a session's. */
  take(elected: ElectedLink): void {
    const { link, replaces } = elected
    const before = this.#sessions.get(link.peer)
    if (before) {
      this.#options.logger.info('a session was replaced', { peer: link.peer, session: replaces })
      void before.close({ code: 'peer.closed', message: 'replaced by a new session' })
    }
    if (this.#stopped || this.#sessions.size >= MAX_SESSIONS) {
      this.#options.refusals.count('peer.too-many-links')
      return link.destroy()
    }
    const { clock, refusals, dialStream, onMessage, onStream } = this.#options
    const session = new LinkSession({
      elected,
      clock,
      refusals,
      dialStream: (stream) => dialStream({ peer: link.peer, remote: link.remote, id: elected.session }, stream),
      onMessage,
      onStream,
      onEnd: (ended, reason) => {
        this.#forget(ended)
        this.#options.onClosed(ended, reason)
      },
    })
    this.#sessions.set(link.peer, session)
    this.#options.onOpened(session, elected)
  }

  /** A link came in for a stream of a session; false when there is no such session. */
  takeStream(peer: PeerId, session: string, stream: string, link: Link): boolean {
    const known = this.#sessions.get(peer)
    return known?.facts.id === session && known.takeStream(stream, link)
  }

  networkChanged(interfaces: readonly NetworkInterface[]): void {
    for (const session of [...this.#sessions.values()]) session.networkChanged(interfaces)
  }

  #forget(session: LinkSession): void {
    if (this.#sessions.get(session.peer) === session) this.#sessions.delete(session.peer)
  }

  #watchIdle(): void {
    this.#timer = this.#options.clock.after(IDLE_LOOK, () => {
      const limit = this.#options.idleClose()
      if (limit > 0)
        for (const session of [...this.#sessions.values()])
          if (session.idle >= limit) void session.close({ code: 'done', message: 'nobody used it' })
      if (!this.#stopped) this.#watchIdle()
    })
  }
}
