import type { Clock, Timer } from '../clock.ts'
import type { AnsweredStreamAgain, StreamAgain } from '../connect/connector.ts'
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
/** Pause before a stream's link is dialled again; how long that is tried while the session itself has a link. */
const RELINK_PAUSE: Milliseconds = 250
const RELINK_FOR: Milliseconds = 30_000

/** Dials the link of a stream; tells what of the stream the peer has. */
export type DialStream = (stream: string, again?: StreamAgain) => Promise<{ link: Link; received: number }>

interface TableOptions {
  readonly session: string
  readonly peer: PeerId
  /** Ids of the two sides differ in their first letter. */
  readonly isElector: boolean
  /** Whoever dialled the session's link dials those of its streams: that direction is known to work. */
  readonly dials: boolean
  readonly clock: Clock
  readonly dialStream: DialStream
  readonly control: (control: Control) => void
  readonly onStream: (stream: IncomingStream) => void
}

/** A stream until it has both its peer's consent and its link. */
interface Opening {
  readonly service: string
  timer: Timer
  readonly ready: (stream: SessionStream) => void
  readonly failed: (error: PartylineError) => void
  accepted: boolean
  link: Link | undefined
  /** Number of its link. */
  number: number
  isDialling: boolean
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
  /** Since when streams are without a link although the session has one. */
  readonly #broken = new Map<LinkStream, Milliseconds>()
  /** Undefined while the session has no link. */
  #dials: boolean | undefined
  /** Counts the session's links: what was dialled along one that is gone does not count any more. */
  #era = 0
  #last = 0

  constructor(options: TableOptions) {
    this.#options = options
    this.#dials = options.dials
  }

  get size(): number {
    return this.#opening.size + this.#offered.size + this.#open.size
  }

  open(service: string, meta: string): Promise<SessionStream> {
    if (this.size >= MAX_STREAMS)
      return Promise.reject(new PartylineError('local.limit', `${MAX_STREAMS} streams to this peer are open already`))
    const { isElector, control } = this.#options
    const stream = `${isElector ? 'e' : 'o'}${++this.#last}`
    const opened = this.#begin(stream, service, false, undefined)
    control({ kind: 'open', stream, service, meta })
    // The link is dialled while the peer thinks about it.
    this.#dialOpening(stream)
    return opened
  }

  take(control: Exclude<Control, { kind: 'close' | 'datagram' | 'link' }>): void {
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
      case 'have':
        return this.#open.get(stream)?.confirmed(control.bytes)
      case 'got':
        return this.#open.get(stream)?.got()
      case 'relink': {
        const open = this.#open.get(stream)
        if (open && open.number <= control.link && this.#dials) this.#redial(open)
        return
      }
      case 'reset': {
        const code = isErrorCode(control.code) ? control.code : 'peer.reset'
        this.#withdraw(stream)
        this.#opening.get(stream)?.failed(new PartylineError(code))
        return this.#open.get(stream)?.fail(code)
      }
    }
  }

