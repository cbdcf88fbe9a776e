import { Duplex } from 'node:stream'
import type { ReadableStream, WritableStream } from 'node:stream/web'
import { isErrorCode, PartylineError } from '../daemon/errors.ts'
import type { Result } from './methods.ts'

/** How a stream ended (`streams.outcome`). */
export type Outcome = Result<'streams.outcome'>

/** A byte stream to or from an app at a peer. */
export interface AppStream {
  readonly id: string
  readonly peer: string
  /** What its opener said of it. */
  readonly meta: string
  /** The bytes: half-close is kept. Ends only when everything arrived; an end before that is an error `peer.reset`. */
  readonly socket: Duplex
  /** The same as web streams; use either these or `socket`. */
  readonly web: { readonly readable: ReadableStream; readonly writable: WritableStream }
  /** How it ended, once it has. */
  readonly outcome: Promise<Outcome>
}

/**
 * A raw connection as an app's stream. A Unix socket cannot say that a stream was cut rather than finished, so its end is held back until the
 * daemon has said which it was.
 */
export function createAppStream(
  about: { id: string; peer: string; meta: string },
  raw: Duplex,
  ask: (side: 'both' | 'incoming') => Promise<Outcome>,
): AppStream {
  const outcome = new Promise<void>((resolve) => raw.once('close', () => resolve())).then(() => ask('both'))
  outcome.catch(() => {})
  const socket = new CheckedStream(raw, () => ask('incoming'))
  let web: AppStream['web'] | undefined
  return {
    ...about,
    socket,
    outcome,
    get web() {
      web ??= Duplex.toWeb(socket) as unknown as AppStream['web']
      return web
    },
  }
}

class CheckedStream extends Duplex {
  readonly #raw: Duplex

  constructor(raw: Duplex, askIncoming: () => Promise<Outcome>) {
    super({ allowHalfOpen: true, readableHighWaterMark: 256 * 1024, writableHighWaterMark: 256 * 1024 })
    this.#raw = raw
    raw.on('data', (chunk: Buffer) => {
      if (!this.push(chunk)) raw.pause()
    })
    raw.on('error', () => raw.destroy())
    raw.once('end', () => void this.#finish(askIncoming()))
    raw.once('close', () => raw.readableEnded || void this.#finish(askIncoming()))
    raw.pause()
  }

  override _read(): void {
    this.#raw.resume()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    if (this.#raw.destroyed) return done(new PartylineError('peer.reset'))
    if (this.#raw.write(chunk)) done()
    else this.#afterDrain(done)
  }

  override _writev(chunks: { chunk: Buffer }[], done: (error?: Error | null) => void): void {
    if (this.#raw.destroyed) return done(new PartylineError('peer.reset'))
    this.#raw.cork()
    let room = true
    for (const { chunk } of chunks) room = this.#raw.write(chunk)
    this.#raw.uncork()
    if (room) done()
    else this.#afterDrain(done)
  }

  override _final(done: (error?: Error | null) => void): void {
    this.#raw.end(() => done())
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    this.#raw.destroy()
    done(error)
  }

  #afterDrain(done: (error?: Error | null) => void): void {
    const settle = (): void => {
      this.#raw.off('drain', settle)
      this.#raw.off('close', settle)
      done(this.#raw.destroyed ? new PartylineError('peer.reset') : null)
    }
    this.#raw.once('drain', settle)
    this.#raw.once('close', settle)
  }

  async #finish(outcome: Promise<Outcome>): Promise<void> {
    const ended = await outcome.catch(() => undefined)
    if (ended?.clean === true) return void this.push(null)
    const code = ended?.error
    this.destroy(new PartylineError(isErrorCode(code) ? code : 'peer.reset'))
  }
}
