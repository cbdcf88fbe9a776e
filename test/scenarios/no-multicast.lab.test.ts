import { describe, expect, test } from 'vitest'
import type { DoctorCheck, HubStatus, PeerView, SessionView } from '../../ipc/methods.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import { Guest } from './party.ts'

const missing = labMissing()
const NO_BROADCAST = `table bridge quiet { chain forward { type filter hook forward priority 0;
  ip daddr { 255.255.255.255, 192.168.50.255 } drop; ip6 daddr ff00::/8 meta l4proto udp drop; } }`

const methodsOf = (peer: PeerView | undefined): readonly string[] => [
  ...new Set(peer?.sightings.map((sighting) => sighting.method)),
]

describe.skipIf(missing)(`through a hub${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test('two hosts without multicast and broadcast find each other and connect directly; nothing doubles when it is back', async () => {
    await using lab = await Lab.up('lan', { n: 3, nomcast: true })
    await lab.nft('lan', NO_BROADCAST)
    const hub = await Guest.join(lab, 'h3')
    await hub.json(['hub', 'start', '--name', 'lanparty'])
    const [a, b] = await Promise.all([Guest.join(lab, 'h1'), Guest.join(lab, 'h2')])
    expect((await a.client.call('daemon.status', {})).peers.seen).toBe(0)
    for (const guest of [a, b]) {
      await guest.json(['hub', 'join', '192.168.50.3'])
      await guest.untilJoined()
    }
    await a.untilSees(b.id, hub.id)
    await b.untilSees(a.id, hub.id)
    await a.until((peers) => peers.some((peer) => peer.id === b.id && peer.sightings.some(({ port }) => port > 0)))
    const found = methodsOf(await a.sees(b.id))
    expect(found).toContain('hub')
    // A beacon may be there: one that was sent to the address that the hub told.
    for (const method of ['mdns', 'xmpp']) expect(found).not.toContain(method)

    const session = (await a.json(['connect', b.id])) as SessionView
    expect(session.route).toBe('lan')
    expect(session.remote).toMatch(/^(\[?fd00:50::2|\[?fe80:|192\.168\.50\.2)/)
    const line = await a.client.call('chat.send', { peer: b.id, text: 'direkt: schön' })
    expect(line).toMatchObject({ encrypted: true, via: 'session' })
    await b.hears('direkt: schön')

    await lab.exec('lan', ['nft', 'flush', 'ruleset'])
    for (const [guest, other] of [
      [a, b],
      [b, a],
    ] as const) {
      const peers = await guest.until((list) =>
        list.some((peer) => peer.id === other.id && ['mdns', 'xmpp'].every((m) => methodsOf(peer).includes(m))),
      )
      expect(peers.map(({ id }) => id).sort()).toEqual([other.id, hub.id].sort())
    }
    expect((await a.client.call('sessions.list', {})).filter(({ peer }) => peer === b.id)).toHaveLength(1)
  }, 120_000)

  test('two isolated hosts see each other and chat, and are told why they cannot connect', async () => {
    await using lab = await Lab.up('isolated', { n: 2 })
    const hub = await Guest.join(lab, 'gw')
    const { name } = (await hub.json(['hub', 'start', '--name', 'lanparty'])) as HubStatus
    const [a, b] = await Promise.all([Guest.join(lab, 'h1'), Guest.join(lab, 'h2')])
    for (const guest of [a, b])
      await guest.untilHub(({ hubs }) => hubs.some((joined) => joined.state === 'joined' && joined.name === name))
    await a.untilSees(b.id)
    await b.untilSees(a.id)

    const sent = await a.client.call('chat.send', { peer: b.id, text: 'durch die Tür: schön 你好' })
    expect(sent).toMatchObject({ encrypted: true, via: 'signal' })
    expect(await b.hears('durch die Tür: schön 你好')).toMatchObject({ peer: a.id, encrypted: true, via: 'signal' })
    await b.client.call('chat.send', { peer: a.id, text: 'zurück' })
    expect(await a.hears('zurück')).toMatchObject({ peer: b.id, encrypted: true, via: 'signal' })

    const refused = await a.daemon.cli(['connect', b.id])
    expect(refused.code).not.toBe(0)
    await a.until((peers) => peers.some((peer) => peer.id === b.id && peer.state === 'seen' && peer.note !== ''))
    const note = (await a.sees(b.id))?.note ?? ''
    expect((await a.daemon.cli(['peers'])).stdout).toContain(note)
    const doctor = await a.daemon.cli(['doctor', b.id, '--json'])
    expect(doctor.code).toBe(1)
    const { checks } = JSON.parse(doctor.stdout) as { checks: readonly DoctorCheck[] }
    const failed = checks.filter(({ status }) => status === 'fail' || status === 'warn')
    expect(failed.map(({ detail, fix }) => `${detail} ${fix}`).join('\n')).toMatch(/isolat/i)
    expect(failed.every(({ fix }) => fix !== '')).toBe(true)
  }, 120_000)
})
