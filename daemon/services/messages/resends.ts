import type { Clock, Timer } from '../../clock.ts'
import { type ErrorCode, PartylineError, toPartylineError } from '../../errors.ts'
import type { SendOptions, Sent, Session } from '../../session/session.ts'
import type { Milliseconds, PeerId } from '../../types.ts'

/** Times that one message is sent, and how long after its first loss it may still be. */
export const MAX_TRIES = 8
export const PATIENCE: Milliseconds = 60_000
/** Pauses before a session is opened anew. */
export const FIRST_PAUSE: Milliseconds = 200
const LONGEST_PAUSE: Milliseconds = 5000

/** The session ended before the peer's word came. */
const ENDED: readonly ErrorCode[] = ['network.lost', 'peer.restarted', 'peer.closed']
/** A session cannot be had now, and may be in a moment. */
const AWAY: readonly ErrorCode[] = [...ENDED, 'network.unreachable', 'network.timeout', 'peer.not-found']

interface Item {
  readonly order: number
  readonly channel: string
  readonly data: Uint8Array
  readonly options: SendOptions
  readonly resolve: (sent: Sent) => void
  readonly reject: (error: Error) => void
  tries: number
  /** When it is given up; undefined before its first loss. */
  until: Milliseconds | undefined
}

interface Errand {
  /** In the order in which the app sent them. */
  readonly items: Item[]
  pause: Milliseconds
  timer: Timer | undefined
  opening: boolean
}

/**
 * Messages that an app wants sent again when their session ends before the peer's word came. They keep their order, also with those that are
 * sent while an older one waits. How many there are is bounded by the app's budget.
 */
export class Resends {
  readonly #clock: Clock
  readonly #open: (peer: PeerId) => Session | Promise<Session>
  readonly #errands = new Map<PeerId, Errand>()
  #lastOrder = 0
  #closed = false

  constructor(clock: Clock, open: (peer: PeerId) => Session | Promise<Session>) {
    this.#clock = clock
    this.#open = open
  }

  /** Sends through as many sessions as it takes, within bounds; rejects with why the last did not do. */
  send(peer: PeerId, channel: string, data: Uint8Array, options: SendOptions): Promise<Sent> {
    const { promise, resolve, reject } = Promise.withResolvers<Sent>()
    const item: Item = {
      order: ++this.#lastOrder,
      channel,
      data,
      options,
      resolve,
      reject,
      tries: 0,
      until: undefined,
    }
    const errand = this.#errands.get(peer)
    if (errand) {
      errand.items.push(item)
      return promise
    }
    const there = this.#open(peer)
    // What never had a session has lost none.
    if (there instanceof Promise) there.then((session) => this.#try(peer, session, item), reject)
    else this.#try(peer, there, item)
    return promise
  }

  /** The app is gone. */
  close(): void {
    this.#closed = true
    for (const { items, timer } of this.#errands.values()) {
      timer?.cancel()
      for (const { reject } of items) reject(new PartylineError('local.closed'))
    }
    this.#errands.clear()
  }

  #try(peer: PeerId, session: Session, item: Item): void {
    if (this.#closed) return item.reject(new PartylineError('local.closed'))
    item.tries++
    session.send(item.channel, item.data, item.options).then(item.resolve, (error: unknown) => {
      const failure = toPartylineError(error)
      if (ENDED.includes(failure.code)) this.#again(peer, item, failure)
      else item.reject(failure)
    })
  }

  #again(peer: PeerId, item: Item, failure: PartylineError): void {
    item.until ??= this.#clock.now() + PATIENCE
    if (this.#closed || item.tries >= MAX_TRIES || this.#clock.now() >= item.until) return item.reject(failure)
    const errand = this.#errands.get(peer) ?? { items: [], pause: FIRST_PAUSE, timer: undefined, opening: false }
    this.#errands.set(peer, errand)
    const after = errand.items.findIndex(({ order }) => order > item.order)
    errand.items.splice(after < 0 ? errand.items.length : after, 0, item)
    this.#schedule(peer, errand)
  }

  #schedule(peer: PeerId, errand: Errand): void {
    if (errand.timer || errand.opening) return
    errand.timer = this.#clock.after(errand.pause, () => {
      errand.timer = undefined
      errand.opening = true
      Promise.resolve(this.#open(peer)).then(
        (session) => this.#resend(peer, errand, session),
        (error: unknown) => this.#failed(peer, errand, toPartylineError(error)),
      )
    })
    errand.pause = Math.min(errand.pause * 2, LONGEST_PAUSE)
  }

  #resend(peer: PeerId, errand: Errand, session: Session): void {
    this.#errands.delete(peer)
    for (const item of errand.items) this.#try(peer, session, item)
  }

  #failed(peer: PeerId, errand: Errand, failure: PartylineError): void {
    if (this.#closed) return
    errand.opening = false
    const items = errand.items.splice(0)
    this.#errands.delete(peer)
    const mayCome = AWAY.includes(failure.code)
    for (const item of items) {
      item.tries++
      item.until ??= this.#clock.now() + PATIENCE
      if (!mayCome || item.tries >= MAX_TRIES || this.#clock.now() >= item.until) item.reject(failure)
      else errand.items.push(item)
    }
    if (errand.items.length === 0) return
    this.#errands.set(peer, errand)
    this.#schedule(peer, errand)
  }
}
