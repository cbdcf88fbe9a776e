import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../daemon/logger.ts'
import type { Announcement } from '../../../daemon/nat/mapping/announcements.ts'
import { PortMapper } from '../../../daemon/nat/mapping/mapper.ts'
import type { Gateway } from '../../../daemon/nat/mapping/protocol.ts'
import { VirtualClock } from '../../virtual-clock.ts'
import { ScriptedProtocol } from './scripted-protocol.ts'
import { GATEWAY, GATEWAY_6, settle } from './scripted-router.ts'

const PORT = 47_800
const MINUTE = 60_000

class World {
  readonly clock = new VirtualClock()
  readonly pcp = new ScriptedProtocol('pcp', this.clock)
  readonly upnp = new ScriptedProtocol('upnp', this.clock)
  port = PORT
  isWanted = true
  gateways: readonly Gateway[] = [GATEWAY]
  /** How often it was looked for routers. */
  looks = 0
  hear: ((announcement: Announcement, from: string) => void) | undefined
  readonly mapper = new PortMapper({
    clock: this.clock,
    logger: silentLogger,
    random: () => 0,
    port: () => this.port,
    isWanted: () => this.isWanted,
    protocols: [this.pcp, this.upnp],
    gateways: () => {
      this.looks++
      return Promise.resolve(this.gateways)
    },
    listen: (heard) => {
      this.hear = heard
      return () => {
        this.hear = undefined
      }
    },
  })

  async pass(ms: number, step = Math.min(ms, 100)): Promise<void> {
    await settle()
    for (let passed = 0; passed < ms; passed += step) {
      this.clock.advance(Math.min(step, ms - passed))
      await settle()
    }
  }

  /** With a network, as it is after a moment. */
  async begin(): Promise<this> {
    this.mapper.networkChanged([])
    await this.pass(400)
    return this
  }

  get asked(): string[] {
    return this.pcp.asked.map(({ wish }) => `${wish.transport} ${wish.externalPort}`)
  }

  get given(): string[] {
    return this.pcp.given.map(({ transport, gateway }) => `${transport} ${gateway.address}`)
  }
}

describe('the ports of this host', () => {
  test('are mapped, TCP first, and told as a candidate and as an address', async () => {
    const world = await new World().begin()
    expect(world.asked).toEqual([`tcp ${PORT}`, `udp ${PORT}`])
    expect(world.mapper.addresses()).toEqual([{ address: '11.99.0.1', port: PORT }])
    expect(world.mapper.candidates()).toMatchObject([
      {
        kind: 'mapped',
        address: '11.99.0.1',
        port: PORT,
        interface: 'eth0',
        related: { address: GATEWAY.own, port: PORT },
      },
    ])
    expect(world.mapper.status()).toMatchObject([
      { transport: 'tcp', gateway: '192.168.1.1', protocol: 'pcp', state: 'mapped', isDoubleNat: false },
      { transport: 'udp', state: 'mapped', lifetime: 7_200_000 - 100 },
    ])
  })

  test('get the same number for UDP that TCP was given', async () => {
    const world = new World()
    world.pcp.grant = ({ transport, externalPort, lifetime }) => ({
      external: { address: '11.99.0.1', port: transport === 'tcp' ? 50_001 : externalPort },
      lifetime,
    })
    await world.begin()
    expect(world.asked).toEqual([`tcp ${PORT}`, 'udp 50001'])
  })

  test('are asked for first by what the router has understood before', async () => {
    const world = new World()
    world.pcp.grant = () => 'off'
    await world.begin()
    await world.pass(1000)
    expect(world.mapper.status().map(({ protocol }) => protocol)).toEqual(['upnp', 'upnp'])
    expect([world.pcp.asked.length, world.upnp.asked.length]).toEqual([1, 2])
  })

  test('of IPv6 get a hole in the router, and no candidate: the address is known already', async () => {
    const world = new World()
    world.gateways = [GATEWAY_6]
    world.pcp.grant = ({ gateway, internalPort, lifetime }) => ({
      external: { address: gateway.own, port: internalPort },
      lifetime,
    })
    await world.begin()
    expect(world.mapper.addresses()).toEqual([{ address: '2001:db8::11', port: PORT }])
    expect(world.mapper.candidates()).toEqual([])
    expect(world.mapper.status()).toMatchObject([{ isDoubleNat: false }, { isDoubleNat: false }])
  })

  test.each([
    '10.0.0.7',
    '192.168.0.2',
    '100.64.3.4',
    '169.254.1.1',
    '127.0.0.1',
    '0.0.0.0',
    '203.0.113.9',
    '240.0.0.1',
  ])('behind a router that is %s itself are behind another NAT, and told nobody', async (address) => {
    const world = new World()
    world.pcp.grant = ({ externalPort, lifetime }) => ({ external: { address, port: externalPort }, lifetime })
    await world.begin()
    expect(world.mapper.status()).toMatchObject([{ isDoubleNat: true, state: 'mapped' }, { isDoubleNat: true }])
    expect(world.mapper.addresses()).toEqual([])
    expect(world.mapper.candidates()).toEqual([])
  })

  test.each([
    ['there is no router', { gateways: [] }],
    ['the address is public', { gateways: [{ ...GATEWAY, own: '11.99.0.5' }] }],
    ['the owner does not want it', { isWanted: false }],
    ['there is no port', { port: 0 }],
    ['the port is a privileged one', { port: 443 }],
  ])('are not mapped where %s', async (_name, change) => {
    const world = Object.assign(new World(), change)
    await world.begin()
    expect(world.asked).toEqual([])
    expect(world.mapper.status()).toEqual([])
    expect(world.hear).toBeUndefined()
  })

  test('are kept whether anybody looks for a way or not', async () => {
    const world = await new World().begin()
    world.mapper.want()()
    await world.pass(1000)
    expect(world.given).toEqual([])
  })
})

