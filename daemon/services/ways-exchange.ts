import { decode, encode } from '@msgpack/msgpack'
import { PartylineError } from '../errors.ts'
import type { PeerBook } from '../peers/peer-book.ts'
import { type Ways, ways } from '../peers/ways.ts'
import type { Refusals } from '../refusals.ts'
import type { PeerId } from '../types.ts'
import type { MessageService } from './messages.ts'

const CHANNEL = 'partyline.ways'
/** Longest message in bytes. */
const MAX_MESSAGE = 16 * 1024

interface WaysExchangeOptions {
  readonly messages: MessageService
  readonly book: PeerBook
  readonly refusals: Refusals
  /** How this host may be reached, as far as a peer may know. */
  readonly own: (peer: PeerId) => Ways
  /** Peers with a session that has a link. */
  readonly sessions: () => readonly PeerId[]
}

/**
 * Hosts that trust each other tell how they may be reached from anywhere, in their session: so they find each other again when nothing of
 * what they met by is left.
 */
export class WaysExchange {
  readonly #options: WaysExchangeOptions
  /** What each was told last. */
  readonly #told = new Map<PeerId, string>()

  constructor(options: WaysExchangeOptions) {
    this.#options = options
    options.messages.handle(CHANNEL, (peer, bytes) => this.#receive(peer, bytes))
  }

  /** A session has a link, or is no more; somebody's trust is another; this host may be reached otherwise than before. */
  changed(): void {
    const { sessions, own } = this.#options
    const open = new Set(sessions().filter((peer) => this.#isTrusted(peer)))
    for (const peer of [...this.#told.keys()]) if (!open.has(peer)) this.#told.delete(peer)
    for (const peer of open) {
      const mine = own(peer)
      const told = JSON.stringify(mine)
      if (this.#told.get(peer) === told) continue
      this.#told.set(peer, told)
      this.#tell(peer, mine)
    }
  }

  #tell(peer: PeerId, mine: Ways): void {
    // A peer that does not trust this host yet refuses; it is told again when it tells its own.
    this.#options.messages.send(peer, CHANNEL, encode(mine)).catch(() => this.#told.delete(peer))
  }

  #receive(peer: PeerId, bytes: Uint8Array): void {
    const { book, refusals } = this.#options
    if (!this.#isTrusted(peer)) {
      refusals.count('policy.refused')
      throw new PartylineError('policy.refused')
    }
    book.setWays(peer, decodeWays(bytes))
    this.changed()
  }

  #isTrusted(peer: PeerId): boolean {
    return this.#options.book.get(peer).trust === 'trusted'
  }
}

/** Throws `peer.oversized` or `peer.malformed`. */
export function decodeWays(bytes: Uint8Array): Ways {
  if (bytes.length > MAX_MESSAGE) throw new PartylineError('peer.oversized', `${bytes.length} bytes of ways`)
  try {
    return ways.parse(
      decode(bytes, { maxStrLength: 1024, maxArrayLength: 16, maxMapLength: 8, maxBinLength: 0, maxExtLength: 0 }),
    )
  } catch (error) {
    throw new PartylineError('peer.malformed', 'not how a host may be reached', { cause: error })
  }
}
