import type { Duplex } from 'node:stream'
import { type ErrorCode, type PartylineError, toPartylineError } from '../../daemon/errors.ts'
import type { Milliseconds } from '../../daemon/types.ts'
import type { PlainMethod } from '../api.ts'
import type { Params, Result, Topic } from '../methods.ts'

/** A stream between the two apps of an offer (`AppStream`). */
interface OfferStream {
  readonly socket: Duplex
  /** What the receiver asks for. */
  readonly meta: string
}

/** What a transfer needs of a `Client`; one that connects again by itself survives a restart of the daemon. */
export interface TransferClient {
  call<M extends PlainMethod>(method: M, params: Params<M>): Promise<Result<M>>
  events(topics: readonly Topic[]): Promise<AsyncIterableIterator<unknown>>
  /** Opens a stream to the sender of an accepted offer. */
  fetchOffer(offer: string, meta: string): Promise<OfferStream>
  /** Waits until the receiver of an own offer asks for something. */
  serveOffer(offer: string, signal?: AbortSignal): Promise<OfferStream>
}

/** How a transfer deals with what breaks. */
export interface TransferTiming {
  /** Give up after this long without any progress. */
  readonly patience: Milliseconds
  /** First and longest pause between attempts. */
  readonly firstPause: Milliseconds
  readonly longestPause: Milliseconds
  /** A stream that brings nothing for so long is given up. */
  readonly stall: Milliseconds
  /** Ask the daemon how the offers stand this often, besides its events. */
  readonly poll: Milliseconds
}

export const DEFAULT_TIMING: TransferTiming = {
  patience: 600_000,
  firstPause: 200,
  longestPause: 2000,
  stall: 20_000,
  poll: 2000,
}

/** Lets those who wait for better times be woken by news. */
export class Wakeup {
  readonly #waiting = new Set<() => void>()

  wake(): void {
    for (const resolve of [...this.#waiting]) resolve()
  }

  /** Resolves at the next news, after `most`, or when `signal` aborts; never rejects. */
  async wait(most: Milliseconds, signal: AbortSignal): Promise<void> {
    if (signal.aborted) return
    const { promise, resolve } = Promise.withResolvers<void>()
    const timer = setTimeout(resolve, most)
    this.#waiting.add(resolve)
    const give = (): void => resolve()
    signal.addEventListener('abort', give)
    await promise
    signal.removeEventListener('abort', give)
    this.#waiting.delete(resolve)
    clearTimeout(timer)
  }
}

/** Wakes on everything the daemon tells of offers, peers and sessions, and at times on nothing; until `signal` aborts. */
export async function followDaemon(
  client: TransferClient,
  news: Wakeup,
  timing: TransferTiming,
  signal: AbortSignal,
): Promise<void> {
  const pauses = new Wakeup()
  while (!signal.aborted) {
    try {
      const events = await client.events(['files', 'peers', 'sessions'])
      const stop = (): void => void events.return?.()
      signal.addEventListener('abort', stop, { once: true })
      for (let next = await events.next(); !next.done && !signal.aborted; next = await events.next()) news.wake()
      signal.removeEventListener('abort', stop)
    } catch {
      // The daemon is gone; the next round finds the one that replaces it.
    }
    news.wake()
    await pauses.wait(timing.firstPause, signal)
  }
}

/** What may be different the next time: everything that has to do with being reached, nothing that was decided. */
const PASSING: ReadonlySet<ErrorCode> = new Set<ErrorCode>([
  'local.no-daemon',
  'local.closed',
  'local.stopping',
  'peer.no-service',
  'peer.no-offer',
  'peer.busy',
  'peer.closed',
  'peer.reset',
  'peer.too-many-links',
  'peer.handshake-timeout',
  'peer.not-found',
  'network.unreachable',
  'network.timeout',
  'network.lost',
  'network.none',
])

/** Tries again while it makes sense: with growing pauses, at once at news, until nothing has moved for `patience`. */
export class Patience {
  readonly #timing: TransferTiming
  readonly #news: Wakeup
  readonly #signal: AbortSignal
  #moved = performance.now()

  constructor(timing: TransferTiming, news: Wakeup, signal: AbortSignal) {
    this.#timing = timing
    this.#news = news
    this.#signal = signal
  }

  /** Something arrived: the patience begins anew. */
  progressed(): void {
    this.#moved = performance.now()
  }

  /** Runs `attempt` until it succeeds. Throws what cannot be mended by waiting, and the last error when patience ends. */
  async run<T>(attempt: () => Promise<T>, onRetry: (error: PartylineError) => void = () => {}): Promise<T> {
    const { firstPause, longestPause, patience } = this.#timing
    let pause = firstPause
    for (;;) {
      const began = performance.now()
      try {
        this.#signal.throwIfAborted()
        return await attempt()
      } catch (thrown) {
        const error = toPartylineError(thrown)
        if (this.#signal.aborted || !PASSING.has(error.code)) throw error
        if (performance.now() - this.#moved > patience) throw error
        onRetry(error)
      }
      if (this.#moved > began) pause = firstPause
      await new Wakeup().wait(Math.min(firstPause, pause), this.#signal)
      if (pause > firstPause) await this.#news.wait(pause - firstPause, this.#signal)
      pause = Math.min(pause * 2, longestPause)
    }
  }
}

/** The promise, or a rejection as soon as `signal` aborts: a call may wait for a daemon that does not come back. */
export function abortable<T>(promise: Promise<T>, signal: AbortSignal): Promise<T> {
  return new Promise((resolve, reject) => {
    const give = (): void => reject(signal.reason)
    if (signal.aborted) give()
    signal.addEventListener('abort', give, { once: true })
    promise.then(resolve, reject).finally(() => signal.removeEventListener('abort', give))
  })
}
