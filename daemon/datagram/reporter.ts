import type { Milliseconds } from '../types.ts'

/** Between reports while messages flow. */
const INTERVAL: Milliseconds = 1000
/** Between reports while many do: the other end's rate depends on them. */
const FAST: Milliseconds = 100
/** So many packets since the last report are many. */
const MANY = 64

/** When to report what was received. Only messages call for reports, so that two idle ends fall silent. */
export class Reporter {
  #at: Milliseconds = Number.POSITIVE_INFINITY
  #last: Milliseconds = Number.NEGATIVE_INFINITY
  #messages = 0
  #hasSent = false

  get deadline(): Milliseconds {
    return this.#at
  }

  /** A packet with a message has left. */
  sent(now: Milliseconds): void {
    this.#hasSent = true
    if (this.#at > now + INTERVAL) this.#at = now + INTERVAL
  }

  /** A packet with a message has arrived. */
  received(now: Milliseconds): void {
    if (this.#at > now + INTERVAL) this.#at = now + INTERVAL
    if (++this.#messages === MANY) this.#at = Math.min(this.#at, Math.max(now, this.#last + FAST))
  }

  /** The other end has reported that it sent messages. */
  asked(now: Milliseconds): void {
    this.#at = Math.min(this.#at, Math.max(now, this.#last + FAST))
  }

  /** A report leaves; true when it has to ask for one in return. */
  report(now: Milliseconds): boolean {
    const asks = this.#hasSent
    this.#hasSent = false
    this.#messages = 0
    this.#last = now
    this.#at = Number.POSITIVE_INFINITY
    return asks
  }
}
