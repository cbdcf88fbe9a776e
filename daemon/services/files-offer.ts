import type { OfferView } from '../../ipc/methods.ts'
import { PartylineError } from '../errors.ts'
import type { Milliseconds, PeerId } from '../types.ts'

/** What an offer is about, as its sender tells it. */
export interface OfferContent {
  readonly name: string
  readonly files: number
  readonly bytes: number
}

type OfferState = OfferView['state']

/** An offer on this host, in one direction. Ended offers are remembered for a while, so that the other side can learn how. */
export class Offer {
  readonly id: string
  readonly peer: PeerId
  readonly direction: OfferView['direction']
  readonly content: OfferContent
  /** Whose app made or took it; undefined for what a peer offers to everybody here. */
  user: string | undefined
  state: OfferState = 'offered'
  /** When it ended; undefined while it stands. */
  endedAt: Milliseconds | undefined
  readonly #ended = new AbortController()

  constructor(id: string, peer: PeerId, direction: OfferView['direction'], content: OfferContent, user?: string) {
    this.id = id
    this.peer = peer
    this.direction = direction
    this.content = content
    this.user = user
  }

  get stands(): boolean {
    return this.endedAt === undefined
  }

  /** Aborted with `peer.no-offer` when the offer ends. */
  get signal(): AbortSignal {
    return this.#ended.signal
  }

  end(state: OfferState, now: Milliseconds): void {
    this.state = state
    this.endedAt = now
    this.#ended.abort(new PartylineError('peer.no-offer', `the offer is ${state}`))
  }

  view(): OfferView {
    const { id, peer, direction, content, state } = this
    return { offer: id, peer, direction, ...content, state }
  }
}
