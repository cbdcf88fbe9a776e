import type { Clock, Timer } from '../clock.ts'
import { type ErrorCode, isErrorCode, PartylineError, toPartylineError } from '../errors.ts'
import type { Link } from '../link/link.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import type { Control } from './frame.ts'
import { LinkStream } from './link-stream.ts'
import type { IncomingStream, SessionStream } from './session.ts'

/** Streams of one session, open or opening. */
const MAX_STREAMS = 256
/** Links that came before the word of their stream did. */
const MAX_EARLY = 32
/** How long a stream may take to open, its link included. */
const OPENING: Milliseconds = 15_000
/** How long an early link waits for its stream. */
const EARLY: Milliseconds = 5000

/** Dials the link of a stream. */
export type DialStream = (stream: string) => Promise<Link>

interface TableOptions {
  readonly session: string
  readonly peer: PeerId
  /** Whoever dialled the session's link dials those of its streams: that direction is known to work. */
  readonly dialled: boolean
  readonly clock: Clock
  readonly dialStream: DialStream
  readonly control: (control: Control) => void
  readonly onStream: (stream: IncomingStream) => void
}

/** A stream until it has both its peer's consent and its link. */
interface Opening {
  readonly service: string
  readonly timer: Timer
  readonly ready: (stream: SessionStream) => void
  readonly failed: (error: PartylineError) => void
  accepted: boolean
  link: Link | undefined
  /** What the peer said it wrote: it may have said so before its link was here. */
  promised: number | undefined
}

/** The streams of one session. */
export class StreamTable {
  readonly #options: TableOptions
  readonly #opening = new Map<string, Opening>()
  /** Streams that no app here has accepted yet, with their link if it came already. */
  readonly #offered = new Map<string, Link | undefined>()
  readonly #open = new Map<string, LinkStream>()
  readonly #early = new Map<string, { link: Link; timer: Timer }>()
  #last = 0

  constructor(options: TableOptions) {
    this.#options = options
  }

  get size(): number {
    return this.#opening.size + this.#offered.size + this.#open.size
  }

  open(service: string, meta: string): Promise<SessionStream> {
    if (this.size >= MAX_STREAMS)
      return Promise.reject(new PartylineError('local.limit', `${MAX_STREAMS} streams to this peer are open already`))
    const { dialled, control } = this.#options
    const stream = `${dialled ? 'd' : 'l'}${++this.#last}`
    const opened = this.#begin(stream, service, false, undefined)
    control({ kind: 'open', stream, service, meta })
    // The link is dialled while the peer thinks about it.
    if (dialled) this.#dial(stream)
    return opened
  }

