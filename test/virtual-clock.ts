import type { Clock, Timer } from '../daemon/clock.ts'
import type { Milliseconds, UnixMilliseconds } from '../daemon/types.ts'

interface Pending {
  readonly at: Milliseconds
  readonly order: number
  readonly task: () => void
}

/** Time that passes only when a test says so. */
export class VirtualClock implements Clock {
  readonly #pending = new Set<Pending>()
  #now: Milliseconds = 0
  #order = 0
  #wallAtZero: UnixMilliseconds = 1_800_000_000_000

  now(): Milliseconds {
    return this.#now
  }

  wall(): UnixMilliseconds {
    return this.#wallAtZero + this.#now
  }

  /** Sets the wall clock, as a person, a time server or a sleep of the machine does; no time passes. */
  setWall(wall: UnixMilliseconds): void {
    this.#wallAtZero = wall - this.#now
  }

  after(delay: Milliseconds, task: () => void): Timer {
    const pending = { at: this.#now + Math.max(0, delay), order: this.#order++, task }
    this.#pending.add(pending)
    return { cancel: () => void this.#pending.delete(pending) }
  }

  /** When the next timer is due; undefined when there is none. */
  get next(): Milliseconds | undefined {
    return this.#first()?.at
  }

  /** Lets time pass; timers that fall due run in order, those they set included. */
  advance(ms: Milliseconds): void {
    const until = this.#now + ms
    for (let due = this.#first(); due && due.at <= until; due = this.#first()) {
      this.#pending.delete(due)
      this.#now = due.at
      due.task()
    }
    this.#now = until
  }

  #first(): Pending | undefined {
    let first: Pending | undefined
    for (const one of this.#pending)
      if (!first || one.at < first.at || (one.at === first.at && one.order < first.order)) first = one
    return first
  }
}
