import type { Signaller } from '../signaling/signaller.ts'
import type { PeerId } from '../types.ts'
import type { FriendMessage } from './friend-message.ts'
import { pairToken } from './pair-token.ts'

/** Friends that one signal is given to: one would do, and any may vanish. */
const MAX_COPIES = 2

interface FriendSignallerOptions {
  readonly self: PeerId
  /** Tells a friend in the session there is. */
  readonly tell: (friend: PeerId, message: FriendMessage) => void
}

/** Has friends carry signals to those whom they reach. */
export class FriendSignaller implements Signaller {
  readonly name = 'friend'
  readonly #options: FriendSignallerOptions
  readonly #listeners = new Set<{ readonly listener: (sealed: Uint8Array) => void }>()
  /** The pairs that each friend completes. */
  readonly #reached = new Map<PeerId, ReadonlySet<string>>()

  constructor(options: FriendSignallerOptions) {
    this.#options = options
  }

  reaches(peer: PeerId): boolean {
    return this.friendsTo(peer).length > 0
  }

  /** Friends that reach a peer now. */
  friendsTo(peer: PeerId): readonly PeerId[] {
    const token = pairToken(this.#options.self, peer)
    return [...this.#reached].flatMap(([friend, tokens]) => (friend !== peer && tokens.has(token) ? [friend] : []))
  }

  send(peer: PeerId, sealed: Uint8Array): void {
    const token = pairToken(this.#options.self, peer)
    for (const friend of this.friendsTo(peer).slice(0, MAX_COPIES))
      this.#options.tell(friend, { kind: 'carry', token, sealed })
  }

  onSignal(listener: (sealed: Uint8Array) => void): () => void {
    const entry = { listener }
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }

  /** A friend brought a signal. */
  take(sealed: Uint8Array): void {
    for (const { listener } of [...this.#listeners]) listener(sealed)
  }

  /** A friend says which pairs it completes, of those that it was told. */
  learn(friend: PeerId, tokens: readonly string[]): void {
    this.#reached.set(friend, new Set(tokens))
  }

  /** A friend carries nothing any more. */
  forget(friend: PeerId): void {
    this.#reached.delete(friend)
  }
}
