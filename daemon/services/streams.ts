import type { Clock, Timer } from '../clock.ts'
import { PartylineError } from '../errors.ts'
import type { IncomingStream, Session, SessionStream, StreamOutcome } from '../session/session.ts'
import type { Milliseconds, PeerId } from '../types.ts'

/** Apps that wait for streams of one service, and of all. */
const MAX_ACCEPTORS = 256
const MAX_ALL_ACCEPTORS = 4096
/** Streams that wait for an app which accepted one a moment ago and will be back for the next. */
const MAX_BACKLOG = 64
const REARM: Milliseconds = 2000
const BACKLOG_PATIENCE: Milliseconds = 5000
/** Ended streams whose outcome is remembered. */
const MAX_OUTCOMES = 1024

/** A stream that was accepted, and what its opener said of it. */
export interface AcceptedStream {
  readonly stream: SessionStream
  readonly meta: string
}

interface Service {
  /** Whose apps accept its streams. */
  user: string
  readonly acceptors: { take: (stream: IncomingStream) => void }[]
  readonly backlog: { stream: IncomingStream; timer: Timer }[]
  /** When an acceptor was last there. */
  armed: Milliseconds
}

interface StreamServiceOptions {
  readonly clock: Clock
  readonly open: (peer: PeerId) => Promise<Session>
  readonly onClosed: (stream: SessionStream, outcome: StreamOutcome, user: string) => void
}

/** Byte streams to named services, between apps here and apps at peers. */
export class StreamService {
  readonly #options: StreamServiceOptions
  readonly #services = new Map<string, Service>()
  readonly #outcomes = new Map<string, Pick<SessionStream, 'outcome' | 'incoming'>>()
  /** Streams that are over, oldest first: the outcomes of those that are not must be kept. */
  readonly #ended: string[] = []
  #acceptors = 0

  constructor(options: StreamServiceOptions) {
    this.#options = options
  }

  /** Opens a session on demand, and a stream in it, for an app of a user here. */
  async open(peer: PeerId, service: string, user: string, meta?: string): Promise<SessionStream> {
    const session = await this.#options.open(peer)
    return this.#watch(await session.openStream(service, meta), user)
  }

  /** Waits for a stream to a service, until `signal` says to stop waiting. Rejects with `local.limit`, or `policy.other-user` while another's app accepts them. */
  accept(service: string, user: string, signal: AbortSignal): Promise<AcceptedStream> {
    const waiting = this.#services.get(service)?.acceptors.length ?? 0
    if (waiting >= MAX_ACCEPTORS || this.#acceptors >= MAX_ALL_ACCEPTORS)
      return Promise.reject(new PartylineError('local.limit', 'too many apps are waiting for streams'))
    if (signal.aborted) return Promise.reject(new PartylineError('local.closed'))
    const entry = this.#serviceOf(service, user)
    if (entry.user !== user) return Promise.reject(new PartylineError('policy.other-user'))
    return new Promise((resolve, reject) => {
      const leave = (): void => {
        const index = entry.acceptors.indexOf(acceptor)
        if (index < 0) return
        entry.acceptors.splice(index, 1)
        this.#acceptors--
        entry.armed = this.#options.clock.now()
        this.#tidy(service)
        signal.removeEventListener('abort', give)
      }
      const give = (): void => {
        leave()
        reject(new PartylineError('local.closed'))
      }
      const acceptor = {
        take: (incoming: IncomingStream): void => {
          leave()
          incoming.accept().then(
            (stream) => resolve({ stream: this.#watch(stream, user), meta: incoming.meta }),
            // Its opener gave up, or no link came about: the app waits for a stream, not for this one.
            () => this.accept(service, user, signal).then(resolve, reject),
          )
        },
      }
      signal.addEventListener('abort', give)
      entry.acceptors.push(acceptor)
      this.#acceptors++
      const next = entry.backlog.shift()
      if (!next) return
      next.timer.cancel()
      acceptor.take(next.stream)
    })
  }

  /** How a stream ended, or only its incoming side; waits for that end. Remembers the last thousand. */
  async outcome(id: string, side: 'both' | 'incoming'): Promise<StreamOutcome> {
    const ends = this.#outcomes.get(id)
    if (!ends) throw new PartylineError('usage.invalid-argument', `there was no stream ${id} of late`)
    return side === 'both' ? ends.outcome : ends.incoming
  }

  /** A peer opened a stream. */
  take(stream: IncomingStream): void {
    const entry = this.#services.get(stream.service)
    const acceptor = entry?.acceptors[0]
    if (acceptor) return acceptor.take(stream)
    const { clock } = this.#options
    if (!entry || clock.now() - entry.armed > REARM) return stream.refuse('peer.no-service')
    if (entry.backlog.length >= MAX_BACKLOG) return stream.refuse('peer.busy')
    const timer = clock.after(BACKLOG_PATIENCE, () => {
      entry.backlog.splice(entry.backlog.indexOf(waiting), 1)
      this.#tidy(stream.service)
      stream.refuse('peer.no-service')
    })
    const waiting = { stream, timer }
    entry.backlog.push(waiting)
  }

  /** The service as it is, or a new one for this user: where nobody accepts or is about to, it is anybody's. */
  #serviceOf(name: string, user: string): Service {
    const now = this.#options.clock.now()
    const known = this.#services.get(name)
    if (known && known.acceptors.length === 0 && known.backlog.length === 0 && now - known.armed > REARM)
      known.user = user
    if (known) return known
    const service: Service = { user, acceptors: [], backlog: [], armed: now }
    this.#services.set(name, service)
    return service
  }

  /** Forgets a service that nobody has accepted for since a while. */
  #tidy(name: string): void {
    this.#options.clock.after(REARM, () => {
      const entry = this.#services.get(name)
      if (!entry || entry.acceptors.length > 0 || entry.backlog.length > 0) return
      if (this.#options.clock.now() - entry.armed >= REARM) this.#services.delete(name)
    })
  }

  #watch(stream: SessionStream, user: string): SessionStream {
    this.#outcomes.set(stream.id, { outcome: stream.outcome, incoming: stream.incoming })
    void stream.outcome.then((outcome) => {
      const oldest = this.#ended.push(stream.id) > MAX_OUTCOMES ? this.#ended.shift() : undefined
      if (oldest !== undefined) this.#outcomes.delete(oldest)
      this.#options.onClosed(stream, outcome, user)
    })
    return stream
  }
}
