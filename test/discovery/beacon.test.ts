import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { type Clock, systemClock } from '../../daemon/clock.ts'
import { BeaconDiscovery } from '../../daemon/discovery/beacon/beacon.ts'
import { identityOf } from '../../daemon/identity/key.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { UdpEndpoint } from '../../daemon/network/udp-endpoint.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { freePort, LOOPBACK } from './loopback.ts'
import { describeMethod, type SuiteHost } from './method-suite.ts'
import { SightingLog } from './sighting-log.ts'

interface BeaconHost extends SuiteHost {
  readonly method: BeaconDiscovery
  readonly refusals: Refusals
}

/** Real time, in which nobody waits long. */
const hastyClock: Clock = { ...systemClock, after: (delay, task) => systemClock.after(delay / 20, task) }

let hosts = 0
const endpoints: UdpEndpoint[] = []
afterEach(async () => {
  await Promise.all(endpoints.splice(0).map((one) => one.close()))
})

async function create(broadcast = true, clock: Clock = systemClock): Promise<BeaconHost> {
  const identity = identityOf(generateKeyPairSync('ed25519').privateKey)
  const refusals = new Refusals()
  const endpoint = new UdpEndpoint({ clock, logger: silentLogger, refusals })
  endpoints.push(endpoint)
  await endpoint.bind(await freePort())
  return {
    method: new BeaconDiscovery({ identity, clock, logger: silentLogger, refusals, endpoint, broadcast }),
    announcement: { peer: identity.peer, name: `host ${hosts++}`, port: endpoint.port },
    interfaces: [LOOPBACK],
    refusals,
  }
}

describeMethod('the beacon on loopback', create)

describe('the prober', () => {
  test('finds the host at an address, proven, although neither broadcasts', async () => {
    const [a, b] = [await create(false), await create(false)]
    const [logA, logB] = [new SightingLog(), new SightingLog()]
    await Promise.all([
      a.method.start(a.announcement, a.interfaces, logA),
      b.method.start(b.announcement, b.interfaces, logB),
    ])
    try {
      expect(await a.method.probe({ address: '127.0.0.1', port: b.announcement.port }, 'lo')).toMatchObject({
        peer: b.announcement.peer,
        name: b.announcement.name,
        address: '127.0.0.1',
        port: b.announcement.port,
        proven: true,
      })
      expect([...logA.sightings, ...logB.sightings]).toEqual([])
    } finally {
      await Promise.all([a.method.stop(), b.method.stop()])
    }
  })

  test('gives nothing for an address where nobody lives, for oneself, and once stopped', async () => {
    const a = await create(true, hastyClock)
    await a.method.start(a.announcement, a.interfaces, new SightingLog())
    const nobody = await freePort()
    expect(await a.method.probe({ address: '127.0.0.1', port: nobody }, 'lo')).toBeUndefined()
    expect(await a.method.probe({ address: '127.0.0.1', port: a.announcement.port }, 'lo')).toBeUndefined()
    const pending = a.method.probe({ address: '127.0.0.1', port: nobody }, 'lo')
    await a.method.stop()
    expect(await pending).toBeUndefined()
    expect(await a.method.probe({ address: '127.0.0.1', port: nobody }, 'lo')).toBeUndefined()
  })

  test('gives nothing for an address it cannot send to', async () => {
    const a = await create(false, hastyClock)
    await a.method.start(a.announcement, a.interfaces, new SightingLog())
    expect(await a.method.probe({ address: 'fe80::1%nowhere', port: 47800 }, 'nowhere')).toBeUndefined()
    expect(await a.method.probe({ address: 'no address', port: 47800 }, 'lo')).toBeUndefined()
    await a.method.stop()
  })
})

describe('bad input at the beacon', () => {
  test('garbage of every size is refused and counted, answered by nothing, and disturbs no one', async () => {
    const [a, b] = [await create(), await create()]
    const log = new SightingLog()
    await a.method.start(a.announcement, a.interfaces, log)
    const attacker = createSocket('udp4')
    let answers = 0
    attacker.on('message', () => answers++)
    attacker.bind(0, '127.0.0.1')
    await once(attacker, 'listening')
    for (const size of [0, 1, 16, 255, 256, 257, 1400, 9000])
      for (let round = 0; round < 20; round++)
        await new Promise((done) => attacker.send(randomBytes(size), a.announcement.port, '127.0.0.1', done))
    await b.method.start(b.announcement, b.interfaces, new SightingLog())
    await log.untilSees(b.announcement.peer)
    expect(a.refusals.snapshot()['peer.malformed']).toBeGreaterThan(0)
    expect(answers).toBe(0)
    attacker.close()
    await Promise.all([a.method.stop(), b.method.stop()])
  })

  test('says so when its own port is taken by another program', async () => {
    const identity = identityOf(generateKeyPairSync('ed25519').privateKey)
    const common = { clock: systemClock, logger: silentLogger, refusals: new Refusals() }
    const endpoint = new UdpEndpoint(common)
    const squatter = createSocket('udp6')
    squatter.bind(0)
    await once(squatter, 'listening')
    const { port } = squatter.address()
    const method = new BeaconDiscovery({ ...common, identity, endpoint, broadcast: true })
    try {
      await expect(endpoint.bind(port)).rejects.toMatchObject({ code: 'local.port-taken' })
      await method.start({ peer: identity.peer, name: 'late', port }, [LOOPBACK], new SightingLog())
      expect(method.states()).toMatchObject([{ state: 'failed', detail: expect.stringContaining('not open') }])
    } finally {
      squatter.close()
      await method.stop()
      await endpoint.close()
    }
  })
})
