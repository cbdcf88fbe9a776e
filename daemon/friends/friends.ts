import type { Clock } from '../clock.ts'
import { PartylineError } from '../errors.ts'
import { cleanName } from '../identity/host-name.ts'
import type { Logger } from '../logger.ts'
import type { PeerBook } from '../peers/peer-book.ts'
import type { Refusals } from '../refusals.ts'
import type { MessageService } from '../services/messages.ts'
import type { Signaller } from '../signaling/signaller.ts'
import { TokenBuckets } from '../token-bucket.ts'
import type { PeerId } from '../types.ts'
import { decodeFriendMessage, encodeFriendMessage, type FriendMessage, MAX_WISHES } from './friend-message.ts'
import { FriendSignaller } from './friend-signaller.ts'
import { pairToken } from './pair-token.ts'
import { Switchboard } from './switchboard.ts'

const CHANNEL = 'partyline.friend'
/** Introductions that one friend may make: each asks the owner something. */
const INTRODUCTIONS = { rate: 1 / 60, burst: 8, keys: 256 }

/** Somebody whom a friend vouches for. */
export interface Introduction {
  readonly by: PeerId
  readonly peer: PeerId
  readonly name: string
}

/** What the socket tells of a trusted peer in a session. */
interface FriendView {
  readonly peer: PeerId
  readonly name: string
  /** Peers that it carries our signals to, now. */
  readonly reaches: readonly PeerId[]
  /** What was carried for it. */
  readonly carried: { readonly signals: number; readonly bytes: number }
}

interface FriendsOptions {
  readonly self: PeerId
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly messages: MessageService
  readonly book: PeerBook
  /** Peers with a session that has a link. */
  readonly sessions: () => readonly PeerId[]
  /** The owner wants friends to carry signals, and this host to carry theirs. */
  readonly isWanted: () => boolean
  /** Signals may be carried for a trusted peer. */
  readonly mayCarry: (peer: PeerId) => boolean
  /** A friend reaches others than before for us. */
  readonly onReach: () => void
  /** A friend introduces somebody. */
  readonly onIntroduction: (introduction: Introduction) => void
}

/** Trusted peers as a network of their own: they carry signals to each other, and introduce each other. */
export class Friends {
  readonly #options: FriendsOptions
  readonly #signaller: FriendSignaller
  readonly #switchboard: Switchboard
  readonly #introductions = new TokenBuckets(INTRODUCTIONS)
  /** What each was told last of the pairs that we are in. */
  readonly #wished = new Map<PeerId, string>()

  constructor(options: FriendsOptions) {
    const { self, refusals, messages } = options
    this.#options = options
    const tell = (peer: PeerId, message: FriendMessage): void => this.#tell(peer, message)
    this.#signaller = new FriendSignaller({ self, tell })
    this.#switchboard = new Switchboard({
      refusals,
      tell,
      mayCarry: (peer) => this.#isFriend(peer) && options.isWanted() && options.mayCarry(peer),
    })
    messages.handle(CHANNEL, (peer, bytes) => this.#receive(peer, bytes))
  }

  get signaller(): Signaller {
    return this.#signaller
  }

  /** Friends that reach a peer now. */
  friendsTo(peer: PeerId): readonly PeerId[] {
    return this.#signaller.friendsTo(peer)
  }

  /** A session has a link, lost it, or is no more; somebody's trust is another; a setting changed. */
  changed(): void {
    const { sessions, isWanted } = this.#options
    const open = new Set(sessions().filter((peer) => this.#isFriend(peer)))
    for (const peer of [...this.#wished.keys()]) if (!open.has(peer)) this.#left(peer)
    this.#switchboard.review()
    if (open.size === 0) return
    const tokens = isWanted() ? this.#pairs() : []
    const told = tokens.join()
    for (const peer of open) {
      if (this.#wished.get(peer) === told) continue
      this.#wished.set(peer, told)
      this.#tell(peer, { kind: 'wishes', tokens, ask: !this.#switchboard.knows(peer) })
    }
  }

  list(): FriendView[] {
    const { sessions, book } = this.#options
    const carried = this.#switchboard.carried()
    const trusted = book.trusted()
    return sessions()
      .filter((peer) => this.#isFriend(peer))
      .map((peer) => ({
        peer,
        name: book.get(peer).petname || book.get(peer).name,
        reaches: trusted.filter((id) => this.friendsTo(id).includes(peer)),
        carried: carried.get(peer) ?? { signals: 0, bytes: 0 },
      }))
  }

  /** Tells two trusted peers of each other. Throws `policy.not-trusted` or `network.no-session`. */
  introduce(one: PeerId, other: PeerId): void {
    const { book, sessions } = this.#options
    if (one === other)
      throw new PartylineError('usage.invalid-argument', 'two different peers are introduced to each other')
    for (const peer of [one, other]) {
      const { name, petname } = book.get(peer)
      if (!this.#isFriend(peer))
        throw new PartylineError('policy.not-trusted', `${petname || name} is not trusted here`)
      if (!sessions().includes(peer))
        throw new PartylineError('network.no-session', `there is no session with ${petname || name}`)
    }
    for (const [to, about] of [
      [one, other],
      [other, one],
    ] as const)
      this.#tell(to, { kind: 'introduce', peer: about, name: book.get(about).name })
  }

  #receive(peer: PeerId, bytes: Uint8Array): void {
    const { refusals, clock, logger } = this.#options
    if (!this.#isFriend(peer)) {
      refusals.count('policy.refused')
      throw new PartylineError('policy.refused')
    }
    const message = decodeFriendMessage(bytes)
    switch (message.kind) {
      case 'wishes':
        this.#switchboard.wish(peer, message.tokens)
        // It may have refused ours, or forgotten them, while it did not trust this host.
        if (message.ask) this.#wished.delete(peer)
        return this.changed()
      case 'reaches':
        this.#signaller.learn(peer, message.tokens)
        return this.#options.onReach()
      case 'carry':
        return this.#switchboard.carry(peer, message.token, message.sealed, clock.now())
      case 'carried':
        if (this.#options.isWanted()) this.#signaller.take(message.sealed)
        return
      case 'introduce':
        logger.debug('an introduction', { by: peer, peer: message.peer })
        return this.#introduced(peer, message)
    }
  }

  #introduced(by: PeerId, { peer, name }: Extract<FriendMessage, { kind: 'introduce' }>): void {
    const { self, book, refusals, clock, isWanted, onIntroduction } = this.#options
    if (peer === self || !isWanted() || book.get(peer).trust !== 'unknown') return
    if (!this.#introductions.take(by, clock.now())) return refusals.count('peer.rate-limited')
    onIntroduction({ by, peer, name: cleanName(name) })
  }

  /** All pairs of this host with those it trusts. */
  #pairs(): string[] {
    const { self, book } = this.#options
    return book
      .trusted()
      .slice(0, MAX_WISHES)
      .map((peer) => pairToken(self, peer))
      .sort()
  }

  #left(peer: PeerId): void {
    this.#wished.delete(peer)
    this.#signaller.forget(peer)
    this.#switchboard.leave(peer)
  }

  #isFriend(peer: PeerId): boolean {
    return this.#options.book.get(peer).trust === 'trusted'
  }

  /** Best effort, and only where there is a session with a link: nothing here is worth opening one. */
  #tell(peer: PeerId, message: FriendMessage): void {
    const { messages, sessions } = this.#options
    if (!sessions().includes(peer)) return
    messages.send(peer, CHANNEL, encodeFriendMessage(message), { nodelay: true }).catch(() => {
      if (message.kind === 'wishes') this.#wished.delete(peer)
    })
  }
}
