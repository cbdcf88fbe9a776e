import { beforeEach, expect, test } from 'vitest'
import type { PeerId } from '../../daemon/types.ts'
import { type Contact, Contacts, contactId } from '../../daemon/xmpp/contacts.ts'
import { PlainChat } from '../../daemon/xmpp/plain-chat.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { FakeRoster } from './lan-host.ts'

const PRESENCE = { show: 'available', text: '' } as const
const [ALICE, BOB] = [contactId('alice@h1'), contactId('bob@hub-x.local')]

let said: string[]
let roster: FakeRoster
let contacts: Contacts
let chat: PlainChat

beforeEach(() => {
  said = []
  roster = new FakeRoster('me@h0')
  contacts = new Contacts(new VirtualClock())
  const seen = (id: Contact['id'], method: 'xmpp' | 'hub') =>
    contacts.set({
      id,
      name: id,
      presence: PRESENCE,
      sightings: [{ method, interface: 'lo', address: '::1', port: 1 }],
    })
  seen(ALICE, 'xmpp')
  seen(BOB, 'hub')
  chat = new PlainChat({
    contacts,
    roster,
    hubs: { sendChat: async (contact, text) => void said.push(`hub ${contact} ${text}`) },
    lan: {
      sendChat: async (instance, text) => void said.push(`lan ${instance} ${text}`),
      sendChatState: (instance, composing) => void said.push(`lan ${instance} ${composing}`),
    },
  })
})

test('goes over the LAN or through the hub, as the contact was seen', async () => {
  expect([await chat.send(ALICE, 'a'), await chat.send(BOB, 'b')]).toEqual(['lan', 'hub'])
  chat.composing(ALICE, true)
  chat.composing(BOB, true)
  expect(said).toEqual(['lan alice@h1 a', `hub ${BOB} b`, 'lan alice@h1 true'])
})

test('is not sent in the clear to a host, which would not take it', async () => {
  const peer = 'a'.repeat(52) as PeerId
  roster.instances.set('alice@h1', { instance: 'alice@h1', peer, name: 'alice', presence: PRESENCE, addresses: [] })
  await expect(chat.send(ALICE, 'secret')).rejects.toMatchObject({ code: 'usage.invalid-argument' })
  expect(said).toEqual([])
})

test('has no way where XMPP on the LAN is switched off', async () => {
  const off = new PlainChat({ contacts, hubs: { sendChat: async () => {} } })
  await expect(off.send(ALICE, 'a')).rejects.toMatchObject({ code: 'network.unreachable' })
  off.composing(ALICE, true)
  expect(await off.send(BOB, 'b')).toBe('hub')
})
