import { type ErrorCode, PartylineError } from '../../errors.ts'

/** Messages of one app that may wait for its budget. */
export const MAX_WAITING = 1024
/** While this many wait, or this many bytes, no more calls of the app are read. */
const CALLS_HIGH = 64
const CALLS_HIGH_BYTES = 1024 * 1024
/** What the limit may be set to at least, in bytes: below it, there is no need to ask. */
const LEAST = 1024 * 1024

interface Waiting {
  readonly size: number
  readonly resolve: () => void
  readonly reject: (error: Error) => void
}

/** Content that one app has on its way to all peers. What is over its limit waits in order; unreliable messages, which are worth nothing late, do not. */
export class SendBudget {
  readonly #limit: () => number
  readonly #hold: (on: boolean) => void
  readonly #waiting: Waiting[] = []
  #waitingBytes = 0
  #reliable = 0
  #unreliable = 0
  #held = false

  /** `limit`: in bytes, as set now. `hold`: told when the app should be read no further, and when it may be again. */
  constructor(limit: () => number, hold: (on: boolean) => void) {
    this.#limit = limit
    this.#hold = hold
  }

  /** Takes room for a reliable message; a promise where it has to wait for it, which rejects with `local.limit` when too many wait already. */
  take(size: number): Promise<void> | undefined {
    if (this.#waiting.length === 0 && this.#fits(this.#reliable, size)) {
      this.#reliable += size
      return undefined
    }
    if (this.#waiting.length >= MAX_WAITING)
      return Promise.reject(
        new PartylineError('local.limit', `${MAX_WAITING} messages of this app wait to be sent already`),
      )
    return new Promise((resolve, reject) => {
      this.#waiting.push({ size, resolve, reject })
      this.#waitingBytes += size
      this.#tellHeld()
    })
  }

  /** A reliable message is done with. */
  release(size: number): void {
    this.#reliable -= size
    let next = this.#waiting[0]
    if (!next) return
    for (; next && this.#fits(this.#reliable, next.size); next = this.#waiting[0]) {
      this.#waiting.shift()
      this.#waitingBytes -= next.size
      this.#reliable += next.size
      next.resolve()
    }
    this.#tellHeld()
  }

  /** Takes room for an unreliable message; false where there is none. */
  takeUnreliable(size: number): boolean {
    if (!this.#fits(this.#unreliable, size)) return false
    this.#unreliable += size
    return true
  }

  releaseUnreliable(size: number): void {
    this.#unreliable -= size
  }

  /** The app is gone: what waits gets this error. */
  close(code: ErrorCode): void {
    this.#waitingBytes = 0
    for (const { reject } of this.#waiting.splice(0)) reject(new PartylineError(code))
  }

  #fits(used: number, size: number): boolean {
    return used + size <= LEAST || used + size <= this.#limit()
  }

  #tellHeld(): void {
    const held = this.#waiting.length >= CALLS_HIGH || this.#waitingBytes >= CALLS_HIGH_BYTES
    if (held === this.#held) return
    this.#held = held
    this.#hold(held)
  }
}
