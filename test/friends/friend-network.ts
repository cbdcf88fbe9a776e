import { generateKeyPairSync } from 'node:crypto'
import { Friends, type Introduction } from '../../daemon/friends/friends.ts'
import { type Identity, identityOf } from '../../daemon/identity/key.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { PeerBook } from '../../daemon/peers/peer-book.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { MessageService } from '../../daemon/services/messages.ts'
import type { PeerId } from '../../daemon/types.ts'
import type { VirtualClock } from '../virtual-clock.ts'

type Handler = (peer: PeerId, bytes: Uint8Array) => unknown

/** A host with friends, and sessions that are made of nothing but calls. */
export class FriendlyHost {
  readonly identity: Identity
  readonly refusals = new Refusals()
  readonly introduced: Introduction[] = []
  readonly sessions = new Map<PeerId, FriendlyHost>()
  readonly book: PeerBook
  readonly friends: Friends
  isWanted = true
  /** All bytes that left for each peer. */
  readonly sent: { readonly to: PeerId; readonly bytes: Uint8Array }[] = []
  #handler: Handler = () => {}

  static async make(clock: VirtualClock): Promise<FriendlyHost> {
    const identity = identityOf(generateKeyPairSync('ed25519').privateKey)
    return new FriendlyHost(clock, identity, await PeerBook.open({ self: identity.peer, clock, logger: silentLogger }))
  }

  private constructor(clock: VirtualClock, identity: Identity, book: PeerBook) {
    this.identity = identity
    this.book = book
    this.friends = new Friends({
      self: this.peer,
      clock,
      logger: silentLogger,
      refusals: this.refusals,
      messages: {
        handle: (_: string, handler: Handler) => {
          this.#handler = handler
        },
        send: async (peer: PeerId, _: string, bytes: Uint8Array) => {
          this.sent.push({ to: peer, bytes })
          await this.sessions.get(peer)?.arrive(this.peer, bytes)
        },
      } as unknown as MessageService,
      book,
      sessions: () => [...this.sessions.keys()],
      isWanted: () => this.isWanted,
      mayCarry: () => true,
      onReach: () => {},
      onIntroduction: (introduction) => void this.introduced.push(introduction),
    })
  }

  get peer(): PeerId {
    return this.identity.peer
  }

  async arrive(from: PeerId, bytes: Uint8Array): Promise<void> {
    await this.#handler(from, bytes)
  }

  async trust(...others: readonly FriendlyHost[]): Promise<void> {
    for (const { peer } of others) await this.book.setTrust(peer, 'trusted')
    this.friends.changed()
  }

  meet(other: FriendlyHost): void {
    this.sessions.set(other.peer, other)
    other.sessions.set(this.peer, this)
    for (const one of [this, other]) one.friends.changed()
  }

  part(other: FriendlyHost): void {
    this.sessions.delete(other.peer)
    other.sessions.delete(this.peer)
    for (const one of [this, other]) one.friends.changed()
  }
}

/** Lets what was sent arrive, and what that made others send. */
export const settle = async (): Promise<void> => {
  for (let i = 0; i < 20; i++) await new Promise((resolve) => setImmediate(resolve))
}
