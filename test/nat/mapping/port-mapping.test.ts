import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../../daemon/logger.ts'
import { PortMapping } from '../../../daemon/nat/mapping/port-mapping.ts'
import { VirtualClock } from '../../virtual-clock.ts'
import { ScriptedProtocol } from './scripted-protocol.ts'
import { GATEWAY, settle } from './scripted-router.ts'

const PORT = 47_800
const HOUR = 3_600_000
const MINUTE = 60_000

class World {
  readonly clock = new VirtualClock()
  readonly pcp = new ScriptedProtocol('pcp', this.clock)
  readonly natPmp = new ScriptedProtocol('nat-pmp', this.clock)
  readonly upnp = new ScriptedProtocol('upnp', this.clock)
  changes = 0
  random = 0
  readonly mapping = new PortMapping({
    clock: this.clock,
    logger: silentLogger,
    gateway: GATEWAY,
    transport: 'udp',
    internalPort: PORT,
    random: () => this.random,
    protocols: () => [this.pcp, this.natPmp, this.upnp],
    wish: () => PORT,
    changed: () => void this.changes++,
  })

  /** What is seen of the mapping. */
  get view() {
    const { state, protocol, external, detail } = this.mapping
    return { state, protocol, external, detail }
  }

  /** Time passes, and what follows from it happens. */
  async pass(ms: number, step = Math.min(ms, 500)): Promise<void> {
    await settle()
    for (let passed = 0; passed < ms; passed += step) {
      this.clock.advance(Math.min(step, ms - passed))
      await settle()
    }
  }

  /** With a mapping by PCP. */
  async mapped(): Promise<this> {
    void this.mapping.start()
    await this.pass(1)
    expect(this.view).toMatchObject({
      state: 'mapped',
      protocol: 'pcp',
      external: { address: '11.99.0.1', port: PORT },
    })
    return this
  }

  /** Only these answer. */
  answering(...protocols: readonly ScriptedProtocol[]): this {
    for (const one of [this.pcp, this.natPmp, this.upnp]) if (!protocols.includes(one)) one.grant = () => undefined
    return this
  }

  get asked(): number[] {
    return [this.pcp, this.natPmp, this.upnp].map(({ asked }) => asked.length)
  }
}

describe('protocols', () => {
  test('are asked one after the other with a lead, and the others not at all where the first answers', async () => {
    const world = await new World().mapped()
    await world.pass(MINUTE)
    expect(world.asked).toEqual([1, 0, 0])
  })

  test('that do not answer do not keep the next from it', async () => {
    const world = new World().answering()
    void world.mapping.start()
    await world.pass(699)
    expect(world.asked).toEqual([1, 0, 0])
    await world.pass(1)
    expect(world.asked).toEqual([1, 1, 0])
    world.upnp.grant = () => ({ external: { address: '11.99.0.1', port: 5 }, lifetime: HOUR })
    await world.pass(800)
    expect(world.view).toMatchObject({ protocol: 'upnp', external: { port: 5 }, state: 'mapped' })
  })

  test('that refuse are told of, all of them, and asked again after 1, 5, 15 and 60 minutes', async () => {
    const world = new World()
    for (const one of [world.pcp, world.natPmp, world.upnp]) one.grant = () => `${one.name} is off`
    void world.mapping.start()
    await world.pass(2000)
    expect(world.mapping.state).toBe('failed')
    expect(world.mapping.detail).toMatch(/pcp: .*pcp is off.*; nat-pmp: .*; upnp: .*upnp is off/)
    expect(world.mapping.lifetime(world.clock.now())).toBe(0)
    await world.pass(4 * HOUR, 700)
    const pauses = world.pcp.asked.map(({ at }, index, all) => at - (all[index - 1]?.at ?? 0))
    expect(pauses.map((pause) => Math.floor(pause / MINUTE))).toEqual([0, 1, 5, 15, 60, 60, 60])
    world.pcp.grant = () => ({ external: { address: '11.99.0.1', port: 7 }, lifetime: HOUR })
    await world.pass(HOUR + MINUTE)
    expect(world.view).toMatchObject({ state: 'mapped', detail: '' })
  })

  test('whose answer comes too late gets it back, and what is held is asked for once more', async () => {
    const world = new World()
    world.pcp.delay = 1000
    world.natPmp.delay = 400
    world.natPmp.isDeaf = true
    world.natPmp.grant = () => ({ external: { address: '11.99.0.1', port: 9 }, lifetime: HOUR })
    void world.mapping.start()
    await world.pass(1000, 100)
    expect(world.mapping.protocol).toBe('pcp')
    await world.pass(100)
    expect(world.natPmp.given).toMatchObject([{ externalPort: 9 }])
    await world.pass(10_000)
    expect(world.pcp.asked).toHaveLength(2)
    expect(world.pcp.given).toEqual([])
    expect(world.mapping.external?.port).toBe(PORT)
  })
})

