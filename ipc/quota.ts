import type { Clock, Timer } from '../daemon/clock.ts'
import type { Milliseconds } from '../daemon/types.ts'

/** Calls a second that all connections of one user may make in the long run, and at once. Sends of messages count little: honest apps send many. */
export const CALL_RATE = 20_000
export const CALL_BURST = 2000
const SEND_COST = 1 / 16
/** Calls of one user that are under way. */
export const MAX_USER_IN_FLIGHT = 8192
/** Bytes of half-sent requests and unread answers of one user above which its connections are kept short. */
export const USER_BYTES_HIGH = 64 * 1024 * 1024

/**
 * What all connections of one user share, so that an app that misbehaves takes from its own user and nobody else. Nothing is refused for a rate:
 * whoever calls too fast is read more slowly.
 */
export class Quota {
  /** Connections that may be open at a time. */
  readonly maxConnections: number
  connections = 0
  readonly #clock: Clock
  readonly #waiting = new Set<() => void>()
  #tokens = CALL_BURST
  #filledAt: Milliseconds
  #inFlight = 0
  #bytes = 0
  #timer: Timer | undefined

  constructor(clock: Clock, maxConnections: number) {
    this.#clock = clock
    this.maxConnections = maxConnections
    this.#filledAt = clock.now()
  }

  /** True when no further call may be taken up now; `whenFree` tells when to look again. */
  get isSpent(): boolean {
    return this.#inFlight >= MAX_USER_IN_FLIGHT || (this.#tokens < 1 && !this.#refill())
  }

  /** True when too much waits to be read, here or there. */
  get isHeavy(): boolean {
    return this.#bytes > USER_BYTES_HIGH
  }

  /** A call was taken up. */
  begin(method: string): void {
    this.#inFlight++
    this.#tokens -= method === 'messages.send' ? SEND_COST : 1
  }

  /** A call was answered. */
  end(): void {
    if (this.#inFlight-- === MAX_USER_IN_FLIGHT) this.#wake()
  }

  /** So many bytes wait more than before, or fewer. */
  account(change: number): void {
    this.#bytes += change
  }

  /** Calls `look` once when calls may go on; the same function is kept once. */
  whenFree(look: () => void): void {
    this.#waiting.add(look)
    if (this.#tokens >= 1 || this.#timer) return
    // A millisecond is twenty calls, and the least that a timer waits.
    this.#timer = this.#clock.after(Math.max(1, ((1 - this.#tokens) * 1000) / CALL_RATE), () => {
      this.#timer = undefined
      this.#wake()
    })
  }

  forget(look: () => void): void {
    this.#waiting.delete(look)
  }

  #wake(): void {
    const waiting = [...this.#waiting]
    this.#waiting.clear()
    for (const look of waiting) look()
  }

  #refill(): boolean {
    const now = this.#clock.now()
    this.#tokens = Math.min(CALL_BURST, this.#tokens + ((now - this.#filledAt) * CALL_RATE) / 1000)
    this.#filledAt = now
    return this.#tokens >= 1
  }
}
