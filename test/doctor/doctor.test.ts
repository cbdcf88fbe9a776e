import { describe, expect, test } from 'vitest'
import { Doctor, type DoctorFacts } from '../../daemon/doctor/doctor.ts'
import type { Probes } from '../../daemon/doctor/probes.ts'
import { NO_WAYS } from '../../daemon/peers/ways.ts'
import type { ContactId, HostPort, PeerId, Sighting } from '../../daemon/types.ts'
import { pass } from '../discovery/passing-time.ts'
import { networkInterface } from '../simulated-network.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { ANNA, ETH0, finch, MALLORY, NO_HUB, NO_RELAY, NO_SERVERS, person, policyOf, seen } from './findings.ts'

const never = <T>(): Promise<T> => new Promise(() => {})
const at = (address: string, interfaceName = 'eth0') => ({
  address,
  port: 47800,
  interface: interfaceName,
  lastGood: false,
})
const sighting = (peer: PeerId): Sighting => ({ ...at('192.168.50.2'), peer, method: 'beacon', name: '', proven: true })

function doctorOf({ facts = {}, probes = {} }: { facts?: Partial<DoctorFacts>; probes?: Partial<Probes> }) {
  const clock = new VirtualClock()
  const asked: string[] = []
  const note = (what: string, { address }: HostPort): void => void asked.push(`${what} ${address}`)
  const doctor = new Doctor(
    {
      clock,
      platform: 'linux',
      uptime: () => 1000,
      port: () => ({ asked: 47800, actual: 47800 }),
      interfaces: () => [ETH0],
      chosenInterfaces: () => ({ include: [], exclude: [] }),
      discovery: () => [],
      people: () => [person()],
      person: () => person(),
      addresses: () => [at('192.168.50.2')],
      lastSeen: () => undefined,
      sessions: () => [],
      hub: () => NO_HUB,
      refused: () => ({}),
      examineNat: async () => ({ internet: NO_SERVERS, nat: undefined }),
      examineAccounts: async () => [],
      relay: () => NO_RELAY,
      policy: () => policyOf({ 'open (lan)': 'admit', share: 'all' }),
      requests: () => [],
      ways: () => NO_WAYS,
      signallers: () => [],
      paths: () => [],
      probe: async (target) => {
        note('beacon', target)
        return sighting(ANNA)
      },
      dial: async (target) => {
        note('tls', target)
        return { peer: ANNA }
      },
      ...facts,
    },
    {
      tcp: async (target) => {
        note('tcp', target)
        return 'open'
      },
      multicast: async ({ name }) => [{ interface: name, family: 4, heard: true, problem: '' }],
      firewall: async () => undefined,
      drops: async () => [],
      holders: async () => [],
      wayOut: async () => undefined,
      ...probes,
    },
  )
  /** Runs in virtual time, and tells how much of it went by. */
  const run = async (peer?: PeerId | ContactId) => {
    let done = false
    const checks = doctor.run(peer).finally(() => {
      done = true
    })
    const began = clock.now()
    while (!done && clock.now() - began < 60_000) await pass(clock, 100, 50)
    return { checks: await checks, took: clock.now() - began }
  }
  return { doctor, clock, asked, run }
}

