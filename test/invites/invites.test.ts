import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { formatHubTicket } from '../../daemon/hub/ticket.ts'
import { encodeJoin } from '../../daemon/invites/join-message.ts'
import { MAX_OFFERS } from '../../daemon/invites/offers.ts'
import { proofOf } from '../../daemon/invites/proof.ts'
import { parseTicket } from '../../daemon/invites/ticket.ts'
import { NO_WAYS } from '../../daemon/peers/ways.ts'
import { seeded } from '../datagram/random.ts'
import { type InviteHost, InviteNetwork } from './invite-network.ts'

const SEEDS = Array.from({ length: 40 }, (_, n) => n + 1)
const WAYS = { accounts: ['anna@example.org'], hubs: [], addresses: [{ address: '203.0.113.7', port: 47_800 }] }
const HUB = formatHubTicket({
  peer: 'b'.repeat(51).concat('a') as never,
  addresses: [{ address: '203.0.113.9', port: 5223 }],
  name: 'lan',
})

async function usesOf(host: InviteHost): Promise<readonly string[]> {
  return host.invites.list().flatMap(({ joined }) => joined)
}

describe('joining', () => {
  test('ends with two hosts that trust, know and name each other', async () => {
    const network = new InviteNetwork()
    const anna = await network.host('anna', { ways: WAYS })
    const ben = await network.host('ben', { ways: { ...WAYS, accounts: ['ben@example.org'] } })
    const { ticket, id, outside } = await anna.invite()
    expect(outside).toBe(true)
    expect(await ben.join(ticket)).toBe('joined')
    expect(ben.book.get(anna.peer)).toMatchObject({ trust: 'trusted', name: 'anna', petname: 'anna' })
    expect(anna.book.get(ben.peer)).toMatchObject({ trust: 'trusted', name: 'ben', petname: 'ben' })
    expect(ben.book.ways(anna.peer)).toEqual(WAYS)
    expect(anna.book.ways(ben.peer).accounts).toEqual(['ben@example.org'])
    expect(anna.events).toEqual([
      { name: 'invites.changed', params: {} },
      { name: 'invites.joined', params: { id, peer: ben.peer, name: 'ben' } },
      { name: 'invites.changed', params: {} },
    ])
    expect(ben.events).toEqual([{ name: 'invites.joined', params: { id, peer: anna.peer, name: 'anna' } }])
  })

  test.each(SEEDS)('works while signals are lost, doubled and reordered, and takes one use (seed %i)', async (seed) => {
    const network = new InviteNetwork(seeded(seed), { loss: 0.5, doubles: 0.4, delay: 3000 })
    const [anna, ben] = [await network.host('anna'), await network.host('ben')]
    const { ticket } = await anna.invite({ uses: 2 })
    expect(await ben.join(ticket, { timeout: 120_000 })).toBe('joined')
    await network.pass(5000)
    expect([anna.trusts(ben), ben.trusts(anna)]).toEqual([true, true])
    expect(await usesOf(anna)).toEqual([ben.peer])
    expect(anna.events.filter(({ name }) => name === 'invites.joined')).toHaveLength(1)
  })

  test.each(SEEDS)('of two who race for one use exactly one wins (seed %i)', async (seed) => {
    const network = new InviteNetwork(seeded(seed), { loss: 0.3, doubles: 0.3, delay: 1000 })
    const hosts = await Promise.all(['anna', 'ben', 'carol'].map((name) => network.host(name)))
    const [anna, ben, carol] = hosts as [InviteHost, InviteHost, InviteHost]
    const { ticket } = await anna.invite()
    const ended = Promise.all([ben, carol].map((one) => one.join(ticket, { timeout: 120_000 })))
    const outcomes = await network.settled(ended, 200_000)
    expect(outcomes.toSorted()).toEqual(['joined', 'policy.ticket-used'])
    const winner = outcomes[0] === 'joined' ? ben : carol
    expect(await usesOf(anna)).toEqual([winner.peer])
    expect([ben, carol].map((one) => anna.trusts(one))).toEqual([winner === ben, winner === carol])
    expect([ben, carol].map((one) => one.trusts(anna))).toEqual([winner === ben, winner === carol])
  })

  test('again with the same ticket costs nothing, and does not undo what the owner decided since', async () => {
    const network = new InviteNetwork()
    const [anna, ben] = [await network.host('anna'), await network.host('ben')]
    const { ticket } = await anna.invite({ uses: 3 })
    expect([await ben.join(ticket), await ben.join(ticket)]).toEqual(['joined', 'joined'])
    expect(await usesOf(anna)).toEqual([ben.peer])
    await anna.book.forget(ben.peer)
    expect(await ben.join(ticket)).toBe('policy.ticket-used')
    expect(anna.trusts(ben)).toBe(false)
    await anna.book.setTrust(ben.peer, 'blocked')
    expect(await ben.join(ticket, { timeout: 3000 })).toBe('network.unreachable')
    expect(anna.book.isBlocked(ben.peer)).toBe(true)
  })

  test.each([
    ['used', 'policy.ticket-used'],
    ['revoked', 'policy.ticket-revoked'],
    ['expired', 'policy.ticket-expired'],
  ])('with a ticket that is %s is refused with that reason, and changes nothing', async (what, code) => {
    const network = new InviteNetwork()
    const hosts = await Promise.all(['anna', 'ben', 'carol'].map((name) => network.host(name)))
    const [anna, ben, carol] = hosts as [InviteHost, InviteHost, InviteHost]
    const created = await anna.invite()
    if (what === 'used') await carol.join(created.ticket)
    if (what === 'revoked') await anna.invites.revoke(created.id)
    if (what === 'expired') {
      // The joiner's clock is behind: only the inviter knows.
      network.clock.advance(3_600_000)
      network.clock.setWall(network.clock.wall() - 7_200_000)
    }
    expect(await ben.join(created.ticket)).toBe(code)
    expect([anna.trusts(ben), ben.trusts(anna)]).toEqual([false, false])
    await network.pass(20_000)
    expect(anna.book.ways(ben.peer)).toEqual(NO_WAYS)
    expect(anna.refusals.snapshot()).toMatchObject({ [code]: expect.any(Number) })
  })

  test('an inviter that the owner has blocked is not asked', async () => {
    const network = new InviteNetwork()
    const [anna, ben] = [await network.host('anna'), await network.host('ben')]
    await ben.book.setTrust(anna.peer, 'blocked')
    expect(await ben.join((await anna.invite()).ticket)).toBe('policy.blocked')
    expect(network.carrier.recorded).toEqual([])
  })

  test('survives restarts of the inviter in the midst of it', async () => {
    const folder = await mkdtemp(join(tmpdir(), 'partyline-join-'))
    const file = join(folder, 'invites.json')
    try {
      const network = new InviteNetwork(seeded(1), { delay: 200 })
      network.breathe = () => sleep(2)
      let anna = await network.host('anna', { file })
      const [ben, carol] = [await network.host('ben'), await network.host('carol')]
      const { ticket } = await anna.invite()
      anna = await anna.restart(file)
      expect(await ben.join(ticket)).toBe('joined')
      anna = await anna.restart(file)
      expect([await carol.join(ticket), await ben.join(ticket)]).toEqual(['policy.ticket-used', 'joined'])
    } finally {
      await rm(folder, { recursive: true, force: true })
    }
  })
})

