import type { Milliseconds, PeerId } from '../types.ts'

/** Signals that wait for a stream to one peer, and for how long they are worth it. */
const MAX_WAITING = 16
const MAX_WAIT: Milliseconds = 5000
/** Peers that signals wait for. */
const MAX_PEERS = 256

/** Signals that wait until there is a stream to their peer. */
export class SignalQueue {
  readonly #waiting = new Map<PeerId, { readonly sealed: Uint8Array; readonly at: Milliseconds }[]>()

  /** False where the queue is full: the signal is dropped. */
  add(peer: PeerId, sealed: Uint8Array, now: Milliseconds): boolean {
    const waiting = this.#fresh(peer, now)
    if (waiting.length >= MAX_WAITING || (waiting.length === 0 && this.#waiting.size >= MAX_PEERS)) return false
    waiting.push({ sealed, at: now })
    this.#waiting.set(peer, waiting)
    return true
  }

  /** Takes what still waits for a peer, in order. */
  take(peer: PeerId, now: Milliseconds): Uint8Array[] {
    const waiting = this.#fresh(peer, now)
    this.#waiting.delete(peer)
    return waiting.map(({ sealed }) => sealed)
  }

  clear(): void {
    this.#waiting.clear()
  }

  #fresh(peer: PeerId, now: Milliseconds): { readonly sealed: Uint8Array; readonly at: Milliseconds }[] {
    const fresh = (this.#waiting.get(peer) ?? []).filter(({ at }) => now - at < MAX_WAIT)
    if (fresh.length === 0) this.#waiting.delete(peer)
    return fresh
  }
}
