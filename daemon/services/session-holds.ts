import type { Caller } from '../../ipc/api.ts'
import { PartylineError } from '../errors.ts'
import type { PeerId } from '../types.ts'

/** Sessions that one connection of an app may hold. */
export const MAX_HELD = 4096

/** Who wants which sessions kept although nobody uses them (`sessions.open` with `hold`): for as long as that connection lives. */
export class SessionHolds {
  readonly #holders = new Map<PeerId, Set<number>>()
  readonly #held = new Map<number, Set<PeerId>>()

  /** True while an app holds the session to this peer: it is not closed as unused. */
  holds(peer: PeerId): boolean {
    return this.#holders.has(peer)
  }

  /** Keeps the session to a peer while the connection lives; false where this connection did so already. Throws `local.limit` or `local.closed`. */
  hold(peer: PeerId, { id, signal }: Pick<Caller, 'id' | 'signal'>): boolean {
    const held = this.#heldBy(id, signal)
    if (held.has(peer)) return false
    if (held.size >= MAX_HELD)
      throw new PartylineError('local.limit', `one connection holds at most ${MAX_HELD} sessions`)
    held.add(peer)
    const holders = this.#holders.get(peer) ?? new Set()
    this.#holders.set(peer, holders.add(id))
    return true
  }

  /** Takes a hold back. */
  release(peer: PeerId, { id }: Pick<Caller, 'id'>): void {
    this.#held.get(id)?.delete(peer)
    const holders = this.#holders.get(peer)
    holders?.delete(id)
    if (holders?.size === 0) this.#holders.delete(peer)
  }

  #heldBy(id: number, signal: AbortSignal): Set<PeerId> {
    const known = this.#held.get(id)
    if (known) return known
    if (signal.aborted) throw new PartylineError('local.closed')
    const held = new Set<PeerId>()
    this.#held.set(id, held)
    signal.addEventListener('abort', () => {
      for (const peer of [...held]) this.release(peer, { id })
      this.#held.delete(id)
    })
    return held
  }
}
