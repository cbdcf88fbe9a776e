import type { PeerView } from '../../ipc/methods.ts'
import type { Clock } from '../clock.ts'
import type { ContactId, HostPort, Milliseconds, Presence } from '../types.ts'

/** Most contacts; who comes when there are as many is not listed. */
export const MAX_CONTACTS = 5000

/** Where a contact was seen. */
interface ContactSighting extends HostPort {
  /** `xmpp`: on the LAN. `hub`: logged in at a hub, whose address this is. */
  readonly method: 'xmpp' | 'hub'
  readonly interface: string
}

/** Somebody with a plain XMPP client: chat only, no key proves who it is. */
export interface Contact {
  readonly id: ContactId
  /** The name it gives itself, cleaned of control characters. */
  readonly name: string
  readonly presence: Presence
  readonly sightings: readonly ContactSighting[]
}

type ChangeListener = (contact: Contact, change: 'changed' | 'gone') => void

/** The plain XMPP clients that are there now, on the LAN and at hubs. Nothing of them is kept. */
export class Contacts {
  readonly #clock: Clock
  readonly #contacts = new Map<ContactId, { contact: Contact; at: Milliseconds }>()
  readonly #listeners = new Set<ChangeListener>()

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** Lists a contact, or what is new about it. */
  set(contact: Contact): void {
    const before = this.#contacts.get(contact.id)
    if (!before && this.#contacts.size >= MAX_CONTACTS) return
    this.#contacts.set(contact.id, { contact, at: this.#clock.now() })
    if (before && JSON.stringify(before.contact) === JSON.stringify(contact)) return
    for (const listener of this.#listeners) listener(contact, 'changed')
  }

  remove(id: ContactId): void {
    const known = this.#contacts.get(id)
    if (!known) return
    this.#contacts.delete(id)
    for (const listener of this.#listeners) listener(known.contact, 'gone')
  }

  get(id: ContactId): Contact | undefined {
    return this.#contacts.get(id)?.contact
  }

  onChange(listener: ChangeListener): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** The contacts meant by an address or a name. */
  find(text: string): Contact[] {
    const exact = this.get(contactId(text))
    if (exact) return [exact]
    return [...this.#contacts.values()].flatMap(({ contact }) => (contact.name === text ? [contact] : []))
  }

  /** One contact, whether it is there or not. */
  view(id: ContactId): PeerView {
    const known = this.#contacts.get(id)
    return viewOf(
      known?.contact ?? { id, name: addressOf(id), presence: { show: 'available', text: '' }, sightings: [] },
      {
        age: this.#clock.now() - (known?.at ?? this.#clock.now()),
      },
    )
  }

  list(): PeerView[] {
    return [...this.#contacts.keys()].map((id) => this.view(id))
  }
}

/** The id of an XMPP address. */
export function contactId(address: string): ContactId {
  return `xmpp:${address}` as ContactId
}

/** The XMPP address of a contact. */
export function addressOf(id: ContactId): string {
  return id.slice('xmpp:'.length)
}

/** True for the id of a contact rather than of a peer. */
export function isContactId(id: string): id is ContactId {
  return id.startsWith('xmpp:')
}

function viewOf(contact: Contact, { age }: { age: Milliseconds }): PeerView {
  return {
    id: contact.id,
    kind: 'chat',
    name: contact.name,
    petname: '',
    trust: 'unknown',
    state: contact.sightings.length > 0 ? 'seen' : 'away',
    proven: false,
    presence: { ...contact.presence },
    note: 'A plain XMPP client: chat only, and no key proves who it is.',
    sightings: contact.sightings.map((sighting) => ({ ...sighting, age: Math.max(0, Math.round(age)) })),
    route: null,
    rtt: null,
  }
}