describe('when something changes', () => {
  test('the setting gives ports back, and maps them again once that is done', async () => {
    const world = await new World().begin()
    world.isWanted = false
    world.mapper.settingsChanged()
    await world.pass(400)
    expect(world.given).toEqual(['tcp 192.168.1.1', 'udp 192.168.1.1'])
    expect(world.mapper.addresses()).toEqual([])
    expect(world.hear).toBeUndefined()
    world.isWanted = true
    world.mapper.settingsChanged()
    await world.pass(400)
    expect(world.mapper.addresses()).toHaveLength(1)
  })

  test('a router that is slow to take back is asked again only then', async () => {
    const world = await new World().begin()
    const { promise, resolve } = Promise.withResolvers<void>()
    world.pcp.unmap = () => promise
    world.isWanted = false
    world.mapper.settingsChanged()
    await world.pass(400)
    world.isWanted = true
    world.mapper.settingsChanged()
    await world.pass(400)
    expect(world.asked).toHaveLength(2)
    resolve()
    await world.pass(1)
    expect(world.asked).toHaveLength(4)
  })

  test('another router is asked, and the one before gets its ports back', async () => {
    const world = await new World().begin()
    world.gateways = [{ ...GATEWAY, address: '192.168.9.1', own: '192.168.9.11' }]
    world.mapper.networkChanged([])
    await world.pass(400)
    expect(world.given).toEqual(['tcp 192.168.1.1', 'udp 192.168.1.1'])
    expect(world.mapper.status().map(({ gateway }) => gateway)).toEqual(['192.168.9.1', '192.168.9.1'])
  })

  test('a second router leaves the mappings of the first as they are', async () => {
    const world = await new World().begin()
    world.gateways = [GATEWAY, GATEWAY_6]
    world.mapper.networkChanged([])
    await world.pass(400)
    expect(world.asked).toHaveLength(4)
    expect(world.given).toEqual([])
    world.gateways = [GATEWAY]
    world.mapper.networkChanged([])
    await world.pass(400)
    expect(world.asked).toHaveLength(4)
    expect(world.given).toEqual([`tcp ${GATEWAY_6.address}`, `udp ${GATEWAY_6.address}`])
  })

  test('a router that is still the same is asked whether it has the mappings still', async () => {
    const world = await new World().begin()
    await world.pass(MINUTE, 1000)
    world.mapper.networkChanged([])
    await world.pass(400)
    expect(world.asked).toHaveLength(4)
    expect(world.given).toEqual([])
  })

  test('a storm of changes is one look every 300 ms, and a few questions', async () => {
    const world = new World()
    for (let change = 0; change < 1000; change++) {
      world.mapper.networkChanged([])
      await world.pass(3)
    }
    expect(world.looks).toBeGreaterThan(5)
    expect(world.looks).toBeLessThanOrEqual(10)
    expect(world.asked).toHaveLength(2)
    for (let change = 0; change < 1000; change++) {
      world.mapper.networkChanged([])
      await world.pass(300)
    }
    expect(world.asked.length).toBeLessThan(2 * 10)
  })

  test('a route that comes late, or changes without a word, is found', async () => {
    const world = new World()
    world.gateways = []
    await world.begin()
    world.gateways = [GATEWAY]
    await world.pass(5000)
    expect(world.mapper.addresses()).toHaveLength(1)
    world.gateways = [{ ...GATEWAY, address: '192.168.1.254' }]
    await world.pass(5 * MINUTE, 10_000)
    expect(world.mapper.status()[0]?.gateway).toBe('192.168.1.254')
  })

  test('a look that takes long does not undo what a later one found', async () => {
    const world = new World()
    const slow = Promise.withResolvers<readonly Gateway[]>()
    const gateways = [slow.promise, Promise.resolve([GATEWAY])]
    const mapper = new PortMapper({
      clock: world.clock,
      logger: silentLogger,
      random: () => 0,
      port: () => PORT,
      isWanted: () => true,
      protocols: [world.pcp],
      gateways: () => gateways.shift() ?? Promise.resolve([GATEWAY]),
      listen: () => () => {},
    })
    mapper.networkChanged([])
    await world.pass(400)
    mapper.networkChanged([])
    await world.pass(400)
    slow.resolve([])
    await world.pass(1)
    expect(mapper.addresses()).toHaveLength(1)
    await mapper.close()
  })

  test('listeners are told, until they stop listening', async () => {
    const world = new World()
    let changes = 0
    const stop = world.mapper.onChange(() => void changes++)
    await world.begin()
    expect(changes).toBeGreaterThan(0)
    stop()
    const before = changes
    await world.mapper.close()
    expect(changes).toBe(before)
  })
})