describe('names', () => {
  test('are those that the owners chose, else what the hosts call themselves, where nobody else goes by that', async () => {
    const network = new InviteNetwork()
    const hosts = await Promise.all(['anna', 'ben', 'ben'].map((name) => network.host(name)))
    const [anna, ben, other] = hosts as [InviteHost, InviteHost, InviteHost]
    const { ticket } = await anna.invite({ uses: 2 })
    await ben.join(ticket, { petname: 'Änne' })
    await other.join(ticket)
    expect(ben.book.get(anna.peer).petname).toBe('Änne')
    expect([ben, other].map(({ peer }) => anna.book.get(peer).petname)).toEqual(['ben', ''])
    const third = await network.host('carol')
    await third.join((await anna.invite({ petname: 'my carol' })).ticket)
    expect(anna.book.get(third.peer).petname).toBe('my carol')
    // One that is taken or cannot be one is refused before anything is done.
    await expect(anna.invite({ petname: 'ben' })).rejects.toMatchObject({ code: 'usage.invalid-argument' })
    await expect(third.invites.join(ticket, { petname: 'a\nb' })).rejects.toMatchObject({
      code: 'usage.invalid-argument',
    })
    expect(third.invites.isJoining(anna.peer)).toBe(false)
  })
})

describe('where the inviter is not reached', () => {
  test('its hubs are visited and its addresses dialled for the time, and it is told what each said', async () => {
    const network = new InviteNetwork()
    const anna = await network.host('anna', { ways: { ...WAYS, hubs: [HUB, '203.0.113.8'] } })
    const ben = await network.host('ben')
    ben.hubs = [{ peer: '', address: '203.0.113.8', port: 5223, state: 'failed', detail: 'wrong PIN' }]
    const { ticket } = await anna.invite()
    network.carrier.cut(anna.peer)
    const joining = ben.invites.join(ticket, { timeout: 6000 })
    await network.pass(3000)
    expect(ben.visited).toEqual([HUB, '203.0.113.8'])
    expect(ben.dialled).toEqual([anna.peer])
    expect(ben.book.addresses(anna.peer)).toMatchObject(WAYS.addresses)
    expect(ben.book.list()).toEqual([])
    await expect(network.settled(joining)).rejects.toMatchObject({
      code: 'network.unreachable',
      message: [
        'anna did not answer. Tried account anna@example.org: no account of this host reaches it',
        'hub of the ticket: could not be joined in time',
        'hub 203.0.113.8:5223: wrong PIN',
        '203.0.113.7:47800: 10.9.9.9:1: the connection was refused',
        'the LAN: it is not seen there',
      ].join('; '),
    })
    expect([ben.visited, ben.joined, ben.book.addresses(anna.peer)]).toEqual([[], [], []])
  })

  test('a session is opened to carry the signals where only an address works', async () => {
    const network = new InviteNetwork()
    const [anna, ben] = [await network.host('anna', { ways: WAYS }), await network.host('ben')]
    const { ticket } = await anna.invite()
    network.carrier.cut(ben.peer)
    ben.openSession = async (peer) => {
      // What the connector shows in its greeting, and what the other side makes of it.
      const invite = ben.invites.inviteFor(peer)
      expect(anna.invites.admitsBearer(ben.peer, invite)).toBe(true)
      network.carrier.mend(ben.peer)
    }
    expect(await ben.join(ticket)).toBe('joined')
    expect(ben.dialled).toEqual([anna.peer])
  })

  test('a hub where it was met is joined for good', async () => {
    const network = new InviteNetwork()
    const anna = await network.host('anna', { ways: { ...NO_WAYS, hubs: [HUB] } })
    const ben = await network.host('ben', { signaller: 'hub' })
    ben.hubs = [{ peer: HUB.slice(14, 66), address: '203.0.113.9', port: 5223, state: 'joined', detail: '' }]
    expect(await ben.join((await anna.invite()).ticket)).toBe('joined')
    expect([ben.visited, ben.joined]).toEqual([[], [HUB]])
  })

  test('whoever asked may leave, and a new attempt takes the place of an old one', async () => {
    const network = new InviteNetwork()
    const [anna, ben] = [await network.host('anna'), await network.host('ben')]
    const { ticket } = await anna.invite()
    network.carrier.cut(anna.peer)
    const leaving = new AbortController()
    const first = ben.invites.join(ticket, {}, leaving.signal)
    leaving.abort()
    await expect(first).rejects.toMatchObject({ code: 'local.closed' })
    expect(ben.invites.isJoining(anna.peer)).toBe(false)
    const second = ben.invites.join(ticket, {})
    const third = ben.invites.join(ticket, {})
    await expect(second).rejects.toMatchObject({ code: 'local.closed' })
    expect(ben.invites.isJoining(anna.peer)).toBe(true)
    network.carrier.mend(anna.peer)
    expect(await network.settled(third)).toMatchObject({ state: 'joined' })
  })
})