describe('a mapping', () => {
  test('is renewed at half its life, and some', async () => {
    const world = new World()
    world.pcp.grant = ({ externalPort }) => ({
      external: { address: '11.99.0.1', port: externalPort },
      lifetime: 1000_000,
    })
    world.random = 0.5
    await world.mapped()
    expect(world.mapping.lifetime(world.clock.now() + 1000)).toBe(998_999)
    await world.pass(549_000)
    expect(world.pcp.asked).toHaveLength(1)
    await world.pass(2000)
    expect(world.pcp.asked).toHaveLength(2)
    expect(world.asked).toEqual([2, 0, 0])
  })

  test.each([
    ['for ever', Number.POSITIVE_INFINITY, 30 * MINUTE],
    ['for longer than routers run', 0xffff_ffff * 1000, 30 * MINUTE],
    ['for two hours', 2 * HOUR, 30 * MINUTE],
    ['for a second', 1000, 4000],
  ])('that is granted %s is looked at in time', async (_name, lifetime, expected) => {
    const world = new World()
    world.pcp.grant = ({ externalPort }) => ({ external: { address: '11.99.0.1', port: externalPort }, lifetime })
    await world.mapped()
    const [first] = world.pcp.asked
    while (world.pcp.asked.length < 2 && world.clock.next !== undefined)
      await world.pass(world.clock.next - world.clock.now(), Number.POSITIVE_INFINITY)
    expect((world.pcp.asked[1]?.at ?? 0) - (first?.at ?? 0)).toBe(expected)
  })

  test('that gets another port has it from then on, and tells', async () => {
    const world = await new World().mapped()
    world.pcp.grant = () => ({ external: { address: '11.99.0.7', port: 1234 }, lifetime: 2 * HOUR })
    const before = world.changes
    await world.pass(30 * MINUTE)
    expect(world.mapping.external).toEqual({ address: '11.99.0.7', port: 1234 })
    expect(world.changes).toBe(before + 1)
    await world.pass(30 * MINUTE)
    expect(world.pcp.asked.at(-1)?.wish.externalPort).toBe(1234)
    expect(world.changes).toBe(before + 1)
  })

  test('whose router does not answer is asked for at half of what is left, kept as long as it lasts, and then by all', async () => {
    const world = await new World().mapped()
    for (const one of [world.pcp, world.natPmp, world.upnp]) one.grant = () => 'silent'
    await world.pass(HOUR + 30 * MINUTE, 5000)
    expect(world.view).toMatchObject({ state: 'mapped', external: { port: PORT } })
    await world.pass(HOUR, 5000)
    expect(world.mapping.external).toBeUndefined()
    expect(world.asked.every((count) => count > 0)).toBe(true)
    // Half, and half of that: never a storm.
    expect(world.pcp.asked.length).toBeLessThan(20)
    world.upnp.grant = () => ({ external: { address: '11.99.0.1', port: 2 }, lifetime: HOUR })
    await world.pass(HOUR, 5000)
    expect(world.view).toMatchObject({ state: 'mapped', protocol: 'upnp' })
  })

  test('that the router keeps for ever, and refuses all the same, is gone at once', async () => {
    const world = new World()
    world.pcp.grant = () => ({ external: { address: '11.99.0.1', port: PORT }, lifetime: Number.POSITIVE_INFINITY })
    await world.mapped()
    for (const one of [world.pcp, world.natPmp, world.upnp]) one.grant = () => 'no'
    await world.pass(30 * MINUTE + 3000)
    expect(world.view).toMatchObject({ state: 'failed', external: undefined })
  })
})

