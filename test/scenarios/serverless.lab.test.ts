import { describe, expect, test } from 'vitest'
import type { ChatLine, PeerView } from '../../ipc/methods.ts'
import { type Buddy, FINCH_NEEDS, Finch } from '../lab/finch.ts'
import { Lab, type LabOptions, labMissing } from '../lab/lab.ts'
import { allSeeAll, Guest } from './party.ts'

const missing = labMissing(FINCH_NEEDS)

/** Finch's entries for a guest. */
const entriesOf = (guest: Guest, buddies: readonly Buddy[]): readonly Buddy[] =>
  buddies.filter((buddy) => buddy.online && buddy.alias === guest.host)

/** Resolves to Finch's one entry for a guest, once it is as wanted. */
async function seenByFinch(finch: Finch, guest: Guest, condition = (_: Buddy) => true): Promise<Buddy> {
  const buddies = await finch.until(`${guest.host} is as wanted`, (all) => entriesOf(guest, all).some(condition))
  const [entry, another] = entriesOf(guest, buddies)
  expect(another).toBeUndefined()
  if (!entry) throw new Error('unreachable: the list had it')
  return entry
}

async function measured<T>(what: string, task: Promise<T>): Promise<T> {
  const start = performance.now()
  const result = await task
  console.info(`${what}: ${Math.round(performance.now() - start)} ms`)
  return result
}

/** A line each way between Finch and a guest, with what other alphabets and XML make difficult. */
async function chatBothWays(finch: Finch, guest: Guest): Promise<void> {
  const { name } = await seenByFinch(finch, guest)
  const contact = await guest.untilContact(finch.name)
  const greeting = `Grüße & <Küsse> von ${guest.host},\n你好 🎈`
  const sent = await guest.client.call('chat.send', { peer: contact.id, text: greeting })
  expect(sent).toMatchObject({ peer: contact.id, direction: 'out', encrypted: false, via: 'lan' })
  expect(await finch.receives(greeting)).toBe(name)
  const answer = `Zurück an ${guest.host}: ёжик & co`
  await finch.send(name, answer)
  expect(await guest.hears(answer)).toMatchObject({ peer: contact.id, encrypted: false, via: 'lan' })
}

describe.skipIf(missing)(`Finch and Partyline on one LAN${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('see each other come, be away, come back and leave, and chat both ways', async () => {
    await using lab = await Lab.up('lan', { n: 3 })
    const finch = await Finch.start(lab, 'h1', 'alice')
    const a = await Guest.join(lab, 'h2')
    await Promise.all([
      measured('Finch sees a Partyline host that is ready', seenByFinch(finch, a)),
      measured('a Partyline host that is ready sees Finch', a.untilContact(finch.name)),
    ])
    const b = await Guest.join(lab, 'h3')
    await Promise.all([seenByFinch(finch, b), b.untilContact(finch.name), allSeeAll([a, b])])

    const list = (await a.json(['peers'])) as PeerView[]
    expect(list.filter((peer) => peer.kind === 'chat')).toMatchObject([
      { id: `xmpp:${finch.name}`, kind: 'chat', state: 'seen', proven: false, trust: 'unknown', route: null },
    ])
    expect(list.filter((peer) => peer.kind === 'host').map((peer) => peer.id)).toEqual([b.id])

    await a.json(['presence', 'busy', 'beim Essen'])
    expect(await seenByFinch(finch, a, (buddy) => buddy.status === 'away')).toMatchObject({ text: 'beim Essen' })
    await b.until((peers) => peers.some((peer) => peer.id === a.id && peer.presence.text === 'beim Essen'))
    await a.json(['presence', 'available'])
    await seenByFinch(finch, a, (buddy) => buddy.status === 'available' && buddy.text === '')
    await finch.setAway('kurz weg')
    for (const guest of [a, b]) {
      const contact = await guest.untilContact(finch.name, ({ presence }) => presence.show === 'busy')
      expect(contact.presence.text).toBe('kurz weg')
    }
    await finch.setAvailable()
    for (const guest of [a, b]) await guest.untilContact(finch.name, ({ presence }) => presence.show === 'available')

    for (const guest of [a, b]) await chatBothWays(finch, guest)
    const typed = (await a.json(['chat', finch.name], 'vom Terminal: schön\n\n')) as ChatLine
    expect(typed).toMatchObject({ direction: 'out', text: 'vom Terminal: schön', encrypted: false, via: 'lan' })
    await finch.receives('vom Terminal: schön')
    expect((await a.daemon.cli(['chat', finch.name], { input: '\n' })).stdout).toContain('not encrypted')

    const between = await a.client.call('chat.send', { peer: b.id, text: 'unter uns: geheim' })
    expect(between).toMatchObject({ encrypted: true, via: 'session' })
    expect(await b.hears('unter uns: geheim')).toMatchObject({ peer: a.id, encrypted: true, via: 'session' })
    const kept = (await a.json(['rpc', 'chat.history', JSON.stringify({ peer: `xmpp:${finch.name}` })])) as ChatLine[]
    expect(kept.length).toBe(3)
    expect(kept.some((line) => line.encrypted)).toBe(false)

    await b.leave()
    await finch.until('h3 has gone', (buddies) => entriesOf(b, buddies).length === 0)
    await finch.quit()
    await a.untilNoContact(finch.name)
  }, 120_000)

  test('see each other when Finch comes last', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const a = await Guest.join(lab, 'h2')
    const finch = await Finch.start(lab, 'h1', 'alice')
    await Promise.all([
      measured('a Finch that is online sees a Partyline host', seenByFinch(finch, a)),
      measured('a Partyline host sees a Finch that is online', a.untilContact(finch.name)),
    ])
  })

  test('are one entry each where they meet on two networks', async () => {
    await using lab = await Lab.up('lan-multi')
    const finch = await Finch.start(lab, 'h1', 'alice')
    const guests = await Promise.all(['h2', 'h3', 'h4'].map((host) => Guest.join(lab, host)))
    const [both] = guests
    if (!both) throw new Error('the party is too small')
    for (const guest of guests) {
      await chatBothWays(finch, guest)
      expect(await guest.contacts()).toHaveLength(1)
    }
    const networks = (contact: PeerView) => new Set(contact.sightings.map((sighting) => sighting.interface))
    await both.untilContact(finch.name, (contact) => networks(contact).size === 2)
    expect(await both.contacts()).toHaveLength(1)
    await finch.quit()
    for (const guest of guests) await guest.untilNoContact(finch.name)
  }, 120_000)

  const networks: readonly (readonly [string, LabOptions])[] = [
    ['IPv4 only', { ip: '4' }],
    ['IPv6 only', { ip: '6' }],
    ['link-local addresses only', { zeroconf: true }],
  ]
  test.each(networks)(
    'chat both ways with %s',
    async (_, options) => {
      await using lab = await Lab.up('lan', { n: 2, ...options })
      const [finch, guest] = await Promise.all([Finch.start(lab, 'h1', 'alice'), Guest.join(lab, 'h2')])
      await chatBothWays(finch, guest)
      expect(await guest.contacts()).toHaveLength(1)
    },
    90_000,
  )
})
