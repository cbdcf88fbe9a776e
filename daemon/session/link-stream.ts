import type { ErrorCode } from '../errors.ts'
import { toPartylineError } from '../errors.ts'
import type { Link } from '../link/link.ts'
import type { PeerId } from '../types.ts'
import type { Control } from './frame.ts'
import type { SessionStream, StreamOutcome, StreamSink } from './session.ts'
import { UnconfirmedBytes } from './unconfirmed.ts'

/** Bytes that the peer has not confirmed; the writer waits above that. */
const MAX_STREAM_UNCONFIRMED = 8 * 1024 * 1024
/** After so many bytes the peer is told what has arrived. */
const CONFIRM_AFTER = 256 * 1024
/** Links in a row that may break before any byte has come over one of them. */
const MAX_FRUITLESS = 16

interface StreamOptions {
  readonly id: string
  /** Its id in the session. */
  readonly local: string
  readonly peer: PeerId
  readonly service: string
  readonly control: (control: Control) => void
  /** The link of this number broke before the stream was done: another is wanted. */
  readonly onBroken: (stream: LinkStream) => void
}

/**
 * A byte stream on a link of its own. The bytes are raw; how many there are in each direction, and how many have arrived, is told over the
 * session, where nothing is lost. So a stream outlives its link: what the peer has not confirmed is kept, and sent again on the next one.
 */
export class LinkStream implements SessionStream {
  readonly id: string
  readonly local: string
  readonly peer: PeerId
  readonly service: string
  readonly outcome: Promise<StreamOutcome>
  readonly incoming: Promise<StreamOutcome>
  readonly #options: StreamOptions
  readonly #resolve: (outcome: StreamOutcome) => void
  readonly #resolveIncoming: (outcome: StreamOutcome) => void
  readonly #unconfirmed = new UnconfirmedBytes()
  #link: Link | undefined
  #number: number
  /** Numbers that were dialled with: each is used once. */
  #tried: number
  #fruitless = 0
  #sink: StreamSink | undefined
  #isPaused = false
  /** The writer was told to wait. */
  #isFull = false
  /** The writer has written everything; and the peer has all of it. */
  #isFinished = false
  #isConfirmed = false
  #received = 0
  #told = 0
  /** How much the peer wrote, once it said so; and whether all of it was handed over. */
  #promised: number | undefined
  #isRead = false
  /** Nothing more comes over the present link. */
  #sawEnd = false
  #isOver = false

  constructor(options: StreamOptions, link: Link, number = 1) {
    this.#options = options
    this.#number = number
    this.#tried = number
    this.id = options.id
    this.local = options.local
    this.peer = options.peer
    this.service = options.service
    const outcome = Promise.withResolvers<StreamOutcome>()
    this.outcome = outcome.promise
    this.#resolve = outcome.resolve
    const incoming = Promise.withResolvers<StreamOutcome>()
    this.incoming = incoming.promise
    this.#resolveIncoming = incoming.resolve
    this.#use(link)
  }

  /** Number of its link, from 1. */
  get number(): number {
    return this.#number
  }

  /** A number for its next link. */
  nextNumber(): number {
    this.#tried = Math.max(this.#tried, this.#number) + 1
    return this.#tried
  }

  /** True while it has no link. */
  get isBroken(): boolean {
    return this.#link === undefined && !this.#isOver
  }

  get isOver(): boolean {
    return this.#isOver
  }

  read(sink: StreamSink): void {
    this.#sink = sink
    this.#link?.socket.resume()
    this.#finishReading()
  }

