import type { Clock, Timer } from '../clock.ts'
import { type ErrorCode, PartylineError, toPartylineError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import type { FilesMessage } from './files-message.ts'
import type { Offer } from './files-offer.ts'
import type { OfferRegistry } from './files-registry.ts'

/** Pauses between attempts to tell a peer of the offers it has from us; a sighting of it cuts them short. */
const FIRST_PAUSE: Milliseconds = 500
const LONGEST_PAUSE: Milliseconds = 15_000

interface CourierOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly offers: OfferRegistry
  readonly send: (peer: PeerId, message: FilesMessage) => Promise<void>
  /** The peer will not have this offer. */
  readonly onTurnedDown: (offer: Offer) => void
}

/** The errand to one peer that has to be told of own offers. */
interface Errand {
  pause: Milliseconds
  lastTried: Milliseconds
  retry: Timer | undefined
  busy: boolean
}

/** Tells peers of own offers: in every new session again, and by dialling those that lost theirs until they know. */
export class OfferCourier {
  readonly #options: CourierOptions
  /** Own offers the peer was told of in the session there is. */
  readonly #announced = new Set<Offer>()
  /** Own offers that were withdrawn while their peer could not be told. */
  readonly #owed = new Set<Offer>()
  readonly #errands = new Map<PeerId, Errand>()
  #closed = false

  constructor(options: CourierOptions) {
    this.#options = options
  }

  close(): void {
    this.#closed = true
    for (const { retry } of this.#errands.values()) retry?.cancel()
  }

  /** Tells the peer of one offer now. Throws what reaching it throws. */
  async announce(offer: Offer): Promise<void> {
    const { id, content, peer } = offer
    this.#announced.add(offer)
    try {
      await this.#options.send(peer, { op: 'offer', offer: id, ...content })
    } catch (error) {
      this.#announced.delete(offer)
      throw error
    }
    if (offer.state === 'withdrawn') throw new PartylineError('peer.no-offer', 'the offer was withdrawn')
  }

  /** Tells that an own offer was withdrawn, now or in the next session; never throws. */
  async recall(offer: Offer): Promise<void> {
    this.#owed.add(offer)
    try {
      await this.#options.send(offer.peer, { op: 'withdraw', offer: offer.id })
      this.#owed.delete(offer)
    } catch (error) {
      if (isFinal(codeOf(error))) this.#owed.delete(offer)
      const remembered = new Set(this.#options.offers.ended())
      for (const old of this.#owed) if (!remembered.has(old)) this.#owed.delete(old)
    }
  }

  /** The offer ended. */
  forget(offer: Offer): void {
    this.#announced.delete(offer)
  }

  sessionOpened(peer: PeerId): void {
    this.#dispatch(peer)
  }

  sessionClosed(peer: PeerId): void {
    for (const offer of this.#announced) if (offer.peer === peer) this.#announced.delete(offer)
    this.#dispatchLater(peer)
  }

  /** The moment to try again; not more often than the shortest pause, whatever discovery says. */
  peerSeen(peer: PeerId): void {
    const errand = this.#errands.get(peer)
    if (!errand?.retry) return
    const { clock } = this.#options
    errand.pause = FIRST_PAUSE
    errand.retry.cancel()
    const wait = Math.max(0, errand.lastTried + FIRST_PAUSE - clock.now())
    errand.retry = clock.after(wait, () => this.#dispatch(peer))
  }

  /** Tells a peer of every own offer it was not told of, one after the other; tries again later where that fails. */
  #dispatch(peer: PeerId): void {
    if (this.#closed) return
    const errand = this.#errandTo(peer)
    errand.retry?.cancel()
    errand.retry = undefined
    if (errand.busy) return
    errand.busy = true
    this.#deliver(peer)
      .then(
        () => this.#delivered(peer, errand),
        (error) => {
          this.#options.logger.debug('offers could not be announced', { peer, code: codeOf(error) })
          this.#failed(peer, errand)
        },
      )
      .catch((error) => this.#options.logger.error('telling of offers failed', { error: String(error) }))
  }

  async #deliver(peer: PeerId): Promise<void> {
    for (const offer of this.#owed) if (offer.peer === peer) await this.recall(offer)
    for (let offer = this.#untold(peer); offer; offer = this.#untold(peer)) {
      try {
        await this.announce(offer)
      } catch (error) {
        if (!isFinal(codeOf(error))) throw error
        this.#options.onTurnedDown(offer)
      }
    }
  }

  #delivered(peer: PeerId, errand: Errand): void {
    errand.busy = false
    if (this.#untold(peer)) this.#dispatchLater(peer)
    else this.#errands.delete(peer)
  }

  #failed(peer: PeerId, errand: Errand): void {
    errand.busy = false
    errand.lastTried = this.#options.clock.now()
    if (this.#untold(peer)) this.#dispatchLater(peer)
    else this.#errands.delete(peer)
  }

  #dispatchLater(peer: PeerId): void {
    if (this.#closed || !this.#untold(peer)) return
    const errand = this.#errandTo(peer)
    if (errand.busy || errand.retry) return
    errand.retry = this.#options.clock.after(errand.pause, () => this.#dispatch(peer))
    errand.pause = Math.min(errand.pause * 2, LONGEST_PAUSE)
  }

  #untold(peer: PeerId): Offer | undefined {
    return this.#options.offers
      .all()
      .find((offer) => offer.peer === peer && offer.direction === 'out' && !this.#announced.has(offer))
  }

  #errandTo(peer: PeerId): Errand {
    const known = this.#errands.get(peer)
    if (known) return known
    const errand: Errand = {
      pause: FIRST_PAUSE,
      lastTried: Number.NEGATIVE_INFINITY,
      retry: undefined,
      busy: false,
    }
    this.#errands.set(peer, errand)
    return errand
  }
}

function codeOf(error: unknown): ErrorCode {
  return toPartylineError(error).code
}

/** The peer's last word: asking again will not change it. */
function isFinal(code: ErrorCode): boolean {
  return code.startsWith('policy.') || code === 'peer.malformed' || code === 'peer.oversized'
}
