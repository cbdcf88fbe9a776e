import type { PeerView } from '../../ipc/methods.ts'
import { PartylineError } from '../errors.ts'
import { isPeerId } from '../identity/peer-id.ts'
import type { ContactId, PeerId } from '../types.ts'
import { type Contact, type Contacts, isContactId } from '../xmpp/contacts.ts'
import type { PeerBook } from './peer-book.ts'

/** Everyone there is: hosts, which the peer book knows, and people with plain XMPP clients. */
export class People {
  readonly #book: PeerBook
  readonly #contacts: Contacts

  constructor(book: PeerBook, contacts: Contacts) {
    this.#book = book
    this.#contacts = contacts
  }

  list(): PeerView[] {
    return [...this.#book.list(), ...this.#contacts.list()]
  }

  view(id: PeerId | ContactId): PeerView {
    return isContactId(id) ? this.#contacts.view(id) : this.#book.get(id)
  }

  /** The host meant. Throws `peer.not-found`, `usage.ambiguous-peer`, or `peer.chat-only` for a plain XMPP client. */
  host(text: string): PeerId {
    const id = this.anyone(text)
    if (!isContactId(id)) return id
    throw new PartylineError(
      'peer.chat-only',
      `${this.#contacts.view(id).name} uses a plain XMPP client, which can chat and nothing else`,
    )
  }

  /**
   * The host or plain XMPP client meant by a petname, name, id, prefix or address. An id is never somebody's name or address: else anybody
   * could call himself so. Throws `peer.not-found` or `usage.ambiguous-peer`.
   */
  anyone(text: string): PeerId | ContactId {
    // Of one who has left, the lines can still be read.
    if (isPeerId(text) || isContactId(text)) return text
    const [contact, another] = this.#contacts.find(text)
    if (!contact) return this.#book.resolve(text)
    const peer = this.#peer(text)
    if (peer && this.#book.get(peer).petname === text) return peer
    if (!peer && !another) return contact.id
    const others = [contact, another].filter((one): one is Contact => one !== undefined).map(({ id }) => id)
    throw new PartylineError(
      'usage.ambiguous-peer',
      `"${text}" may be ${[...others, ...(peer ? [peer.slice(0, 12)] : [])].join(', ')}`,
    )
  }

  #peer(text: string): PeerId | undefined {
    try {
      return this.#book.resolve(text)
    } catch (error) {
      if (error instanceof PartylineError && error.code === 'peer.not-found') return undefined
      throw error
    }
  }
}
