import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { Lab, labMissing } from '../lab/lab.ts'
import { Guest } from './party.ts'

const missing = labMissing()
/** Hosts that both homes can dial: one on the internet, and one whose router forwards all to it. */
const FRIENDS = { pub: '10.99.0.20', c1: '10.99.0.3' } as const
const PATIENCE = 15_000

/** Looks until it is as wanted. */
async function until<T>(look: () => Promise<T>, wanted: (found: T) => boolean): Promise<T> {
  for (const end = performance.now() + PATIENCE; ; await sleep(100)) {
    const found = await look()
    if (wanted(found)) return found
    if (performance.now() > end) throw new Error(`still: ${JSON.stringify(found)}`)
  }
}

/** Two guests behind NATs who trust each other and know no server, and a friend of both whom both reach. */
async function party(
  lab: Lab,
  settings: Record<string, boolean> = {},
  at: keyof typeof FRIENDS = 'pub',
  areStrangers = false,
): Promise<{ a: Guest; b: Guest; friend: Guest }> {
  // They find it before it knows them.
  const friend = await Guest.join(lab, at, [], { settings: { 'policy.internet': 'open', ...settings } })
  const options = { settings: { 'discovery.hints': [`${FRIENDS[at]}:47800`] } }
  const [a, b] = await Promise.all([Guest.join(lab, 'a1', [], options), Guest.join(lab, 'b1', [], options)])
  await Promise.all([a.untilSees(friend.id), b.untilSees(friend.id)])
  const trust = (one: Guest, ...others: readonly Guest[]) =>
    Promise.all(others.map((other) => one.client.call('peers.trust', { peer: other.id })))
  await Promise.all([trust(a, friend), trust(b, friend)])
  if (!areStrangers) await Promise.all([trust(a, b), trust(b, a)])
  await Promise.all([a, b].map((one) => friend.client.call('peers.trust', { peer: one.id }).catch(() => {})))
  await Promise.all([a, b].map((one) => one.client.call('sessions.open', { peer: friend.id })))
  await trust(friend, a, b)
  return { a, b, friend }
}

const reachedBy = (guest: Guest) => async () =>
  (await guest.client.call('friends.list', {})).flatMap(({ reaches }) => reaches)

describe.skipIf(missing)(`a friend of two hosts${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('brings them together through their NATs, without any server, and shows what it carried', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'eim' })
    const { a, b, friend } = await party(lab)
    await until(reachedBy(a), (peers) => peers.includes(b.id))
    const session = await a.client.call('sessions.open', { peer: b.id })
    expect(session.route).toBe('punched')
    await a.client.call('chat.send', { peer: b.id, text: 'found you' })
    await b.hears('found you')
    const carried = (await friend.client.call('friends.list', {})).map((one) => one.carried.signals)
    expect(Math.min(...carried)).toBeGreaterThan(0)
  })

  test.each(['pub', 'c1'] as const)(
    'relays between them where no hole can be punched, from %s, and shows how much',
    async (at) => {
      await using lab = await Lab.up('nat-pair', { a: 'sym', b: 'sym', c: 'dmz' })
      const { a, b, friend } = await party(lab, {}, at)
      await until(reachedBy(a), (peers) => peers.includes(b.id))
      const session = await a.client.call('sessions.open', { peer: b.id })
      expect(session.route).toBe('friend-relay')
      await a.client.call('chat.send', { peer: b.id, text: 'by way of a friend' })
      await b.hears('by way of a friend')
      const routes = (await b.client.call('sessions.list', {})).map(({ peer, route }) => [peer, route])
      expect(routes).toContainEqual([a.id, 'friend-relay'])
      const { peers } = await friend.client.call('relay.status', {})
      expect(new Set(peers.map(({ peer }) => peer))).toEqual(new Set([a.id, b.id]))
      for (const { sent, received } of peers) expect(Math.min(sent.bytes, received.bytes)).toBeGreaterThan(0)
    },
  )

  test('ends what it relays for a host as soon as that is blocked', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'sym', b: 'sym' })
    const { a, b, friend } = await party(lab)
    await until(reachedBy(a), (peers) => peers.includes(b.id))
    expect((await a.client.call('sessions.open', { peer: b.id })).route).toBe('friend-relay')
    await friend.client.call('peers.block', { peer: a.id })
    const relayed = async () =>
      (await friend.client.call('relay.status', {})).peers
        .filter(({ allocations }) => allocations > 0)
        .map(({ peer }) => peer)
    await until(relayed, (peers) => !peers.includes(a.id))
  })

  test('introduces two who do not know each other, and brings them together once both of their owners say so', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'eim' })
    const { a, b, friend } = await party(lab, {}, 'pub', true)
    await friend.json(['introduce', a.id, b.id])
    for (const [one, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const asking = () => one.client.call('requests.list', {})
      await until(asking, (requests) => requests.some(({ peer, by }) => peer === other.id && by === friend.id))
      expect(await reachedBy(one)()).toEqual([])
      await one.json(['requests', 'accept', other.id, '--trust'])
    }
    await until(reachedBy(a), (peers) => peers.includes(b.id))
    expect((await a.client.call('sessions.open', { peer: b.id })).route).toBe('punched')
  })

  test('carries nothing where its owner does not want that', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'eim' })
    const { a, b } = await party(lab, { 'friends.signals': false, 'relay.friends': false })
    expect(await reachedBy(a)()).toEqual([])
    await expect(a.client.call('sessions.open', { peer: b.id })).rejects.toMatchObject({ code: 'peer.not-found' })
  })
})