  /** False asks the writer to wait for `drain`. */
  write(chunk: Buffer): boolean {
    if (this.#isOver) return true
    this.#unconfirmed.push(chunk)
    const isTaken = this.#link?.socket.write(chunk) ?? true
    if (isTaken && this.#unconfirmed.size < MAX_STREAM_UNCONFIRMED) return true
    this.#isFull = true
    return false
  }

  pause(): void {
    this.#isPaused = true
    this.#link?.socket.pause()
  }

  resume(): void {
    this.#isPaused = false
    this.#link?.socket.resume()
  }

  end(): void {
    if (this.#isOver || this.#isFinished) return
    this.#isFinished = true
    this.#options.control({ kind: 'fin', stream: this.local, bytes: this.#unconfirmed.end })
    this.#link?.socket.end()
    this.#settle()
  }

  reset(code: ErrorCode): void {
    if (this.#isOver) return
    this.#options.control({ kind: 'reset', stream: this.local, code })
    this.fail(code)
  }

  /** The peer reset it, or the session is gone. */
  fail(code: ErrorCode): void {
    if (this.#isOver) return
    this.#isOver = true
    this.#link?.destroy()
    this.#link = undefined
    const { end, size } = this.#unconfirmed
    const outcome = { clean: false, sent: end, received: this.#received, unconfirmed: size, error: code }
    this.#resolveIncoming(outcome)
    this.#resolve(outcome)
  }

  /** Takes it off its link, for another one; returns how many bytes have arrived. */
  suspend(): number {
    const link = this.#link
    this.#link = undefined
    link?.destroy()
    return this.#received
  }

  /** The next link, of this number; the peer has `has` bytes. */
  relink(link: Link, number: number, has: number): void {
    if (this.#isOver) return link.destroy()
    try {
      const lacks = this.#unconfirmed.after(has)
      this.#number = number
      // The peer learned it with the link.
      this.#told = this.#received
      this.#use(link)
      for (const chunk of lacks) link.socket.write(chunk)
      if (this.#isFinished) link.socket.end()
      this.#drained()
    } catch (error) {
      link.destroy()
      this.reset(toPartylineError(error).code)
    }
  }

  /** The peer has so many bytes. Throws `peer.malformed` for bytes that were never sent. */
  confirmed(bytes: number): void {
    this.#unconfirmed.confirm(bytes)
    this.#drained()
  }

  /** The peer has written everything: so many bytes. */
  promised(bytes: number): void {
    this.#promised ??= bytes
    this.#finishReading()
    this.#checkEnd()
  }

  /** The peer has read everything that was sent. */
  got(): void {
    if (!this.#isFinished) return
    this.#isConfirmed = true
    this.#unconfirmed.confirm(this.#unconfirmed.end)
    this.#settle()
  }

  #use(link: Link): void {
    this.#link = link
    this.#sawEnd = false
    const { socket } = link
    const lost = (): void => {
      if (this.#link === link) this.#lost()
    }
    socket.on('error', () => link.destroy())
    socket.on('drain', () => {
      if (this.#link === link) this.#drained()
    })
    socket.on('data', (chunk: Buffer) => {
      if (this.#link === link) this.#take(chunk)
    })
    socket.once('end', () => {
      if (this.#link !== link) return
      this.#sawEnd = true
      this.#checkEnd()
    })
    // Data has to be asked for: until somebody reads, the peer waits.
    if (!this.#sink || this.#isPaused) socket.pause()
    socket.once('close', lost)
    // The link may have gone while the stream was opening.
    if (socket.destroyed) queueMicrotask(lost)
  }

  #take(chunk: Buffer): void {
    this.#received += chunk.length
    this.#fruitless = 0
    if (this.#promised !== undefined && this.#received > this.#promised) return this.reset('peer.malformed')
    if (this.#received - this.#told >= CONFIRM_AFTER) {
      this.#told = this.#received
      this.#options.control({ kind: 'have', stream: this.local, bytes: this.#received })
    }
    if (this.#sink?.data(chunk) === false) this.pause()
    this.#finishReading()
  }

  #drained(): void {
    if (!this.#isFull || this.#unconfirmed.size >= MAX_STREAM_UNCONFIRMED) return
    if (this.#link?.socket.writableNeedDrain ?? true) return
    this.#isFull = false
    this.#sink?.drain()
  }

  /** A link that ended before all that was promised had come is broken. */
  #checkEnd(): void {
    if (!this.#sawEnd || this.#promised === undefined || this.#received >= this.#promised) return
    if (this.#link) this.#link.destroy()
    else this.#lost()
  }

  #finishReading(): void {
    if (this.#isRead || this.#isOver || !this.#sink || this.#received !== this.#promised) return
    this.#isRead = true
    this.#options.control({ kind: 'got', stream: this.local })
    this.#sink.end()
    this.#resolveIncoming({ clean: true, sent: this.#unconfirmed.end, received: this.#received, unconfirmed: 0 })
    this.#settle()
  }

  #settle(): void {
    if (!this.#isRead || !this.#isConfirmed || this.#isOver) return
    this.#isOver = true
    // Paused or not, its end has to be read for the socket to close.
    this.#link?.socket.resume()
    this.#resolve({ clean: true, sent: this.#unconfirmed.end, received: this.#received, unconfirmed: 0 })
  }

  /** Before everything had been read and confirmed, a lost link is replaced. */
  #lost(): void {
    this.#link = undefined
    if (this.#isOver) return
    // Both sides wrote and read all there was: only the word of that is missing, and comes over the session.
    const isComplete = this.#promised === undefined || this.#received >= this.#promised
    if (this.#sawEnd && this.#isFinished && isComplete) return
    if (++this.#fruitless > MAX_FRUITLESS) return this.reset('network.lost')
    this.#options.onBroken(this)
  }
}
