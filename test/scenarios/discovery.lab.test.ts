import { describe, expect, test } from 'vitest'
import { Lab, labMissing } from '../lab/lab.ts'
import { allSeeAll, Guest } from './party.ts'

const missing = labMissing(['avahi-daemon', 'dbus-daemon'])

/** Starts a daemon on each of these hosts at once. */
function party(lab: Lab, ...hosts: readonly string[]): Promise<Guest[]> {
  return Promise.all(hosts.map((host) => Guest.join(lab, host)))
}

const methodsThatSaw = async (guest: Guest, other: Guest): Promise<string[]> => [
  ...new Set((await guest.sees(other.id))?.sightings.map((sighting) => sighting.method)),
]

describe.skipIf(missing)(
  `hosts on a LAN without internet find each other${missing ? ` (skipped: ${missing})` : ''}`,
  () => {
    test('twenty daemons: everyone sees everyone, a stopped one is gone, a killed one is gone', async () => {
      await using lab = await Lab.up('lan', { n: 20 })
      const guests = await party(lab, ...Array.from({ length: 20 }, (_, i) => `h${i + 1}`))
      await allSeeAll(guests)
      const [first, stopped, killed] = guests
      if (!first || !stopped || !killed) throw new Error('the party is too small')

      await stopped.leave()
      await first.untilGone(stopped.id)
      await killed.daemon.kill()
      await first.untilGone(killed.id)
      expect((await first.client.call('peers.list', {})).filter((peer) => peer.state === 'seen')).toHaveLength(17)
    }, 180_000)

    test('both methods see a peer, and it is one entry that never is oneself', async () => {
      await using lab = await Lab.up('lan', { n: 2 })
      const [a, b] = (await party(lab, 'h1', 'h2')) as [Guest, Guest]
      const peers = await a.until((list) =>
        ['mdns', 'beacon'].every((method) => list[0]?.sightings.some((sighting) => sighting.method === method)),
      )
      expect(peers.map((peer) => peer.id)).toEqual([b.id])
    })

    test('with multicast dropped, by the broadcast beacon', async () => {
      await using lab = await Lab.up('lan', { n: 2, nomcast: true })
      const [a, b] = (await party(lab, 'h1', 'h2')) as [Guest, Guest]
      await allSeeAll([a, b])
      expect(await methodsThatSaw(a, b)).toContain('beacon')
    })

    test('with avahi running on every host', async () => {
      await using lab = await Lab.up('lan', { n: 2 })
      for (const host of ['h1', 'h2']) await lab.svc(host, 'avahi')
      const [a, b] = (await party(lab, 'h1', 'h2')) as [Guest, Guest]
      await a.until((list) => list.some((peer) => peer.sightings.some((sighting) => sighting.method === 'mdns')))
      const browsed = await lab.exec('h1', ['avahi-browse', '-rtp', '_partyline._tcp'])
      expect(browsed.stdout).toContain(b.id)
    })

    test('with two interfaces of which one is dead', async () => {
      await using lab = await Lab.up('lan-multi')
      await lab.link('h1', 'down', 'eth1')
      const [a, b, c] = (await party(lab, 'h1', 'h2', 'h3')) as [Guest, Guest, Guest]
      await allSeeAll([a, b, c])
      expect((await a.sees(b.id))?.sightings.map((sighting) => sighting.interface)).not.toContain('eth1')
    })

    test('with IPv6 only', async () => {
      await using lab = await Lab.up('lan', { n: 2, ip: '6' })
      const [a, b] = (await party(lab, 'h1', 'h2')) as [Guest, Guest]
      await allSeeAll([a, b])
      const { remote } = await a.client.call('sessions.open', { peer: b.id })
      expect(remote).toContain(':')
    })

    test('with link-local addresses only', async () => {
      await using lab = await Lab.up('lan', { n: 2, zeroconf: true })
      const [a, b] = (await party(lab, 'h1', 'h2')) as [Guest, Guest]
      await allSeeAll([a, b])
      expect((await a.client.call('sessions.open', { peer: b.id })).route).toBe('lan')
    })

    // These two wait most of the time.
    test.concurrent('with every beacon dropped, by mDNS; a killed host is gone there too', async () => {
      await using lab = await Lab.up('lan', { n: 2 })
      await lab.nft(
        'lan',
        'table bridge beacons { chain forward { type filter hook forward priority 0; udp dport 47799 drop; } }',
      )
      const [a, b] = (await party(lab, 'h1', 'h2')) as [Guest, Guest]
      await allSeeAll([a, b])
      expect(await methodsThatSaw(a, b)).toContain('mdns')
      await b.daemon.kill()
      await a.untilGone(b.id)
    }, 90_000)

    test.concurrent('a cable that is pulled and put back: gone, then there again without a restart', async () => {
      await using lab = await Lab.up('lan', { n: 2 })
      const [a, b] = (await party(lab, 'h1', 'h2')) as [Guest, Guest]
      await allSeeAll([a, b])
      await lab.link('h2', 'down')
      await a.untilGone(b.id)
      await lab.link('h2', 'up')
      await allSeeAll([a, b])
    }, 90_000)
  },
)
