import { describe, expect, test } from 'vitest'
import type {
  Announcement,
  DiscoveryEvents,
  DiscoveryMethod,
  DiscoveryState,
} from '../../daemon/discovery/discovery.ts'
import { Discovery } from '../../daemon/discovery/manager.ts'
import { silentLogger } from '../../daemon/logger.ts'
import type { Network, NetworkChange, NetworkInterface } from '../../daemon/network/network.ts'
import type { DiscoveryName, PeerId } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { pass } from './passing-time.ts'
import { SightingLog } from './sighting-log.ts'

const PEER = 'a'.repeat(52) as PeerId
const ME: Announcement = { peer: PEER, name: 'me', port: 47800 }

class FakeMethod implements DiscoveryMethod {
  readonly name: DiscoveryName
  readonly calls: string[] = []
  /** How many starts fail before one works. */
  failures: number
  running = false
  events: DiscoveryEvents | undefined
  throwOnChange = false

  constructor(name: DiscoveryName, failures = 0) {
    this.name = name
    this.failures = failures
  }

  get starts(): number {
    return this.calls.filter((call) => call.startsWith('start')).length
  }

  async start(announcement: Announcement, _: readonly NetworkInterface[], events: DiscoveryEvents): Promise<void> {
    this.calls.push(`start ${announcement.name}`)
    if (this.failures-- > 0) throw new Error('no socket')
    this.running = true
    this.events = events
  }

  async stop(): Promise<void> {
    this.calls.push('stop')
    this.running = false
  }

  networkChanged(): void {
    this.calls.push('networkChanged')
    if (this.throwOnChange) throw new Error('cannot change')
  }

  renamed(name: string): void {
    this.calls.push(`renamed ${name}`)
  }

  doubt(peer: PeerId): void {
    this.calls.push(`doubt ${peer}`)
  }

  states(): readonly DiscoveryState[] {
    return this.running ? [{ method: this.name, interface: 'eth0', state: 'active', detail: 'works' }] : []
  }
}

class FakeNetwork implements Network {
  readonly listeners = new Set<(change: NetworkChange) => void>()

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
  async check(): Promise<void> {}
  interfaces(): readonly NetworkInterface[] {
    return []
  }
  onChange(listener: (change: NetworkChange) => void): () => void {
    this.listeners.add(listener)
    return () => this.listeners.delete(listener)
  }
  change(): void {
    for (const listener of this.listeners)
      listener({ interfaces: [], appeared: [], vanished: [], altered: ['eth0'], slept: 0 })
  }
}

function create(...methods: readonly FakeMethod[]) {
  const clock = new VirtualClock()
  const network = new FakeNetwork()
  const log = new SightingLog()
  const discovery = new Discovery({ methods, network, clock, logger: silentLogger })
  return { clock, network, log, discovery }
}

describe('discovery as a whole', () => {
  test('starts every method and gives the states of all', async () => {
    const { discovery, log } = create(new FakeMethod('mdns'), new FakeMethod('beacon'))
    await discovery.start(ME, log)
    expect(discovery.states().map(({ method, state }) => `${method} ${state}`)).toEqual([
      'mdns active',
      'beacon active',
    ])
    await discovery.stop()
  })

  test('a method that fails stops no other, is shown as failed, and is started again until it works', async () => {
    const broken = new FakeMethod('mdns', 3)
    const { clock, discovery, log } = create(broken, new FakeMethod('beacon'))
    await discovery.start(ME, log)
    expect(discovery.states()).toEqual(
      expect.arrayContaining([
        expect.objectContaining({ method: 'beacon', state: 'active' }),
        expect.objectContaining({ method: 'mdns', state: 'failed', detail: expect.stringContaining('no socket') }),
      ]),
    )
    await pass(clock, 120_000, 1000)
    expect(broken.running).toBe(true)
    expect(broken.starts).toBe(4)
    expect(discovery.states().map(({ state }) => state)).toEqual(['active', 'active'])
    await discovery.stop()
  })

  test('a method that never works is tried ever less', async () => {
    const broken = new FakeMethod('mdns', 1000)
    const { clock, discovery, log } = create(broken)
    await discovery.start(ME, log)
    await pass(clock, 60_000, 1000)
    const first = broken.starts
    await pass(clock, 3_600_000, 1000)
    expect(first).toBeGreaterThan(1)
    expect(broken.starts - first).toBeLessThan(60 * first)
    await discovery.stop()
  })

  test('a method that comes late has the newest name', async () => {
    const broken = new FakeMethod('mdns', 1)
    const { clock, discovery, log } = create(broken)
    await discovery.start(ME, log)
    discovery.rename('new name')
    await pass(clock, 120_000, 1000)
    expect(broken.calls.join()).toContain('new name')
    await discovery.stop()
  })

  test('network changes and names reach every method, although one throws', async () => {
    const bad = new FakeMethod('mdns')
    bad.throwOnChange = true
    const good = new FakeMethod('beacon')
    const { discovery, network, log } = create(bad, good)
    await discovery.start(ME, log)
    network.change()
    discovery.rename('new name')
    expect(good.calls).toEqual(['start me', 'networkChanged', 'renamed new name'])
    await discovery.stop()
  })

  test('what one method hears of a host that is gone, the others are told', async () => {
    const [mdns, hint] = [new FakeMethod('mdns'), new FakeMethod('hint')]
    const { discovery, log } = create(mdns, hint)
    await discovery.start(ME, log)
    mdns.events?.gone('p'.repeat(52) as PeerId, 'mdns', 'eth0')
    expect(hint.calls).toEqual(['start me', `doubt ${'p'.repeat(52)}`])
    expect(mdns.calls).toEqual(['start me'])
    await discovery.stop()
  })

  test('what a method sees reaches the listener', async () => {
    const method = new FakeMethod('mdns')
    const { discovery, log } = create(method)
    await discovery.start(ME, log)
    const sighting = {
      method: 'mdns',
      interface: 'eth0',
      address: '192.0.2.1',
      port: 1,
      name: 'x',
      proven: false,
    } as const
    const other = 'b'.repeat(52) as PeerId
    method.events?.seen({ ...sighting, peer: other })
    expect(log.current.map((one) => one.peer)).toEqual([other])
    await discovery.stop()
  })

  test('stopping stops every method, twice is safe, and nothing starts afterwards', async () => {
    const good = new FakeMethod('beacon')
    const broken = new FakeMethod('mdns', 1000)
    const { clock, discovery, network, log } = create(good, broken)
    await discovery.start(ME, log)
    await Promise.all([discovery.stop(), discovery.stop()])
    await discovery.stop()
    const before = broken.calls.length
    expect(good.running).toBe(false)
    expect(network.listeners.size).toBe(0)
    await pass(clock, 600_000, 1000)
    expect(broken.calls.length).toBe(before)
  })
})
