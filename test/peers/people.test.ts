import { createHash } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { peerIdFromKey } from '../../daemon/identity/peer-id.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { PeerBook } from '../../daemon/peers/peer-book.ts'
import { People } from '../../daemon/peers/people.ts'
import type { PeerId } from '../../daemon/types.ts'
import { type Contact, Contacts, contactId, MAX_CONTACTS } from '../../daemon/xmpp/contacts.ts'
import { VirtualClock } from '../virtual-clock.ts'

const id = (n: number): PeerId => peerIdFromKey(createHash('sha256').update(`peer ${n}`).digest())

const SEEN = { method: 'beacon', interface: 'eth0', address: '192.168.50.2', port: 47800, proven: true } as const

const contact = (address: string, change: Partial<Contact> = {}): Contact => ({
  id: contactId(address),
  name: address.split('@')[0] ?? address,
  presence: { show: 'available', text: '' },
  sightings: [{ method: 'xmpp', interface: 'eth0', address: '192.168.50.9', port: 5298 }],
  ...change,
})

let clock: VirtualClock
let book: PeerBook
let contacts: Contacts
let people: People

beforeEach(async () => {
  clock = new VirtualClock()
  book = await PeerBook.open({ self: id(0), clock, logger: silentLogger })
  contacts = new Contacts(clock)
  people = new People(book, contacts)
  book.seen({ ...SEEN, peer: id(1), name: 'anna' })
})

const codeOf = (task: () => unknown): string => {
  try {
    task()
  } catch (error) {
    return error instanceof PartylineError ? error.code : String(error)
  }
  return 'none'
}

describe('people', () => {
  test('are hosts and plain XMPP clients, each as what they are', () => {
    contacts.set(contact('ben@h2', { presence: { show: 'busy', text: 'no time' } }))
    clock.advance(300)
    expect(people.list()).toMatchObject([
      { id: id(1), kind: 'host', proven: true },
      {
        id: 'xmpp:ben@h2',
        kind: 'chat',
        name: 'ben',
        state: 'seen',
        proven: false,
        presence: { show: 'busy', text: 'no time' },
        sightings: [{ method: 'xmpp', address: '192.168.50.9', age: 300 }],
        route: null,
      },
    ])
  })

  test('are meant by name, address or id', () => {
    contacts.set(contact('ben@h2'))
    for (const text of ['ben', 'ben@h2', 'xmpp:ben@h2']) expect(people.anyone(text)).toBe('xmpp:ben@h2')
    expect(people.anyone('anna')).toBe(id(1))
    expect(people.host('anna')).toBe(id(1))
    expect(codeOf(() => people.host('ben'))).toBe('peer.chat-only')
    expect(codeOf(() => people.anyone('carl'))).toBe('peer.not-found')
    expect(people.anyone('xmpp:carl@h3')).toBe('xmpp:carl@h3')
  })

  test('of one name are ambiguous, unless the user named one of them', async () => {
    contacts.set(contact('anna@h2'))
    expect(codeOf(() => people.anyone('anna'))).toBe('usage.ambiguous-peer')
    expect(people.anyone('anna@h2')).toBe('xmpp:anna@h2')
    await book.setPetname(id(1), 'anna')
    expect(people.anyone('anna')).toBe(id(1))
    contacts.set(contact('ben@h2'))
    contacts.set(contact('ben@h3'))
    expect(codeOf(() => people.anyone('ben'))).toBe('usage.ambiguous-peer')
  })

  test('are not deceived by somebody whose name or address is the id of another', async () => {
    contacts.set(contact('ben@h2'))
    contacts.set(contact(id(1)))
    contacts.set(contact('eve@h3', { name: id(1) }))
    contacts.set(contact('xmpp:ben@h2'))
    contacts.set(contact('mallory@h3', { name: 'xmpp:ben@h2' }))
    book.seen({ ...SEEN, peer: id(2), name: 'xmpp:ben@h2' })
    expect(people.anyone(id(1))).toBe(id(1))
    expect(people.host(id(1))).toBe(id(1))
    expect(people.anyone('xmpp:ben@h2')).toBe('xmpp:ben@h2')
    contacts.remove(contactId('ben@h2'))
    expect(people.anyone('xmpp:ben@h2')).toBe('xmpp:ben@h2')
    await expect(book.setPetname(id(1), 'xmpp:ben@h2')).rejects.toMatchObject({ code: 'usage.invalid-argument' })
  })
})

describe('contacts', () => {
  test('tell what is new about them, once', () => {
    const told: string[] = []
    const stop = contacts.onChange(({ name }, change) => void told.push(`${change} ${name}`))
    contacts.set(contact('ben@h2'))
    contacts.set(contact('ben@h2'))
    contacts.set(contact('ben@h2', { presence: { show: 'away', text: '' } }))
    contacts.remove(contactId('ben@h2'))
    contacts.remove(contactId('ben@h2'))
    stop()
    contacts.set(contact('ben@h2'))
    expect(told).toEqual(['changed ben', 'changed ben', 'gone ben'])
  })

  test(`are at most ${MAX_CONTACTS}; those that are there stay`, () => {
    for (let i = 0; i < MAX_CONTACTS + 10; i++) contacts.set(contact(`p${i}@h`))
    expect(contacts.list()).toHaveLength(MAX_CONTACTS)
    expect(contacts.get(contactId('p0@h'))).toBeDefined()
    contacts.remove(contactId('p0@h'))
    contacts.set(contact('late@h'))
    expect(contacts.get(contactId('late@h'))).toBeDefined()
  })

  test('that have left can still be shown', () => {
    expect(contacts.view(contactId('ben@h2'))).toMatchObject({ name: 'ben@h2', state: 'away', sightings: [] })
  })
})
