import { decode, encode } from '@msgpack/msgpack'
import * as z from 'zod'
import type { Clock, Timer } from '../clock.ts'
import { PartylineError } from '../errors.ts'
import type { TurnServer } from '../nat/turn/server-uri.ts'
import type { PeerBook } from '../peers/peer-book.ts'
import type { Refusals } from '../refusals.ts'
import type { MessageService } from '../services/messages.ts'
import type { HostPort, Milliseconds, PeerId } from '../types.ts'

const CHANNEL = 'partyline.relay'
/** Longest message in bytes. */
const MAX_MESSAGE = 2048
/** How long what is handed out is good, and when it is handed out anew. */
const LIFETIME: Milliseconds = 24 * 3_600_000
const RENEWAL: Milliseconds = LIFETIME / 2
/** Friends whose offers are looked at. */
const MAX_FRIENDS = 8

/** Time-limited credentials of a TURN server (the TURN REST scheme). */
export interface RelayCredentials {
  readonly username: string
  readonly password: string
}

const offer = z.union([
  z.object({ username: z.string().min(1).max(256), password: z.string().min(1).max(256) }),
  /** It does not relay any more. */
  z.object({ username: z.literal(''), password: z.literal('') }),
])

interface FriendRelaysOptions {
  readonly self: PeerId
  readonly clock: Clock
  readonly refusals: Refusals
  readonly messages: MessageService
  readonly book: PeerBook
  /** Peers with a session that has a link. */
  readonly sessions: () => readonly PeerId[]
  /** Where the UDP port of a peer is reached straight; undefined where that is not known. */
  readonly addressOf: (peer: PeerId) => HostPort | undefined
  /** The owner wants friends to relay for this host. */
  readonly isWanted: () => boolean
  /** What a trusted peer may relay through this host with; undefined: it may not. */
  readonly credentialsFor: (peer: PeerId, lifetime: Milliseconds) => RelayCredentials | undefined
  /** Those that this host may use, in no order. */
  readonly use: (servers: readonly TurnServer[]) => void
}

/**
 * Trusted peers relay for each other: each hands out credentials for the TURN server on its own UDP port, in their session. Two hosts that
 * cannot reach each other meet at one that both reach, be it behind a NAT itself: what one sends to the other's relayed address there never
 * leaves it.
 */
export class FriendRelays {
  readonly #options: FriendRelaysOptions
  readonly #offers = new Map<PeerId, RelayCredentials>()
  /** Until when what each was offered need not be offered anew; infinite where it was offered nothing. */
  readonly #offered = new Map<PeerId, Milliseconds>()
  #used = ''
  #renewal: Timer | undefined

  constructor(options: FriendRelaysOptions) {
    this.#options = options
    options.messages.handle(CHANNEL, (peer, bytes) => this.#receive(peer, bytes))
  }

  /** A session has a link, lost it, or goes another way; somebody's trust is another; a setting changed. */
  changed(): void {
    const { sessions, clock } = this.#options
    const open = new Set(sessions().filter((peer) => this.#isTrusted(peer)))
    for (const peer of [...this.#offered.keys()]) if (!open.has(peer)) this.#offered.delete(peer)
    for (const peer of [...this.#offers.keys()]) if (!open.has(peer)) this.#offers.delete(peer)
    for (const peer of open) this.#offer(peer, clock.now())
    this.#use()
    this.#renewal?.cancel()
    const next = Math.min(...this.#offered.values())
    if (next !== Number.POSITIVE_INFINITY)
      this.#renewal = clock.after(Math.max(1, next - clock.now()), () => this.changed())
  }

  /** Friends that would relay for this host now. */
  offers(peer: PeerId): boolean {
    return this.#offers.has(peer)
  }

  close(): void {
    this.#renewal?.cancel()
  }

  #offer(peer: PeerId, now: Milliseconds): void {
    const credentials = this.#options.credentialsFor(peer, LIFETIME)
    const until = this.#offered.get(peer)
    if (credentials) {
      if (until !== undefined && until !== Number.POSITIVE_INFINITY && now < until) return
      this.#offered.set(peer, now + RENEWAL)
      return this.#tell(peer, credentials)
    }
    this.#offered.set(peer, Number.POSITIVE_INFINITY)
    if (until !== undefined && until !== Number.POSITIVE_INFINITY) this.#tell(peer, { username: '', password: '' })
  }

  /** Best effort, in the session there is: a peer that does not trust this host yet refuses, and is told again at the next change. */
  #tell(peer: PeerId, credentials: RelayCredentials): void {
    this.#options.messages.send(peer, CHANNEL, encode(credentials)).catch(() => this.#offered.delete(peer))
  }

  #receive(peer: PeerId, bytes: Uint8Array): void {
    if (!this.#isTrusted(peer)) {
      this.#options.refusals.count('policy.refused')
      throw new PartylineError('policy.refused')
    }
    const credentials = decodeOffer(bytes)
    const isKnown = this.#offered.has(peer)
    if (credentials.username === '') this.#offers.delete(peer)
    else this.#offers.set(peer, credentials)
    if (isKnown) this.#use()
    else this.changed()
  }

  #use(): void {
    const { self, addressOf, isWanted, use } = this.#options
    const servers = [...this.#offers].flatMap(([peer, { username, password }]): TurnServer[] => {
      const at = addressOf(peer)
      if (!at) return []
      // It may be our client as well, between the same two ports: the numbers of channels have to tell whose they are.
      const channels = self < peer ? 'lower' : 'upper'
      return [{ host: at.address, port: at.port, transport: 'udp', username, password, channels }]
    })
    const chosen = isWanted() ? servers.slice(0, MAX_FRIENDS) : []
    const used = JSON.stringify(chosen)
    if (used === this.#used) return
    this.#used = used
    use(chosen)
  }

  #isTrusted(peer: PeerId): boolean {
    return this.#options.book.get(peer).trust === 'trusted'
  }
}

/** Throws `peer.oversized` or `peer.malformed`. */
function decodeOffer(bytes: Uint8Array): RelayCredentials {
  if (bytes.length > MAX_MESSAGE) throw new PartylineError('peer.oversized', `${bytes.length} bytes from a friend`)
  try {
    return offer.parse(
      decode(bytes, { maxStrLength: 512, maxArrayLength: 0, maxMapLength: 4, maxBinLength: 0, maxExtLength: 0 }),
    )
  } catch (error) {
    throw new PartylineError('peer.malformed', 'no offer of a relay', { cause: error })
  }
}
