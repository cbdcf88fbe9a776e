import type { MessageService } from '../services/messages.ts'
import type { PeerId } from '../types.ts'
import type { Signaller } from './signaller.ts'

const CHANNEL = 'partyline.signal'

/** Carries signals over the session there is with a peer: what two hosts that talk have to agree on needs nobody else. */
export class SessionSignaller implements Signaller {
  readonly name = 'session'
  readonly #messages: MessageService
  readonly #isOpen: (peer: PeerId) => boolean
  readonly #listeners = new Set<(sealed: Uint8Array) => void>()

  /** `isOpen`: there is a session with the peer, and it has a link. */
  constructor(messages: MessageService, isOpen: (peer: PeerId) => boolean) {
    this.#messages = messages
    this.#isOpen = isOpen
    messages.handle(CHANNEL, (_, sealed) => {
      for (const listener of this.#listeners) listener(sealed)
    })
  }

  reaches(peer: PeerId): boolean {
    return this.#isOpen(peer)
  }

  send(peer: PeerId, sealed: Uint8Array): void {
    // Best effort: what a session loses is told again by whoever needs it.
    if (this.#isOpen(peer)) this.#messages.send(peer, CHANNEL, sealed, { nodelay: true }).catch(() => {})
  }

  onSignal(listener: (sealed: Uint8Array) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }
}