  take(control: Exclude<Control, { kind: 'close' }>): void {
    const { stream } = control
    switch (control.kind) {
      case 'open':
        return this.#offer(control)
      case 'accept':
        return this.#advance(stream, (opening) => {
          opening.accepted = true
        })
      case 'refuse':
        return this.#opening
          .get(stream)
          ?.failed(new PartylineError(isErrorCode(control.code) ? control.code : 'policy.refused'))
      case 'fin': {
        const opening = this.#opening.get(stream)
        if (opening) opening.promised = control.bytes
        return this.#open.get(stream)?.promised(control.bytes)
      }
      case 'got':
        return this.#open.get(stream)?.confirmed()
      case 'reset': {
        const code = isErrorCode(control.code) ? control.code : 'peer.reset'
        this.#withdraw(stream)
        this.#opening.get(stream)?.failed(new PartylineError(code))
        return this.#open.get(stream)?.fail(code)
      }
    }
  }

  /** A link for a stream came in; false when there is no room for one that nobody knows yet. */
  takeLink(stream: string, link: Link): boolean {
    if (this.#options.dialled) return false
    const opening = this.#opening.get(stream)
    if (opening) {
      if (opening.link) return false
      this.#advance(stream, () => {
        opening.link = link
      })
      return true
    }
    if (this.#offered.has(stream)) {
      if (this.#offered.get(stream)) return false
      this.#offered.set(stream, link)
      return true
    }
    if (this.#early.size >= MAX_EARLY || this.#early.has(stream) || this.#open.has(stream)) return false
    const timer = this.#options.clock.after(EARLY, () => {
      this.#early.delete(stream)
      link.destroy()
    })
    this.#early.set(stream, { link, timer })
    return true
  }

  /** The session is over. */
  end(code: ErrorCode): void {
    for (const opening of [...this.#opening.values()]) opening.failed(new PartylineError(code))
    for (const stream of [...this.#open.values()]) stream.fail(code)
    for (const { link, timer } of this.#early.values()) {
      timer.cancel()
      link.destroy()
    }
    this.#early.clear()
    for (const stream of [...this.#offered.keys()]) this.#withdraw(stream)
  }

  /** An offer is off; false when there was none. */
  #withdraw(stream: string): boolean {
    this.#offered.get(stream)?.destroy()
    return this.#offered.delete(stream)
  }

  /** Takes what came early for a stream. */
  #takeEarly(stream: string): Link | undefined {
    const early = this.#early.get(stream)
    early?.timer.cancel()
    this.#early.delete(stream)
    return early?.link
  }

  #begin(stream: string, service: string, accepted: boolean, link: Link | undefined): Promise<SessionStream> {
    return new Promise((resolve, reject) => {
      const failed = (error: PartylineError): void => {
        const opening = this.#opening.get(stream)
        if (!opening) return
        this.#opening.delete(stream)
        opening.timer.cancel()
        opening.link?.destroy()
        reject(error)
      }
      const timer = this.#options.clock.after(OPENING, () => {
        this.#options.control({ kind: 'reset', stream, code: 'network.timeout' })
        failed(new PartylineError('network.timeout', 'the stream did not open in time'))
      })
      this.#opening.set(stream, { service, timer, ready: resolve, failed, accepted, link, promised: undefined })
      this.#advance(stream, () => {})
    })
  }

  #advance(stream: string, change: (opening: Opening) => void): void {
    const opening = this.#opening.get(stream)
    if (!opening) return
    change(opening)
    const { accepted, link, service, promised } = opening
    if (!accepted || !link) return
    this.#opening.delete(stream)
    opening.timer.cancel()
    const { peer, session, clock, control } = this.#options
    const opened = new LinkStream({ id: `${session}.${stream}`, local: stream, peer, service }, link, clock, control)
    if (promised !== undefined) opened.promised(promised)
    this.#open.set(stream, opened)
    void opened.outcome.then(() => this.#open.delete(stream))
    opening.ready(opened)
  }

  #dial(stream: string): void {
    this.#options.dialStream(stream).then(
      (link) => {
        if (!this.#opening.has(stream)) return link.destroy()
        this.#advance(stream, (opening) => {
          opening.link = link
        })
      },
      (error: unknown) => {
        this.#options.control({ kind: 'reset', stream, code: 'network.unreachable' })
        this.#opening.get(stream)?.failed(toPartylineError(error))
      },
    )
  }

  /** The peer wants a stream: an app has to say whether. */
  #offer({ stream, service, meta }: Extract<Control, { kind: 'open' }>): void {
    const { control, dialled, peer, session, onStream } = this.#options
    // Ids of the two sides differ in their first letter; a peer may use only its own, each once.
    const isTheirs = stream.startsWith(dialled ? 'l' : 'd')
    const isKnown = this.#open.has(stream) || this.#offered.has(stream) || this.#opening.has(stream)
    if (!isTheirs || isKnown || this.size >= MAX_STREAMS) {
      // Of a stream there is already, nothing is said: the word would be taken for that one.
      if (!isKnown) control({ kind: 'refuse', stream, code: 'peer.busy' })
      return
    }
    this.#offered.set(stream, this.#takeEarly(stream))
    onStream({
      peer,
      id: `${session}.${stream}`,
      service,
      meta,
      accept: () => {
        if (!this.#offered.has(stream)) return Promise.reject(new PartylineError('network.lost'))
        const link = this.#offered.get(stream)
        this.#offered.delete(stream)
        control({ kind: 'accept', stream })
        const opened = this.#begin(stream, service, true, link)
        if (dialled) this.#dial(stream)
        return opened
      },
      refuse: (code) => {
        if (this.#withdraw(stream)) control({ kind: 'refuse', stream, code })
      },
    })
  }
}