describe('the doctor', () => {
  test('answers within five seconds when nothing else answers', async () => {
    const silent = doctorOf({
      facts: { probe: never, dial: never },
      probes: { tcp: never, multicast: never, firewall: never },
    })
    const host = await silent.run()
    expect(host.took).toBeLessThanOrEqual(5000)
    expect(host.checks.find(({ id }) => id === 'multicast-self')).toMatchObject({ status: 'skip' })
    const peer = await silent.run(ANNA)
    expect(peer.took).toBeLessThanOrEqual(5000)
    expect(peer.checks.at(-1)).toMatchObject({ id: 'conclusion', status: 'fail' })
  })

  test('answers within five seconds when only the handshake never ends', async () => {
    const { run } = doctorOf({ facts: { probe: never, dial: never } })
    const { checks, took } = await run(ANNA)
    expect(took).toBeLessThanOrEqual(5000)
    expect(checks.find(({ id }) => id === 'address-1')).toMatchObject({ status: 'warn' })
  })

  test('waits a second at most for what is on none of its networks', async () => {
    const { run } = doctorOf({
      facts: { probe: never, addresses: () => [at('203.0.113.7', '')] },
      probes: { tcp: never },
    })
    expect((await run(ANNA)).took).toBeLessThanOrEqual(1200)
  })

  test('probes that fail are answers as well', async () => {
    const broken = async (): Promise<never> => {
      throw new Error('broken')
    }
    const { run } = doctorOf({
      facts: { probe: broken, dial: broken },
      probes: { tcp: broken, multicast: broken, firewall: broken },
    })
    expect((await run(ANNA)).checks.at(-1)).toMatchObject({ id: 'conclusion', status: 'fail' })
  })

  test('finds a peer that answers', async () => {
    const { checks } = await doctorOf({}).run(ANNA)
    expect(checks.map(({ id, status }) => `${id} ${status}`)).toEqual([
      'known ok',
      'session skip',
      'ways skip',
      'policy ok',
      'address-1 ok',
      'paths skip',
      'reach ok',
      'key ok',
      'conclusion ok',
    ])
  })

  test('tells another host at the address of a peer', async () => {
    const { run } = doctorOf({ facts: { dial: async () => ({ peer: MALLORY }), probe: async () => undefined } })
    const { checks } = await run(ANNA)
    expect(checks.find(({ id }) => id === 'key')).toMatchObject({
      status: 'fail',
      detail: expect.stringContaining('WRONG KEY'),
    })
  })

  test('what is broken on this host itself leads the checks of a peer', async () => {
    const { checks } = await doctorOf({ facts: { interfaces: () => [] } }).run(ANNA)
    expect(checks[0]).toMatchObject({ id: 'interfaces', status: 'fail' })
  })

  test('asks no more than sixteen of a thousand addresses', async () => {
    const many = Array.from({ length: 1000 }, (_, i) => at(`192.168.${50 + (i >> 8)}.${i % 256}`))
    const { run, asked } = doctorOf({ facts: { addresses: () => many } })
    const { checks } = await run(ANNA)
    expect(new Set(asked).size).toBe(3 * 16)
    expect(asked).toHaveLength(3 * 16)
    expect(checks.find(({ id }) => id === 'address-16')?.detail).toMatch(/984 more addresses not asked/)
    expect(checks.some(({ id }) => id === 'address-17')).toBe(false)
  })

  test('calls for the same share one run, others take their turn', async () => {
    const { doctor, clock, asked, run } = doctorOf({})
    const first = doctor.run(ANNA)
    expect(doctor.run(ANNA)).toBe(first)
    const all = [first, ...Array.from({ length: 100 }, () => doctor.run(ANNA)), doctor.run()]
    await pass(clock, 100)
    await Promise.all(all)
    expect(asked).toHaveLength(3)
    await run(ANNA)
    expect(asked).toHaveLength(6)
  })

  test('a run that fails does not stand in the way of the next', async () => {
    let broken = true
    const { doctor, run } = doctorOf({
      facts: {
        people: () => {
          if (broken) throw new Error('broken')
          return []
        },
      },
    })
    await expect(doctor.run()).rejects.toThrow('broken')
    broken = false
    expect((await run()).checks.length).toBeGreaterThan(10)
  })

  test('sends nothing to whom the user blocked, nor to names that would have to be looked up', async () => {
    const blocked = doctorOf({ facts: { person: () => person({ trust: 'blocked' }) } })
    expect((await blocked.run(ANNA)).checks.at(-1)).toMatchObject({ detail: 'anna is blocked by you.' })
    const named = doctorOf({ facts: { addresses: () => [at('host.example', '')] } })
    await named.run(ANNA)
    expect([...blocked.asked, ...named.asked]).toEqual([])
  })

  test('asks a plain XMPP client by TCP alone, and a hub never for somebody at it', async () => {
    const lan = doctorOf({ facts: { person: () => finch() } })
    expect((await lan.run('xmpp:finch@h2' as ContactId)).checks.at(-1)).toMatchObject({ status: 'ok' })
    expect(lan.asked).toEqual(['tcp 192.168.50.2'])
    const hub = doctorOf({ facts: { person: () => finch({ sightings: [seen('hub')] }) } })
    expect((await hub.run('xmpp:finch@h2' as ContactId)).checks.at(-1)).toMatchObject({ status: 'ok' })
    expect(hub.asked).toEqual([])
  })

  test('tries multicast on the interfaces that take part, and no others', async () => {
    const tried: string[] = []
    const { run } = doctorOf({
      facts: {
        interfaces: () => [
          networkInterface('lo', ['127.0.0.1/8']),
          ETH0,
          networkInterface('docker0', ['172.17.0.1/16']),
          networkInterface('eth1', []),
        ],
      },
      probes: {
        multicast: async ({ name }) => {
          tried.push(name)
          return []
        },
      },
    })
    await run()
    expect(tried).toEqual(['eth0'])
  })
})
