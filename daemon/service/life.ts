import type { Milliseconds } from '../types.ts'

/** Longest status line that is told, in characters. */
const MAX_STATUS = 200
/** Notifications that may wait. There are fewer kinds than that; a flood of reloads is what reaches it. */
export const MAX_WAITING = 16

/** One notification: assignments in the words of sd_notify(3). */
export type Notification = readonly string[]

/**
 * The life of a service as its manager is told it: starting, ready, reloading, stopping, and a sign of life in between. Free of I/O: whoever
 * owns it sends `take()` until there is nothing, and calls `tick` at `deadline`. Since `tick` is a timer of the event loop, a loop that
 * hangs gives no sign of life.
 */
export class ServiceLife {
  readonly #every: Milliseconds | undefined
  readonly #waiting: Notification[] = []
  #state: 'starting' | 'ready' | 'stopping' = 'starting'
  #deadline: Milliseconds = Number.POSITIVE_INFINITY

  /** `watchdog`: how long the manager waits for a sign of life; undefined when it does not. */
  constructor(watchdog: Milliseconds | undefined, now: Milliseconds) {
    // Half of it is what sd_watchdog_enabled(3) recommends; a third leaves room for a machine that is busy for once.
    this.#every = watchdog === undefined ? undefined : watchdog / 3
    if (this.#every !== undefined) this.#deadline = now + this.#every
  }

  /** When the next sign of life is due. */
  get deadline(): Milliseconds {
    return this.#deadline
  }

  /** The sockets accept. */
  ready(status: string): void {
    if (this.#state !== 'starting') return
    this.#state = 'ready'
    this.#push('READY=1', statusLine(status))
  }

  /** Settings are read again; `monotonic` is the system's monotonic clock in microseconds. */
  reloading(monotonic: bigint): void {
    if (this.#state === 'ready') this.#push('RELOADING=1', `MONOTONIC_USEC=${monotonic}`)
  }

  reloaded(status: string): void {
    if (this.#state === 'ready') this.#push('READY=1', statusLine(status))
  }

  /** It ends, and says goodbye. Nothing is told after that. */
  stopping(): void {
    if (this.#state === 'stopping') return
    this.#state = 'stopping'
    this.#deadline = Number.POSITIVE_INFINITY
    this.#waiting.length = 0
    this.#push('STOPPING=1', statusLine('says goodbye'))
  }

  tick(now: Milliseconds): void {
    if (this.#every === undefined || now < this.#deadline) return
    // From now on, not from when it was due: one that comes late is followed by one in time, not by all that were missed.
    this.#deadline = now + this.#every
    if (!this.#waiting.some((one) => one[0] === 'WATCHDOG=1')) this.#push('WATCHDOG=1')
  }

  /** The notification to send next. */
  take(): Notification | undefined {
    return this.#waiting.shift()
  }

  #push(...notification: string[]): void {
    // What is newest counts: the manager has to hear the last state, not all of them.
    if (this.#waiting.length >= MAX_WAITING) this.#waiting.shift()
    this.#waiting.push(notification)
  }
}

/** One line, whatever it is made of: a line of its own would be an assignment of its own. */
function statusLine(text: string): string {
  return `STATUS=${text.replaceAll(/\p{Cc}+/gu, ' ').slice(0, MAX_STATUS)}`
}
