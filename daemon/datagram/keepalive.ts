import type { Milliseconds } from '../types.ts'

/** Between pings of a path that nobody uses: well below the 30 seconds after which the most forgetful address translators lose it. */
const IDLE: Milliseconds = 10_000
/** Between pings of one in use, and how long it counts as such after the last message. */
const ACTIVE: Milliseconds = 1000
const ACTIVE_FOR: Milliseconds = 15_000
/** A ping without answer is repeated after this; so many without answer end the path. */
const REPEAT: Milliseconds = 500
const UNANSWERED = 4
/** So many unanswered is what a refusal of the system counts for. */
const DOUBTFUL = 2
/** Between pings, whatever calls for them. */
const MIN_GAP: Milliseconds = 100

/** When to ping a path, and when it is lost. */
export class Keepalive {
  readonly #asked = new Map<number, Milliseconds>()
  #at: Milliseconds = Number.POSITIVE_INFINITY
  #last: Milliseconds = Number.NEGATIVE_INFINITY
  #activeUntil: Milliseconds = Number.NEGATIVE_INFINITY
  #unanswered = 0
  #id = 0

  get deadline(): Milliseconds {
    return this.#at
  }

  /** True when the last pings had no answer: the next one that is due would be one too many. */
  get isExhausted(): boolean {
    return this.#unanswered >= UNANSWERED
  }

  /** A path has opened: ping at once. */
  start(now: Milliseconds): void {
    this.stop()
    this.#at = now
  }

  stop(): void {
    this.#asked.clear()
    this.#unanswered = 0
    this.#at = Number.POSITIVE_INFINITY
  }

  /** A message was sent or received. */
  used(now: Milliseconds): void {
    this.#activeUntil = now + ACTIVE_FOR
    if (this.#unanswered === 0) this.#at = Math.min(this.#at, Math.max(now, this.#last + ACTIVE))
  }

  /** The system says that nothing gets there, or the network has changed: ask soon. */
  doubt(now: Milliseconds, isRefused: boolean): void {
    if (this.#at === Number.POSITIVE_INFINITY) return
    if (isRefused) this.#unanswered = Math.max(this.#unanswered, DOUBTFUL)
    this.#at = Math.min(this.#at, Math.max(now, this.#last + MIN_GAP))
  }

  /** Returns the id of the ping to send now. */
  ask(now: Milliseconds): number {
    const id = this.#id
    this.#id = (id + 1) >>> 0
    this.#asked.set(id, now)
    const [oldest] = this.#asked.keys()
    if (this.#asked.size > 2 * UNANSWERED && oldest !== undefined) this.#asked.delete(oldest)
    this.#unanswered++
    this.#last = now
    this.#at = now + REPEAT
    return id
  }

  /** The round trip of this ping; undefined for an answer that nobody asked for. */
  answered(id: number, now: Milliseconds): Milliseconds | undefined {
    const asked = this.#asked.get(id)
    if (asked === undefined) return undefined
    this.#asked.delete(id)
    this.#unanswered = 0
    this.#at = this.#last + (now < this.#activeUntil ? ACTIVE : IDLE)
    return now - asked
  }
}
