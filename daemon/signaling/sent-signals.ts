import type { Milliseconds, PeerId, UnixMilliseconds } from '../types.ts'

/** A signal is sent once more only within this long after it was sent. */
export const RESENDABLE: Milliseconds = 30_000
/** Signals kept for that, and bytes of their contents together. */
export const MAX_KEPT = 256
export const MAX_KEPT_BYTES = 1024 * 1024

/** A signal as it was asked for. */
export interface SentSignal {
  readonly peer: PeerId
  readonly id: string
  readonly topic: string
  readonly content: Uint8Array
}

interface Kept extends SentSignal {
  readonly now: Milliseconds
  readonly wall: UnixMilliseconds
}

/** The signals sent lately, for the receivers whose clocks disagree with ours. */
export class SentSignals {
  /** By id, the oldest first. */
  readonly #kept = new Map<string, Kept>()
  #bytes = 0

  get size(): number {
    return this.#kept.size
  }

  /** Bytes of the contents kept. */
  get bytes(): number {
    return this.#bytes
  }

  add(signal: SentSignal, now: Milliseconds, wall: UnixMilliseconds): void {
    this.#kept.set(signal.id, { ...signal, now, wall })
    this.#bytes += signal.content.length
    for (const one of this.#kept.values()) {
      const within = this.#kept.size <= MAX_KEPT && this.#bytes <= MAX_KEPT_BYTES
      if (within && now - one.now <= RESENDABLE) break
      this.#drop(one)
    }
  }

  /**
   * Takes out a signal to send it once more; nothing where it was not sent to this peer, or not lately. A receiver remembers only for minutes
   * what it accepted, and the monotonic clock stands still while a machine sleeps: so the wall clock (`ForwardClock`) has to agree.
   */
  take(peer: PeerId, id: string, now: Milliseconds, wall: UnixMilliseconds): SentSignal | undefined {
    const kept = this.#kept.get(id)
    if (kept?.peer !== peer) return undefined
    this.#drop(kept)
    return now - kept.now <= RESENDABLE && wall - kept.wall <= RESENDABLE ? kept : undefined
  }

  #drop(one: Kept): void {
    this.#kept.delete(one.id)
    this.#bytes -= one.content.length
  }
}
