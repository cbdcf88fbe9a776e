import { describe, expect, test } from 'vitest'
import type { RemoteCandidate } from '../../daemon/nat/candidate.ts'
import { encodeRendezvous } from '../../daemon/nat/rendezvous/description.ts'
import type { PeerId } from '../../daemon/types.ts'
import { SimulatedPaths, TraversalHost } from './traversal-host.ts'

/** A host, and a way to tell it what another one says, who may say anything and has the lower or the higher peer id. */
async function victim(position: 0 | 1) {
  const hosts = await TraversalHost.pair(new SimulatedPaths())
  const [host, hostile] = [hosts[position] as TraversalHost, hosts[1 - position] as TraversalHost]
  hostile.isWelcome = false
  let version = 0
  const says = (what: { candidates?: readonly RemoteCandidate[]; link?: number; calls?: number }): void => {
    const edition = { instance: '0123456789abcdef', attempt: 1, version: ++version }
    const description = { ufrag: 'hostile', pwd: 'a'.repeat(22), candidates: [], link: 0, calls: 1, ...what }
    const network = { udp: null, mapping: 'unknown', relay: false } as const
    host.signalled(
      hostile.peer,
      encodeRendezvous({ kind: 'describe', ...edition, ...description, network, seen: null }),
    )
  }
  const both = {
    [Symbol.asyncDispose]: async () => void (await Promise.all(hosts.map((one) => one[Symbol.asyncDispose]()))),
  }
  return { host, hostile, says, both }
}

const at = (address: string, port = 4000): RemoteCandidate => ({
  kind: 'host',
  address,
  port,
  priority: 1,
  foundation: 'h',
})

describe('a welcome peer that is hostile', () => {
  test('and dials streams without end takes up one carrier', async () => {
    const { host, says, both } = await victim(1)
    await using _both = both
    for (let link = 1; link <= 200; link++) says({ link })
    // Those that are closed go a moment later.
    await expect.poll(() => host.carriers.size).toBe(1)
  })

  test('and wishes for links without end makes the host dial a few of the addresses it names', async () => {
    const { host, says, both } = await victim(0)
    await using _both = both
    for (let calls = 1; calls <= 100; calls++)
      says({ calls, candidates: [1, 2, 3, 4].map((i) => at(`203.0.113.${calls}`, i)) })
    expect(host.told.length).toBeGreaterThan(0)
    expect(host.told.length).toBeLessThanOrEqual(8)
  })

  test.each([
    '127.0.0.1',
    '0.0.0.0',
    '::1',
    '::ffff:127.0.0.1',
    '169.254.1.1',
    'fe80::1',
    '224.0.0.251',
    '255.255.255.255',
    'ff02::1',
  ])('and names %s is dialled nowhere there', async (address) => {
    const { host, says, both } = await victim(0)
    await using _both = both
    says({ candidates: [at(address)] })
    expect(host.told).toEqual([])
    says({ candidates: [at(address), at('203.0.113.1')] })
    expect(host.told).toEqual(['203.0.113.1'])
  })

  test('or has a thousand names leaves room for those that the host looks for', async () => {
    const { host, hostile, both } = await victim(0)
    await using _both = both
    const description = { ufrag: 'hostile', pwd: 'a'.repeat(22), candidates: [], link: 0, calls: 1 }
    const network = { udp: null, mapping: 'unknown', relay: false } as const
    const edition = { instance: '0123456789abcdef', attempt: 1, version: 1 }
    const signal = encodeRendezvous({ kind: 'describe', ...edition, ...description, network, seen: null })
    for (let i = 0; i < 1100; i++) host.signalled(`${hostile.peer.slice(0, -4)}${1000 + i}` as PeerId, signal)
    expect(host.traversal.size).toBe(512)
    expect(host.refusals.snapshot()['local.limit']).toBe(1100 - 512)
    const failures: unknown[] = []
    host.traversal.look(hostile.peer, (error) => failures.push(error))
    expect(host.traversal.size).toBe(513)
    expect(failures).toEqual([])
  })
})