describe('a router that has begun anew', () => {
  test('as its protocol says, is asked for all of it', async () => {
    const world = await new World().begin()
    await world.pass(MINUTE, 1000)
    world.pcp.reset()
    await world.pass(1)
    expect(world.asked).toHaveLength(4)
  })

  test('as it tells everybody, is asked once for all that it repeats', async () => {
    const world = await new World().begin()
    await world.pass(MINUTE, 1000)
    for (const pause of [250, 500, 1000, 2000, 4000, 8000, 16_000]) {
      world.hear?.({ epoch: Math.floor(world.clock.now() / 1000) - 60 }, GATEWAY.address)
      await world.pass(pause)
    }
    expect(world.asked).toHaveLength(4)
  })

  test('and has another address is asked for it', async () => {
    const world = await new World().begin()
    const epoch = () => 1000 + Math.floor(world.clock.now() / 1000)
    await world.pass(MINUTE, 1000)
    world.hear?.({ epoch: epoch(), address: '11.99.0.1' }, GATEWAY.address)
    await world.pass(10_000)
    expect(world.asked).toHaveLength(4)
    world.pcp.grant = ({ externalPort, lifetime }) => ({
      external: { address: '11.99.0.9', port: externalPort },
      lifetime,
    })
    world.hear?.({ epoch: epoch(), address: '11.99.0.9' }, GATEWAY.address)
    await world.pass(10_000)
    expect(world.asked).toHaveLength(6)
    expect(world.mapper.addresses()).toEqual([{ address: '11.99.0.9', port: PORT }])
    world.hear?.({ epoch: epoch(), address: '11.99.0.9' }, GATEWAY.address)
    await world.pass(10_000)
    expect(world.asked).toHaveLength(6)
  })

  test('as somebody else says, is not asked', async () => {
    const world = await new World().begin()
    await world.pass(MINUTE, 1000)
    for (const from of ['192.168.1.12', '::1', '']) world.hear?.({ epoch: 0 }, from)
    await world.pass(10_000)
    expect(world.asked).toHaveLength(2)
  })

  test('as somebody forges a thousand times, is asked a few times', async () => {
    const world = await new World().begin()
    for (let forged = 0; forged < 1000; forged++) {
      world.hear?.({ epoch: (forged * 7919) % 65_537, address: `11.99.1.${forged % 250}` }, GATEWAY.address)
      await world.pass(1000)
    }
    expect(world.asked.length).toBeLessThan(2 * 12)
    expect(world.mapper.addresses()).toHaveLength(1)
  })
})

test('at the end all is given back, nobody is heard any more, and nothing is left to do', async () => {
  const world = await new World().begin()
  world.mapper.networkChanged([])
  const closing = world.mapper.close()
  await world.pass(1)
  await closing
  await world.mapper.close()
  expect(world.given).toEqual(['tcp 192.168.1.1', 'udp 192.168.1.1'])
  expect(world.hear).toBeUndefined()
  expect(world.pcp.listeners).toBe(0)
  world.mapper.networkChanged([])
  await world.pass(MINUTE, 1000)
  expect(world.asked).toHaveLength(2)
  expect(world.clock.next).toBeUndefined()
})