describe('strangers', () => {
  test('who guess are told nothing more than refused, rarely, and leave nothing behind', async () => {
    const network = new InviteNetwork()
    const [anna, eve] = [await network.host('anna'), await network.host('eve')]
    const { id } = await anna.invite()
    const wrong = { kind: 'join' as const, proof: new Uint8Array(32), name: 'eve', ways: WAYS }
    for (let n = 0; n < 100; n++) eve.tell(anna.peer, encodeJoin({ ...wrong, id: n % 2 ? id : 'aaaaaaaaaaaaa' }))
    await network.pass(1000)
    expect(new Set(eve.told.map((answer) => 'code' in answer && answer.code))).toEqual(new Set(['policy.refused']))
    expect(eve.told).toHaveLength(20)
    expect(anna.book.list()).toEqual([])
    expect(anna.book.ways(eve.peer)).toEqual(NO_WAYS)
    expect(anna.refusals.snapshot()['peer.rate-limited']).toBeGreaterThan(50)
  })

  test('who saw a proof cannot use it, nor can its holder towards somebody else', async () => {
    const network = new InviteNetwork()
    const hosts = await Promise.all(['anna', 'ben', 'eve'].map((name) => network.host(name)))
    const [anna, ben, eve] = hosts as [InviteHost, InviteHost, InviteHost]
    const ticket = parseTicket((await anna.invite()).ticket, { self: ben.peer, wall: network.clock.wall() })
    if (ticket.kind !== 'invitation') throw new Error('an invitation was made')
    const { id, secret } = ticket
    const asText = (proof: Uint8Array) => ({ id, proof: Buffer.from(proof).toString('base64') })
    const ofBen = asText(proofOf(secret, ben.peer, anna.peer))
    expect([ben, eve].map(({ peer }) => anna.invites.admitsBearer(peer, ofBen))).toEqual([true, false])
    expect(anna.invites.admitsBearer(ben.peer, asText(proofOf(secret, ben.peer, eve.peer)))).toBe(false)
    expect(anna.invites.admitsBearer(ben.peer, undefined)).toBe(false)
    expect(anna.invites.admitsBearer(ben.peer, { id: '', proof: '' })).toBe(false)
    await anna.invites.revoke(id)
    expect(anna.invites.admitsBearer(ben.peer, ofBen)).toBe(false)
  })
})

