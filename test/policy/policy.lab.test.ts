import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { Result } from '../../ipc/methods.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { openMeeting } from '../nat/matrix/partyline.ts'
import { Guest } from '../scenarios/party.ts'
import { addressesIn } from './address-scan.ts'
import { type Captured, capture } from './capture.ts'

const missing = labMissing()
/** In a home whose router lets everything through. */
const OWNER = '192.168.2.11'

type Requests = Result<'requests.list'>

/** An owner, and a stranger somewhere on the internet who has found him, before he became careful. */
async function meet(lab: Lab): Promise<{ owner: Guest; stranger: Guest }> {
  const owner = await Guest.join(lab, 'b1', [], { settings: { 'policy.internet': 'open' } })
  const settings = { 'discovery.hints': [`${OWNER}:${owner.daemon.port}`] }
  const stranger = await Guest.join(lab, 'pub', [], { settings })
  await stranger.untilSees(owner.id)
  return { owner, stranger }
}

const set = (guest: Guest, key: string, value: string) => guest.json(['config', 'set', key, value])

/** What `partyline connect` says, and how it ends. */
async function connects(from: Guest, to: Guest): Promise<{ exit: number | null; code: string | undefined }> {
  const { code: exit, stdout } = await from.daemon.cli(['connect', to.id, '--json'])
  return { exit, code: JSON.parse(stdout).error?.code }
}

const LET_IN = { exit: 0, code: undefined }
const REFUSED = { exit: 5, code: 'policy.refused' }

/** What waits for the owner's word, as soon as something does. */
async function untilAsked(owner: Guest): Promise<Requests> {
  const events = await owner.client.events(['requests'])
  try {
    for (;;) {
      const requests = (await owner.json(['requests'])) as Requests
      if (requests.length > 0) return requests
      await events.next()
    }
  } finally {
    await events.return?.()
  }
}

/** Resolves when a host has refused so much. */
async function untilRefused(guest: Guest, count: number): Promise<void> {
  const refused = async () => (await guest.client.call('daemon.status', {})).refused['policy.refused'] ?? 0
  while ((await refused()) < count) await sleep(50)
}

