import { type Duplex, Readable } from 'node:stream'
import { type ReadableStream, WritableStream } from 'node:stream/web'
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

/** Asks the daemon how a stream ended, or only what the peer writes. */
type Ask = (side: 'both' | 'incoming') => Promise<Outcome>

/** A raw connection as an app's stream. */
export function createAppStream(about: { id: string; peer: string; meta: string }, raw: Duplex, ask: Ask): AppStream {
  holdBackEnd(raw, ask)
  unpause(raw)
  const outcome = new Promise<void>((resolve) => raw.once('close', () => resolve())).then(() => ask('both'))
  outcome.catch(() => {})
  let web: AppStream['web'] | undefined
  return {
    ...about,
    socket: raw,
    outcome,
    get web() {
      web ??= toWeb(raw)
      return web
    },
  }
}

/** Not by `Duplex.toWeb`: there the writable side is closed only when the readable one has ended too. */
function toWeb(raw: Duplex): AppStream['web'] {
  const writable = new WritableStream<Uint8Array>({
    start: (controller) => {
      raw.once('error', (error) => controller.error(error))
      raw.once('close', () => raw.writableFinished || controller.error(resetError(null)))
    },
    write: (chunk) =>
      new Promise((resolve, reject) => raw.write(chunk, (error) => (error ? reject(error) : resolve()))),
    close: () => new Promise((resolve) => raw.end(resolve)),
    abort: () => void raw.destroy(),
  })
  return { readable: Readable.toWeb(raw), writable }
}

/**
 * A Unix socket cannot say that a stream was cut rather than finished, so its end is held back until the daemon has said which it was. Done
 * where the socket signals its end, and not by another stream around it, which would cost a third of the speed.
 */
function holdBackEnd(raw: Duplex, ask: Ask): void {
  const push = raw.push.bind(raw)
  raw.push = (chunk, encoding) => {
    if (chunk !== null) return push(chunk, encoding)
    ask('incoming').then(
      ({ clean, error }) => (clean ? push(null) : raw.destroy(resetError(error))),
      () => raw.destroy(resetError('local.closed')),
    )
    return false
  }
}

/**
 * The socket was paused while it changed hands. As if it were new: it flows once somebody listens to `data`, which a stream that was paused on
 * purpose does not. Node goes back to that state when the last listener to `readable` leaves.
 */
function unpause(raw: Duplex): void {
  const nothing = (): void => {}
  raw.on('readable', nothing)
  raw.off('readable', nothing)
}

function resetError(code: string | null): PartylineError {
  return new PartylineError(isErrorCode(code) ? code : 'peer.reset')
}
