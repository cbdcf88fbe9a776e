import type { Clock, Timer } from '../clock.ts'
import { PartylineError } from '../errors.ts'
import type { Offer } from '../nat/by-hand.ts'
import type { Milliseconds, PeerId } from '../types.ts'

/** Offers that wait for their answers at one time. */
export const MAX_OFFERS = 8

/** What carries on by hand what servers do elsewhere. */
export interface ByHandNat {
  /** Has candidates gathered; they are kept fresh until what it resolves to is called. */
  gather(): Promise<() => void>
  offer(): Offer
  /** Looks for a way; returns what the peer is to be told. */
  meet(peer: PeerId, theirs: Offer['description'], patience: Milliseconds, offer?: Offer): Offer['description']
}

interface Waiting {
  readonly offer: Offer
  readonly release: () => void
  readonly timer: Timer
}

/** The offers that were given out by hand, each of which waits for one answer. Their ports are kept open meanwhile. */
export class Offers {
  readonly #clock: Clock
  readonly #nat: ByHandNat
  readonly #waiting = new Map<string, Waiting>()

  constructor(clock: Clock, nat: ByHandNat) {
    this.#clock = clock
    this.#nat = nat
  }

  /** Rejects with `network.no-path` where nothing may be told, and with `local.limit`. */
  async make(id: string, lifetime: Milliseconds): Promise<Offer> {
    if (this.#waiting.size >= MAX_OFFERS)
      throw new PartylineError('local.limit', `${MAX_OFFERS} offers wait for an answer`)
    const release = await this.#nat.gather()
    try {
      const offer = this.#nat.offer()
      this.#waiting.set(id, { offer, release, timer: this.#clock.after(lifetime, () => this.drop(id)) })
      return offer
    } catch (error) {
      release()
      throw error
    }
  }

  /** The offer of an invitation; undefined where none waits. */
  get(id: string): Offer | undefined {
    return this.#waiting.get(id)?.offer
  }

  /** It has been answered, or taken back. */
  drop(id: string): void {
    const waiting = this.#waiting.get(id)
    this.#waiting.delete(id)
    waiting?.timer.cancel()
    waiting?.release()
  }

  close(): void {
    for (const id of [...this.#waiting.keys()]) this.drop(id)
  }
}
