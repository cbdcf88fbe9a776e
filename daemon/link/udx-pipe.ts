import { Duplex } from 'node:stream'
import type { Clock, Timer } from '../clock.ts'
import { PartylineError } from '../errors.ts'
import type { UdxStream } from '../network/udx-stream.ts'
import type { Milliseconds } from '../types.ts'
import { ASK_MESSAGE, parseCredit, readMessage, UdxCredit, WINDOW } from './udx-credit.ts'

/** How often a writer without room asks for it. */
const ASK_INTERVAL: Milliseconds = 500
/** How long what was written before `destroy` may take to arrive. */
const LINGER: Milliseconds = 5000

/** A write that is not done: what of it waits for room, and what to call in the end. */
interface Waiting {
  readonly chunks: Buffer[]
  readonly done: (error?: Error) => void
}

/** A UDX stream as a stream of Node, with half-close, and with backpressure both ways. What is written must not be changed afterwards. */
export class UdxPipe extends Duplex {
  readonly #stream: UdxStream
  readonly #clock: Clock
  readonly #credit = new UdxCredit()
  #waiting: Waiting | undefined
  #asking: Timer | undefined
  #isEnded = false
  #isOver = false

  constructor(stream: UdxStream, clock: Clock) {
    super({ allowHalfOpen: true, readableHighWaterMark: WINDOW / 4 })
    this.#stream = stream
    this.#clock = clock
    // A carrier may break while nobody listens yet, or any more; that it closes tells enough.
    this.on('error', () => {})
    let reason: Error | undefined
    stream.on('error', (error: Error) => {
      reason = error
    })
    stream.on('message', (message: Buffer) => this.#told(message))
    stream.once('close', () => this.#over(reason))
  }

  /** Takes bytes that came. */
  came(bytes: Buffer): void {
    if (this.destroyed) return
    const unread = this.readableLength
    if (!this.#credit.came(bytes.length, unread))
      return void this.destroy(new PartylineError('peer.oversized', 'the peer sends more than it was allowed to'))
    this.push(bytes)
    this.#tell()
  }

  /** The other end ended. */
  ended(): void {
    this.#isEnded = true
    if (!this.destroyed) this.push(null)
  }

  override _read(): void {
    this.#tell()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error) => void): void {
    this.#write([chunk], done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error) => void): void {
    this.#write(
      chunks.map(({ chunk }) => chunk),
      done,
    )
  }

  override _final(done: () => void): void {
    this.#stream.end()
    done()
  }

  override _destroy(error: Error | null, done: (error: Error | null) => void): void {
    this.#asking?.cancel()
    this.#finish(error ?? new PartylineError('peer.closed', 'the carrier was closed'))
    if (error || this.#isOver) this.#stream.destroy()
    else this.#linger()
    done(error)
  }

  #write(chunks: Buffer[], done: (error?: Error) => void): void {
    this.#waiting = { chunks, done }
    this.#send()
  }

  #send(): void {
    const waiting = this.#waiting
    if (!waiting || waiting.chunks.length === 0 || this.destroyed) return
    let isFull = false
    for (let chunk = waiting.chunks[0]; chunk; chunk = waiting.chunks[0]) {
      const { room } = this.#credit
      if (room === 0) return this.#ask()
      const part = chunk.length > room ? chunk.subarray(0, room) : chunk
      if (part.length < chunk.length) waiting.chunks[0] = chunk.subarray(part.length)
      else waiting.chunks.shift()
      this.#credit.wrote(part.length)
      isFull = !this.#stream.write(part)
    }
    if (isFull) this.#stream.once('drain', () => this.#finish())
    else this.#finish()
  }

  #finish(error?: Error): void {
    const waiting = this.#waiting
    this.#waiting = undefined
    waiting?.done(error)
  }

  #ask(): void {
    this.#asking ??= this.#clock.after(ASK_INTERVAL, () => {
      this.#asking = undefined
      if (!this.#waiting?.chunks.length || this.destroyed) return
      this.#stream.trySend(ASK_MESSAGE)
      this.#ask()
    })
  }

  #told(message: Buffer): void {
    const credit = parseCredit(message)
    if (credit?.kind === 'ask') this.#tell(true)
    else if (credit && this.#credit.readThere(credit.total)) this.#send()
  }

  #tell(isAsked = false): void {
    const total = this.#credit.report(this.readableLength, isAsked)
    if (total !== undefined && !this.#isOver) this.#stream.trySend(readMessage(total))
  }

  /** As TCP does: what was written arrives, if it can. */
  #linger(): void {
    const stream = this.#stream
    const limit = this.#clock.after(LINGER, () => stream.destroy())
    void stream.flush().then(() => {
      limit.cancel()
      stream.destroy()
    })
  }

  #over(reason: Error | undefined): void {
    this.#isOver = true
    const leave = (): void => void this.destroy(reason)
    // What came before the end is still to be read.
    if (this.#isEnded && !this.readableEnded && !this.destroyed) this.once('end', leave)
    else leave()
  }
}