  /** A link for a stream came in; false when there is no room for one that nobody knows yet. */
  takeLink(stream: string, link: Link, again: AnsweredStreamAgain | undefined): boolean {
    if (again) return this.#takeAgain(stream, link, again)
    if (this.#dials) return false
    // Who dials twice has lost the first one.
    const opening = this.#opening.get(stream)
    if (opening) {
      opening.link?.destroy()
      this.#advance(stream, () => {
        opening.link = link
      })
      return true
    }
    if (this.#offered.has(stream)) {
      this.#offered.get(stream)?.destroy()
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

  /** The session lost its link. What went the same way and is not in use yet is as good as lost; streams that are open may do still. */
  detached(): void {
    this.#dials = undefined
    this.#era++
    this.#broken.clear()
    this.#dropEarly()
    for (const [stream, link] of this.#offered) {
      link?.destroy()
      this.#offered.set(stream, undefined)
    }
    for (const opening of this.#opening.values()) {
      opening.link?.destroy()
      opening.link = undefined
      opening.isDialling = false
    }
  }

  /** The session has a new link, `dialled` here or there. Streams move to where it goes. */
  attached(dialled: boolean): void {
    this.#dials = dialled
    this.#era++
    for (const [stream, opening] of [...this.#opening]) {
      // What the peer dialled came while it was its turn: along a link of the session that is gone by now.
      if (dialled) opening.link?.destroy()
      if (dialled) opening.link = undefined
      this.#dialOpening(stream)
    }
    for (const stream of [...this.#open.values()]) {
      if (dialled) this.#redial(stream)
      else this.#watchBroken(stream)
    }
  }

  /** The session is over. */
  end(code: ErrorCode): void {
    this.#era++
    this.#broken.clear()
    for (const opening of [...this.#opening.values()]) opening.failed(new PartylineError(code))
    for (const stream of [...this.#open.values()]) stream.fail(code)
    this.#dropEarly()
    for (const stream of [...this.#offered.keys()]) this.#withdraw(stream)
  }

  #dropEarly(): void {
    for (const { link, timer } of this.#early.values()) {
      timer.cancel()
      link.destroy()
    }
    this.#early.clear()
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
      const { clock, control } = this.#options
      const tooLate = (): void => {
        const opening = this.#opening.get(stream)
        // While the session itself looks for a link, nothing else can be expected.
        if (opening && this.#dials === undefined) opening.timer = clock.after(OPENING, tooLate)
        else {
          control({ kind: 'reset', stream, code: 'network.timeout' })
          failed(new PartylineError('network.timeout', 'the stream did not open in time'))
        }
      }
      this.#opening.set(stream, {
        service,
        timer: clock.after(OPENING, tooLate),
        ready: resolve,
        failed,
        accepted,
        link,
        number: 1,
        isDialling: false,
        promised: undefined,
      })
      this.#advance(stream, () => {})
    })
  }

  #advance(stream: string, change: (opening: Opening) => void): void {
    const opening = this.#opening.get(stream)
    if (!opening) return
    change(opening)
    const { accepted, link, service, promised, number } = opening
    if (!accepted || !link) return
    this.#opening.delete(stream)
    opening.timer.cancel()
    const { peer, session, control } = this.#options
    const opened = new LinkStream(
      {
        id: `${session}.${stream}`,
        local: stream,
        peer,
        service,
        control,
        onBroken: (broken) => this.#repair(broken),
      },
      link,
      number,
    )
    if (promised !== undefined) opened.promised(promised)
    this.#open.set(stream, opened)
    void opened.outcome.then(() => {
      this.#open.delete(stream)
      this.#broken.delete(opened)
    })
    opening.ready(opened)
  }

  /** Dials for a stream that is opening, unless that is done already, or the other side's to do, or there is nowhere to dial to. */
  #dialOpening(stream: string): void {
    const opening = this.#opening.get(stream)
    if (!this.#dials || !opening || opening.link || opening.isDialling) return
    opening.isDialling = true
    const era = this.#era
    this.#options.dialStream(stream).then(
      ({ link }) => {
        const current = this.#opening.get(stream)
        if (!current || era !== this.#era) return link.destroy()
        this.#advance(stream, () => {
          current.link = link
        })
      },
      (error: unknown) => {
        // A new link of the session dials again.
        if (era !== this.#era || !this.#opening.has(stream)) return
        this.#options.control({ kind: 'reset', stream, code: 'network.unreachable' })
        this.#opening.get(stream)?.failed(toPartylineError(error))
      },
    )
  }

  /** A stream's link broke while the session has one: a new one is dialled, or asked for. Without one, `attached` does it. */
  #repair(stream: LinkStream): void {
    if (this.#dials === undefined) return
    if (this.#dials) return this.#redial(stream)
    this.#options.control({ kind: 'relink', stream: stream.local, link: stream.number })
    this.#watchBroken(stream)
  }

  #redial(stream: LinkStream): void {
    if (stream.isOver || this.#broken.has(stream)) return
    const { clock } = this.#options
    const began = clock.now()
    this.#broken.set(stream, began)
    const era = this.#era
    const isWanted = (): boolean => era === this.#era && !stream.isOver
    const received = stream.suspend()
    const dial = (): void => {
      const number = stream.nextNumber()
      this.#options.dialStream(stream.local, { link: number, received }).then(
        (dialled) => {
          if (!isWanted()) return dialled.link.destroy()
          this.#broken.delete(stream)
          stream.relink(dialled.link, number, dialled.received)
        },
        () => {
          if (!isWanted()) return
          if (clock.now() - began >= RELINK_FOR) return stream.reset('network.lost')
          clock.after(RELINK_PAUSE, () => isWanted() && dial())
        },
      )
    }
    dial()
  }

  /** The other side dials; if no link comes, the stream ends. */
  #watchBroken(stream: LinkStream): void {
    const { clock } = this.#options
    const { number } = stream
    const era = this.#era
    clock.after(RELINK_FOR, () => {
      if (era === this.#era && stream.number === number && stream.isBroken) stream.reset('network.lost')
    })
  }

  #takeAgain(id: string, link: Link, again: AnsweredStreamAgain): boolean {
    if (this.#dials) return false
    const opening = this.#opening.get(id)
    if (opening) {
      // The dialler had it open already, and lost its link before it was seen here.
      again.answer(0)
      opening.link?.destroy()
      this.#advance(id, () => Object.assign(opening, { link, number: again.link }))
      return true
    }
    const stream = this.#open.get(id)
    if (!stream || again.link <= stream.number) return false
    again.answer(stream.suspend())
    stream.relink(link, again.link, again.received)
    return true
  }

  /** The peer wants a stream: an app has to say whether. */
  #offer({ stream, service, meta }: Extract<Control, { kind: 'open' }>): void {
    const { control, isElector, peer, session, onStream } = this.#options
    // A peer may use only ids of its own side, each once.
    const isTheirs = stream.startsWith(isElector ? 'o' : 'e')
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
        this.#dialOpening(stream)
        return opened
      },
      refuse: (code) => {
        if (this.#withdraw(stream)) control({ kind: 'refuse', stream, code })
      },
    })
  }
}
