import type { Milliseconds, PeerId, UnixMilliseconds } from '../types.ts'
import type { Signal } from './envelope.ts'
import type { Rounds } from './rounds.ts'

/** How far a signal's time may be from ours, either way. */
export const TOLERANCE: Milliseconds = 120_000
/**
 * Ids are kept for this long after their signal was accepted, in monotonic time. A signal may be stamped TOLERANCE ahead and be accepted
 * until TOLERANCE after; the receiver's clock never runs slower than the monotonic one, so after this it is refused by its time for good.
 */
export const RETENTION: Milliseconds = 2 * TOLERANCE
/** Ids remembered of one sender, and in all. */
export const REMEMBERED = { perSender: 1024, inAll: 16_384 }
/** The part of a full table that is forgotten at once. */
const FORGOTTEN = 1 / 8
/** Expired ids are looked for this often. */
const SWEEP: Milliseconds = 30_000

/** The two times of one moment: monotonic, and the receiver's wall clock, which never runs backwards (`ForwardClock`). */
export interface Moment {
  readonly now: Milliseconds
  readonly wall: UnixMilliseconds
}

/** What to do with a signal. */
export type Verdict =
  | { readonly kind: 'fresh' }
  /** Accepted before, so long ago. */
  | { readonly kind: 'repeated'; readonly after: Milliseconds }
  /** Its time, or the round that follows, does not do. `unseen` where it is certain that it was not accepted within the last RETENTION. */
  | { readonly kind: 'old'; readonly unseen: boolean }

interface Accepted {
  readonly time: UnixMilliseconds
  readonly at: Milliseconds
}

interface Sender {
  /** By id, in the order they were accepted. */
  readonly ids: Map<string, Accepted>
  /** Nothing of this time or older is accepted. */
  floor: UnixMilliseconds
  /** When ids were last forgotten before their time. */
  forgot: Milliseconds
}

/**
 * Lets each signal of a sender pass once. When a table is full, the ids with the oldest times are forgotten and everything as old as them is
 * refused: an honest signal may be lost by that, a replayed one never passes.
 */
export class ReplayGuard {
  readonly #rounds: Rounds
  readonly #limits: typeof REMEMBERED
  readonly #senders = new Map<PeerId, Sender>()
  /** What was stamped before the start may have been accepted by the process before. */
  readonly #start: UnixMilliseconds
  #size = 0
  #floor: UnixMilliseconds = Number.NEGATIVE_INFINITY
  #forgot: Milliseconds = Number.NEGATIVE_INFINITY
  #swept: Milliseconds

  constructor(start: Moment, rounds: Rounds, limits = REMEMBERED) {
    this.#rounds = rounds
    this.#limits = limits
    this.#start = Math.floor(start.wall)
    this.#swept = start.now
  }

  /** Ids remembered now. */
  get size(): number {
    return this.#size
  }

  /** Judges a signal; one that is fresh is remembered. */
  accept(peer: PeerId, signal: Pick<Signal, 'id' | 'time' | 'round'>, { now, wall }: Moment): Verdict {
    const { id, time, round } = signal
    this.#sweep(now)
    const sender = this.#senders.get(peer)
    const before = sender?.ids.get(id)
    if (before) return { kind: 'repeated', after: now - before.at }
    if (time < this.#start || Math.abs(time - wall) > TOLERANCE || !this.#rounds.counts(peer, round)) {
      const forgot = Math.max(this.#forgot, sender?.forgot ?? Number.NEGATIVE_INFINITY)
      return { kind: 'old', unseen: now - forgot > RETENTION }
    }
    if (time <= this.#floor || (sender && time <= sender.floor)) return { kind: 'old', unseen: false }
    this.#remember(peer, id, { time, at: now })
    this.#rounds.accepted(peer, round)
    return { kind: 'fresh' }
  }

  #remember(peer: PeerId, id: string, accepted: Accepted): void {
    const sender = this.#senders.get(peer) ?? {
      ids: new Map<string, Accepted>(),
      floor: Number.NEGATIVE_INFINITY,
      forgot: Number.NEGATIVE_INFINITY,
    }
    this.#senders.set(peer, sender)
    sender.ids.set(id, accepted)
    this.#size++
    const { perSender, inAll } = this.#limits
    if (sender.ids.size > perSender) {
      const forgotten = oldest([[sender, sender.ids]], perSender)
      sender.floor = this.#forget(forgotten)
      sender.forgot = accepted.at
    }
    if (this.#size > inAll) {
      this.#floor = this.#forget(
        oldest(
          [...this.#senders.values()].map((one) => [one, one.ids]),
          inAll,
        ),
      )
      this.#forgot = accepted.at
    }
  }

  /** Returns the newest time among what is forgotten. */
  #forget(entries: readonly Entry[]): UnixMilliseconds {
    let newest = Number.NEGATIVE_INFINITY
    for (const { sender, id, time } of entries) {
      sender.ids.delete(id)
      this.#size--
      newest = Math.max(newest, time)
    }
    return newest
  }

  #sweep(now: Milliseconds): void {
    if (now - this.#swept < SWEEP) return
    this.#swept = now
    for (const [peer, { ids, forgot }] of this.#senders) {
      for (const [id, { at }] of ids) {
        if (now - at <= RETENTION) break
        ids.delete(id)
        this.#size--
      }
      // That ids were forgotten has to be known for as long as they would have been.
      if (ids.size === 0 && now - forgot > RETENTION) this.#senders.delete(peer)
    }
  }
}

interface Entry {
  readonly sender: Sender
  readonly id: string
  readonly time: UnixMilliseconds
}

/** Of a table of `limit` ids, the part with the oldest times. */
function oldest(tables: readonly (readonly [Sender, Sender['ids']])[], limit: number): readonly Entry[] {
  return tables
    .flatMap(([sender, ids]) => Array.from(ids, ([id, { time }]) => ({ sender, id, time })))
    .sort((a, b) => a.time - b.time)
    .slice(0, Math.ceil(limit * FORGOTTEN))
}
