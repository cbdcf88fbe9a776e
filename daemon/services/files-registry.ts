import type { OfferView } from '../../ipc/methods.ts'
import type { Clock } from '../clock.ts'
import { PartylineError } from '../errors.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import type { Offer } from './files-offer.ts'

/** Most offers that stand from one peer. */
export const MAX_OFFERS_PER_PEER = 100
/** Most offers that stand of all peers, and of one user here. */
export const MAX_OFFERS = 1000
/** Most offers that stand of all users here. */
export const MAX_OWN_OFFERS = 4000
/** How long it is known how an offer ended: a daemon that was away meanwhile asks about it when it is back. */
const REMEMBER: Milliseconds = 600_000
/** Most ended offers remembered. */
export const MAX_ENDED = 1000

/** Every offer on this host by id, those that stand and, for a while, those that ended. */
export class OfferRegistry {
  readonly #clock: Clock
  readonly #standing = new Map<string, Offer>()
  /** In the order in which they ended. */
  readonly #ended = new Map<string, Offer>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** An offer by id, ended or not. */
  find(id: string): Offer | undefined {
    this.#expire()
    return this.#standing.get(id) ?? this.#ended.get(id)
  }

  /** An offer that stands. Throws `peer.no-offer`. */
  standing(id: string, direction: OfferView['direction']): Offer {
    const offer = this.#standing.get(id)
    if (offer?.direction === direction) return offer
    const ended = this.#ended.get(id)
    if (ended?.direction === direction) throw new PartylineError('peer.no-offer', `the offer is ${ended.state}`)
    throw new PartylineError('peer.no-offer')
  }

  /** True when one more offer from this peer fits. */
  hasRoomFrom(peer: PeerId): boolean {
    const same = this.#inDirection('in')
    return same.length < MAX_OFFERS && same.filter((offer) => offer.peer === peer).length < MAX_OFFERS_PER_PEER
  }

  /** True when one more offer of this user fits. */
  hasRoomOf(user: string): boolean {
    const same = this.#inDirection('out')
    return same.length < MAX_OWN_OFFERS && same.filter((offer) => offer.user === user).length < MAX_OFFERS
  }

  #inDirection(direction: OfferView['direction']): Offer[] {
    return this.all().filter((offer) => offer.direction === direction)
  }

  add(offer: Offer): void {
    this.#standing.set(offer.id, offer)
  }

  end(offer: Offer, state: OfferView['state']): void {
    if (!offer.stands) return
    offer.end(state, this.#clock.now())
    this.#standing.delete(offer.id)
    this.#ended.set(offer.id, offer)
    this.#expire()
  }

  /** Forgets an offer that never was announced. */
  drop(offer: Offer): void {
    offer.end('withdrawn', this.#clock.now())
    this.#standing.delete(offer.id)
  }

  /** The offers that stand, oldest first. */
  all(): Offer[] {
    return [...this.#standing.values()]
  }

  /** What ended and is remembered, longest ago first. */
  ended(): Offer[] {
    this.#expire()
    return [...this.#ended.values()]
  }

  #expire(): void {
    const before = this.#clock.now() - REMEMBER
    for (const offer of this.#ended.values()) {
      if (this.#ended.size <= MAX_ENDED && (offer.endedAt ?? 0) > before) return
      this.#ended.delete(offer.id)
    }
  }
}