describe('by hand', () => {
  test('an offer and its answer meet, and the session tells the rest', async () => {
    const network = new InviteNetwork()
    const [anna, ben] = [await network.host('anna'), await network.host('ben')]
    network.carrier.cut(ben.peer)
    const offer = await anna.invite({ offline: true, lifetime: 600_000 })
    expect([offer.outside, anna.wants]).toEqual([true, 1])
    const joining = await ben.invites.join(offer.ticket, {})
    if (joining.state !== 'answer') throw new Error('an answer was expected')
    expect(ben.met).toMatchObject([{ peer: anna.peer, theirs: { link: 7 }, offer: undefined }])
    expect([ben.wants, ben.invites.isJoining(anna.peer), ben.trusts(anna)]).toEqual([1, true, false])
    await network.pass(200_000)
    anna.openSession = async () => network.carrier.mend(ben.peer)
    expect(await network.settled(anna.invites.answer(joining.answer))).toMatchObject({
      state: 'joined',
      peer: ben.peer,
    })
    expect(anna.met).toMatchObject([{ peer: ben.peer, theirs: { ufrag: 'benxxxxx' }, offer: { stream: 7 } }])
    expect(await network.settled(ben.invites.wait(anna.peer))).toMatchObject({ state: 'joined', petname: 'anna' })
    expect([anna.trusts(ben), ben.trusts(anna), anna.wants, ben.wants]).toEqual([true, true, 0, 0])
    expect(await usesOf(anna)).toEqual([ben.peer])
    await expect(anna.invites.answer(joining.answer)).rejects.toMatchObject({ code: 'policy.ticket-used' })
  })

  test('an answer that leads nowhere may be brought again, by either command', async () => {
    const network = new InviteNetwork()
    const [anna, ben] = [await network.host('anna'), await network.host('ben')]
    network.carrier.cut(ben.peer)
    const offer = await anna.invite({ offline: true, lifetime: 600_000 })
    const joining = await ben.invites.join(offer.ticket, {})
    if (joining.state !== 'answer') throw new Error('an answer was expected')
    await expect(anna.invites.answer(joining.answer)).rejects.toMatchObject({ code: 'network.unreachable' })
    anna.openSession = async () => network.carrier.mend(ben.peer)
    expect(await anna.invites.join(joining.answer, {})).toMatchObject({ state: 'joined' })
    await expect(anna.invites.answer((await ben.invite()).ticket)).rejects.toMatchObject({
      code: 'usage.invalid-argument',
    })
  })

  test('an offer ends with its time or when it is taken back, and nothing is kept open for it then', async () => {
    const network = new InviteNetwork()
    const [anna, ben] = [await network.host('anna'), await network.host('ben')]
    const offers = [await anna.invite({ offline: true, lifetime: 60_000 }), await anna.invite({ offline: true })]
    const joining = await ben.invites.join(offers[0]?.ticket ?? '', {})
    if (joining.state !== 'answer') throw new Error('an answer was expected')
    network.carrier.cut(ben.peer)
    await anna.invites.revoke(offers[1]?.id ?? '')
    expect(anna.wants).toBe(1)
    await network.pass(60_000)
    expect([anna.wants, ben.wants, ben.invites.isJoining(anna.peer)]).toEqual([0, 0, false])
    await expect(anna.invites.answer(joining.answer)).rejects.toMatchObject({ code: 'policy.ticket-expired' })
    await expect(ben.invites.wait(anna.peer)).rejects.toMatchObject({ code: 'peer.not-found' })
  })

  test('so many offers wait at one time, for one host each and an hour at most', async () => {
    const network = new InviteNetwork()
    const anna = await network.host('anna')
    for (let n = 0; n < MAX_OFFERS; n++) await anna.invite({ offline: true })
    await expect(anna.invite({ offline: true })).rejects.toMatchObject({ code: 'local.limit' })
    for (const wrong of [{ uses: 2 }, { lifetime: 3_600_001 }])
      await expect(anna.invite({ offline: true, ...wrong })).rejects.toMatchObject({ code: 'usage.invalid-argument' })
    anna.invites.close()
    anna.invites.close()
    expect(anna.wants).toBe(0)
  })
})