describe('a router that seems to have forgotten everything', () => {
  test('is asked at once, and grants it again', async () => {
    const world = await new World().mapped()
    await world.pass(10 * MINUTE, 5000)
    world.mapping.reset()
    await world.pass(1)
    expect(world.pcp.asked).toHaveLength(2)
    expect(world.mapping.external?.port).toBe(PORT)
  })

  test('again and again is asked less and less, until a renewal comes by itself', async () => {
    const world = await new World().mapped()
    for (let passed = 0; passed < 29 * MINUTE; passed += 1000) {
      world.mapping.reset()
      await world.pass(1000)
    }
    expect(world.pcp.asked.length).toBeLessThan(12)
    await world.pass(HOUR, 5000)
    const before = world.pcp.asked.length
    world.mapping.reset()
    await world.pass(4000)
    expect(world.pcp.asked).toHaveLength(before + 1)
  })

  test('and does not grant it again is asked by every protocol', async () => {
    const world = await new World().mapped()
    await world.pass(10 * MINUTE, 5000)
    world.pcp.grant = () => 'its own line is down'
    world.mapping.reset()
    await world.pass(1)
    expect(world.view).toMatchObject({ state: 'asking', external: undefined })
    await world.pass(1000)
    expect(world.view).toMatchObject({ state: 'mapped', protocol: 'nat-pmp' })
  })

  test('is asked where nothing was granted before', async () => {
    const world = new World()
    for (const one of [world.pcp, world.natPmp, world.upnp]) one.grant = () => 'starting'
    void world.mapping.start()
    await world.pass(5000)
    expect(world.mapping.state).toBe('failed')
    world.pcp.grant = ({ externalPort }) => ({ external: { address: '11.99.0.1', port: externalPort }, lifetime: HOUR })
    world.mapping.reset()
    await world.pass(4000)
    expect(world.mapping.state).toBe('mapped')
  })

  test('while it is being asked is not asked twice', async () => {
    const world = new World()
    world.pcp.delay = 500
    void world.mapping.start()
    await world.pass(100)
    world.mapping.reset()
    await world.pass(10_000)
    expect(world.asked).toEqual([1, 0, 0])
  })
})

describe('at the end', () => {
  test('a mapping is given back, once', async () => {
    const world = await new World().mapped()
    await world.mapping.close(1000)
    await world.mapping.close(1000)
    expect(world.pcp.given).toMatchObject([{ externalPort: PORT, transport: 'udp' }])
    expect(world.view).toMatchObject({ external: undefined, protocol: undefined })
    world.mapping.reset()
    await world.mapping.start()
    await world.pass(3 * HOUR, 60_000)
    expect(world.asked).toEqual([1, 0, 0])
    expect(world.clock.next).toBeUndefined()
  })

  test('what was asked for and not yet answered is given back too', async () => {
    const world = new World().answering()
    void world.mapping.start()
    await world.pass(800)
    await world.pass(1)
    await world.mapping.close(1000)
    await settle()
    expect([world.pcp, world.natPmp, world.upnp].map(({ given }) => given.length)).toEqual([1, 1, 0])
    expect(world.clock.next).toBeUndefined()
  })

  test('a router that does not answer is waited for no longer than told', async () => {
    const world = await new World().mapped()
    world.pcp.unmap = (_wish, signal) => new Promise((resolve) => signal?.addEventListener('abort', () => resolve()))
    let isOver = false
    const closing = world.mapping.close(1000).then(() => {
      isOver = true
    })
    await world.pass(999)
    expect(isOver).toBe(false)
    await world.pass(1)
    await closing
    expect(isOver).toBe(true)
  })
})
