import type { Duplex } from 'node:stream'
import type { Clock } from '../clock.ts'
import type { ErrorCode } from '../errors.ts'
import type { Link } from '../link/link.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import type { Control } from './frame.ts'
import type { SessionStream, StreamOutcome } from './session.ts'

/** How long a word may take over the session after what it is about happened on the stream's own link. */
const PATIENCE: Milliseconds = 10_000

/**
 * A byte stream on a link of its own. The bytes are raw; how many there are in each direction is told over the session, and confirmed
 * there, so that an end is known to be the end and not a cut.
 */
export class LinkStream implements SessionStream {
  readonly id: string
  readonly peer: PeerId
  readonly service: string
  readonly outcome: Promise<StreamOutcome>
  readonly incoming: Promise<StreamOutcome>
  readonly #link: Link
  readonly #local: string
  readonly #clock: Clock
  readonly #control: (control: Control) => void
  readonly #resolve: (outcome: StreamOutcome) => void
  readonly #resolveIncoming: (outcome: StreamOutcome) => void
  /** What the peer said it wrote, once it said so. */
  readonly #promised = Promise.withResolvers<number>()
  #sent: number | undefined
  /** The peer has read all that was sent. */
  #confirmed = false
  #received: number | undefined
  #progress: () => { sent: number; received: number } = () => ({ sent: 0, received: 0 })
  #over = false

  constructor(
    about: { id: string; local: string; peer: PeerId; service: string },
    link: Link,
    clock: Clock,
    control: (control: Control) => void,
  ) {
    this.id = about.id
    this.#local = about.local
    this.peer = about.peer
    this.service = about.service
    this.#link = link
    this.#clock = clock
    this.#control = control
    const { promise, resolve } = Promise.withResolvers<StreamOutcome>()
    this.outcome = promise
    this.#resolve = resolve
    const incoming = Promise.withResolvers<StreamOutcome>()
    this.incoming = incoming.promise
    this.#resolveIncoming = incoming.resolve
    this.#promised.promise.catch(() => {})
    link.socket.on('error', () => link.destroy())
    // The link may have gone while the stream was opening.
    if (link.socket.destroyed) queueMicrotask(() => this.#closed())
    else link.socket.once('close', () => this.#closed())
  }

  get socket(): Duplex {
    return this.#link.socket
  }

  /** The local side has written everything: `total` bytes. */
  endWriting(total: number): void {
    if (this.#over) return
    this.#sent = total
    this.#control({ kind: 'fin', stream: this.#local, bytes: total })
    this.#link.socket.end()
    this.#settle()
  }

  /** The link's end was read after `total` bytes; true when that is all the peer wrote. */
  async endReading(total: number): Promise<boolean> {
    this.#expectWord(() => this.#received !== undefined)
    try {
      if ((await this.#promised.promise) === total && !this.#over) {
        this.#received = total
        this.#control({ kind: 'got', stream: this.#local })
        this.#resolveIncoming({ clean: true, sent: this.#progress().sent, received: total })
        this.#settle()
        return true
      }
    } catch {
      // The session ended, or the stream was reset, before the peer told.
    }
    this.reset('peer.reset')
    return false
  }

  onProgress(ask: () => { sent: number; received: number }): void {
    this.#progress = ask
  }

  /** Ends it at once, both ways; the peer is told why. */
  reset(code: ErrorCode): void {
    if (this.#over) return
    this.#control({ kind: 'reset', stream: this.#local, code })
    this.fail(code)
  }

  /** The peer reset it, or the session is gone. */
  fail(code: ErrorCode): void {
    if (this.#over) return
    this.#over = true
    this.#promised.reject(new Error(code))
    this.#link.destroy()
    const outcome = { clean: false, ...this.#progress(), error: code }
    this.#resolveIncoming(outcome)
    this.#resolve(outcome)
  }

  /** The peer has written everything: so many bytes. */
  promised(bytes: number): void {
    this.#promised.resolve(bytes)
  }

  /** The peer has read everything that was sent. */
  confirmed(): void {
    this.#confirmed = true
    this.#settle()
  }

  #settle(): void {
    if (this.#sent === undefined || this.#received === undefined || !this.#confirmed || this.#over) return
    this.#over = true
    this.#resolve({ clean: true, sent: this.#sent, received: this.#received })
  }

  /** The link is closed: fine when everything had been read and written, a reset otherwise. */
  #closed(): void {
    if (this.#sent === undefined || !this.socket.readableEnded) return this.reset('peer.reset')
    this.#expectWord(() => false)
  }

  /** The bytes were all there; the peer's word on them may be under way. Without it the stream is reset. */
  #expectWord(isHere: () => boolean): void {
    const patience = this.#clock.after(PATIENCE, () => {
      if (!isHere()) this.reset('peer.reset')
    })
    void this.outcome.then(() => patience.cancel())
  }
}