// Each in a lab of its own: they wait most of the time.
describe.skipIf(missing)(`a stranger from the internet${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test.concurrent('is let in, refused, or waits for the owner, as the policy says, while nothing changes on the LAN', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'none' })
    const { owner, stranger } = await meet(lab)
    expect(await connects(stranger, owner)).toEqual(LET_IN)
    await stranger.json(['disconnect', owner.id])

    await owner.json(['config', 'reset', 'policy.internet'])
    expect(await connects(stranger, owner)).toEqual(REFUSED)
    expect(await owner.json(['requests'])).toEqual([])
    const neighbour = await Guest.join(lab, 'b2')
    await neighbour.untilSees(owner.id)
    expect(await connects(neighbour, owner)).toEqual(LET_IN)
    const hints = { 'discovery.hints': [`${OWNER}:${owner.daemon.port}`] }
    const passer = await Guest.join(lab, 'a1', [], { settings: hints })
    // Three probes and a link, none of which is answered.
    await untilRefused(owner, 1 + 4)
    expect(await passer.sees(owner.id)).toBeUndefined()

    await set(owner, 'policy.internet', 'ask')
    const connecting = connects(stranger, owner)
    const [request] = await untilAsked(owner)
    expect(request).toMatchObject({ peer: stranger.id, name: 'pub', from: 'internet', by: '' })
    await owner.json(['requests', 'accept', stranger.id, '--once'])
    expect(await connecting).toEqual(LET_IN)
    expect(await owner.json(['requests'])).toEqual([])

    await stranger.json(['disconnect', owner.id])
    expect(await connects(stranger, owner)).toEqual(LET_IN)
    await stranger.json(['disconnect', owner.id])
    await set(owner, 'policy.internet', 'trusted')
    const rules = ((await owner.json(['policy', stranger.id])) as Result<'policy.get'>).rules
    expect(rules.find(({ key }) => key === 'open (internet)')).toMatchObject({ value: 'admit', by: 'once' })
    await owner.json(['policy', 'set', stranger.id, 'open', 'trusted'])
    await owner.json(['block', stranger.id])
    expect(await connects(stranger, owner)).toEqual(REFUSED)
    expect((await owner.client.call('daemon.status', {})).refused).toMatchObject({ 'policy.blocked': 1 })
  }, 120_000)

  test.concurrent('is told that the owner was asked, and afterwards what he said', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'eim', b: 'none' })
    const { owner, stranger } = await meet(lab)
    await set(owner, 'policy.internet', 'ask')
    expect(await connects(stranger, owner)).toEqual({ exit: 5, code: 'policy.asking' })
    await owner.json(['requests', 'refuse', stranger.id])
    expect(await connects(stranger, owner)).toEqual(REFUSED)
    expect(await owner.json(['requests'])).toEqual([])
    await owner.json(['policy', 'set', stranger.id, 'open', 'open'])
    expect(await connects(stranger, owner)).toEqual(LET_IN)
  }, 60_000)
})

const WIRE = labMissing(['turnserver', 'openssl', 'ss', 'tcpdump', 'miniupnpd'])
/** The home's router, the other's, and the server, in a lab whose internet has public addresses. */
const OUTSIDE = '11.99.0.1'
const THERE = '11.99.0.2'
const SERVER = '11.99.0.10'
const INSIDE = ['192.168.1.11', '192.168.1.12']

describe.skipIf(WIRE)(`what a host sends to find a way${WIRE ? ` (skipped: ${WIRE})` : ''}`, () => {
  test.concurrent('shows the peer, and the wire, no more than it may learn', async () => {
    await using lab = await Lab.up('upnp', { b: 'eim' })
    await lab.svc('srv', 'coturn', 'lt')
    const { ticket } = await openMeeting(lab)
    const servers = { 'nat.stun': [`${SERVER}:3478`], 'nat.turn': [`turn:alice:wonder@${SERVER}:3478`] }
    const settings = { ...servers, 'hub.join': [ticket], 'session.keep-trusted': false, 'nat.map': false }
    const [a, b] = await Promise.all([
      Guest.join(lab, 'a1', [], { settings: { ...settings, 'nat.share': 'relay' } }),
      Guest.join(lab, 'b1', [], { settings }),
    ])
    await Promise.all([a.untilSees(b.id), b.untilSees(a.id)])
    await Promise.all([a.json(['trust', b.id]), b.json(['trust', a.id])])

    const connect = async (share: string | undefined, best: string) => {
      await a.json(share ? ['policy', 'set', b.id, 'share', share] : ['policy', 'reset', b.id])
      const watched = await capture(lab, 'inet', 'ra')
      await a.client.call('sessions.open', { peer: b.id })
      await a.untilRoute(b.id, best)
      const tried = (await b.client.call('sessions.paths', { peer: a.id })).map(({ to }) => to.split(':')[0])
      await a.client.call('sessions.close', { peer: b.id })
      const sent = (await watched.end()).filter(({ from }) => from === OUTSIDE)
      return { tried, sent }
    }
    const isInner = ({ to }: Captured) => to.startsWith('192.168.')
    const telling = (sent: readonly Captured[]) =>
      sent.filter(({ udp }) => isStun(udp) && addressesIn(udp, INSIDE).length > 0)

    const hidden = await connect(undefined, 'relay')
    expect(new Set(hidden.tried)).toEqual(new Set([SERVER]))
    expect(hidden.sent.filter(({ to }) => to === THERE)).toEqual([])
    expect([hidden.sent.filter(isInner), telling(hidden.sent)]).toEqual([[], []])

    const open = await connect('public', 'punched')
    expect(open.tried).toContain(OUTSIDE)
    expect(open.tried).not.toContain(INSIDE[0])
    expect([open.sent.filter(isInner), telling(open.sent)]).toEqual([[], []])

    const all = await connect('all', 'punched')
    expect(all.tried).toContain(INSIDE[0])
    expect(all.sent.some(isInner)).toBe(true)
  }, 90_000)
})

/** RFC 8489 section 5. */
const isStun = (packet: Buffer): boolean => (packet[0] ?? 255) < 4 && packet.readUInt32BE(4) === 0x2112a442

describe.skipIf(missing)(`a metered network${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test.concurrent('carries messages and nothing else, or nothing at all, as its owner says', async () => {
    await using lab = await Lab.up('lan', { n: 2 })
    const settings = { 'policy.metered': ['eth0'], 'policy.on-metered': 'messages' }
    const [a, b] = await Promise.all([Guest.join(lab, 'h1', [], { settings }), Guest.join(lab, 'h2')])
    await Promise.all([a.untilSees(b.id), b.untilSees(a.id)])
    await b.client.call('chat.send', { peer: a.id, text: 'a message' })
    await a.hears('a message')
    expect(((await a.json(['policy'])) as Result<'policy.get'>).metered).toEqual(['eth0'])

    const opening = async (from: Guest, to: Guest) => {
      const { code, stdout } = await from.daemon.cli(['open', to.id, 'anything', '--json'])
      return { exit: code, code: JSON.parse(stdout).error?.code }
    }
    expect(await opening(a, b)).toEqual({ exit: 5, code: 'policy.metered' })
    expect(await opening(b, a)).toEqual({ exit: 5, code: 'policy.refused' })
    await set(a, 'policy.on-metered', 'all')
    expect(await opening(b, a)).toEqual({ exit: 4, code: 'peer.no-service' })

    await a.client.call('sessions.close', { peer: b.id })
    await set(a, 'policy.on-metered', 'nothing')
    expect((await connects(a, b)).exit).not.toBe(0)
    expect((await connects(b, a)).exit).not.toBe(0)
    expect(await a.client.call('sessions.list', {})).toEqual([])
  }, 60_000)
})
