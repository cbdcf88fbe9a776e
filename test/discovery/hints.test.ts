import { generateKeyPairSync } from 'node:crypto'
import { describe, expect, test } from 'vitest'
import type { Prober } from '../../daemon/discovery/discovery.ts'
import { HintDiscovery } from '../../daemon/discovery/hints.ts'
import { identityOf } from '../../daemon/identity/key.ts'
import { silentLogger } from '../../daemon/logger.ts'
import type { HostPort, PeerId, Sighting } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { pass } from './passing-time.ts'
import { SightingLog } from './sighting-log.ts'

const newPeer = (): PeerId => identityOf(generateKeyPairSync('ed25519').privateKey).peer
const SELF = newPeer()
const SECOND = 1000
const MINUTE = 60 * SECOND

/** Hosts at addresses, which answer a probe or do not. */
class FakeProber implements Prober {
  readonly asked: { at: number; target: HostPort }[] = []
  readonly hosts = new Map<string, PeerId>()
  readonly #clock: VirtualClock

  constructor(clock: VirtualClock) {
    this.#clock = clock
  }

  async probe(target: HostPort): Promise<Sighting | undefined> {
    this.asked.push({ at: this.#clock.now(), target })
    const peer = this.hosts.get(target.address)
    return peer && { peer, method: 'beacon', interface: '', ...target, name: 'anna', proven: true }
  }

  get targets(): readonly HostPort[] {
    return this.asked.map(({ target }) => target)
  }

  /** When this address was asked. */
  times(address: string): readonly number[] {
    return this.asked.filter(({ target }) => target.address === address).map(({ at }) => at)
  }
}

interface Remembered extends HostPort {
  readonly peer: PeerId
}

function create(hints: readonly string[], remembered: readonly Remembered[] = []) {
  const clock = new VirtualClock()
  const prober = new FakeProber(clock)
  const dialled: HostPort[] = []
  const byTcp = new Map<string, PeerId>()
  const log = new SightingLog()
  const method = new HintDiscovery({
    clock,
    logger: silentLogger,
    hints,
    remembered: () => remembered,
    prober,
    dial: async (target: HostPort) => {
      dialled.push(target)
      const peer = byTcp.get(target.address)
      return peer && { peer, name: 'tom', port: target.port }
    },
  })
  const start = () => method.start({ peer: SELF, name: 'me', port: 47800 }, [], log)
  const woke = () => method.networkChanged({ interfaces: [], appeared: [], vanished: [], altered: [], slept: MINUTE })
  return { clock, prober, dialled, byTcp, log, method, start, woke }
}

describe('where hints lead', () => {
  test.for([
    ['192.0.2.1', { address: '192.0.2.1', port: 47800 }],
    ['192.0.2.1:5000', { address: '192.0.2.1', port: 5000 }],
    ['fd00::1', { address: 'fd00::1', port: 47800 }],
    ['[fd00::1]:5000', { address: 'fd00::1', port: 5000 }],
    ['[fd00::1]', { address: 'fd00::1', port: 47800 }],
    ['fe80::1%eth0', { address: 'fe80::1%eth0', port: 47800 }],
    ['[fe80::1%eth0]:5000', { address: 'fe80::1%eth0', port: 5000 }],
  ] as const)('%s is asked at start', async ([hint, target]) => {
    const { clock, prober, start, method } = create([hint])
    await start()
    await pass(clock, SECOND)
    expect(prober.targets).toContainEqual(target)
    await method.stop()
  })

  test.for([
    '',
    'anna',
    '192.0.2.1:',
    '192.0.2.1:0',
    '192.0.2.1:65536',
    '192.0.2.1:1x',
    '192.0.2',
    '[fd00::1',
    'fd00::1]:5',
    '[192.0.2.1]:5',
    '192.0.2.1 ',
  ])('"%s" is refused as a setting that does not fit', (hint) => {
    expect(() => create([hint])).toThrow(expect.objectContaining({ code: 'usage.invalid-setting' }))
  })

  test('addresses of the peer book are asked as well', async () => {
    const { clock, prober, start, method } = create([], [{ peer: newPeer(), address: '192.0.2.9', port: 4711 }])
    await start()
    await pass(clock, SECOND)
    expect(prober.targets).toContainEqual({ address: '192.0.2.9', port: 4711 })
    await method.stop()
  })
})

describe('what comes of hints', () => {
  test('a host that answers is seen, by the method hint, as proven', async () => {
    const { clock, prober, log, start, method } = create(['192.0.2.1'])
    const peer = newPeer()
    prober.hosts.set('192.0.2.1', peer)
    await start()
    await pass(clock, SECOND)
    expect(log.current).toEqual([
      { peer, method: 'hint', interface: '', address: '192.0.2.1', port: 47800, name: 'anna', proven: true },
    ])
    await method.stop()
  })

  test('a host that answers stays fresh, and is gone soon after it falls silent', async () => {
    const { clock, prober, log, start, method } = create(['192.0.2.1'])
    const peer = newPeer()
    prober.hosts.set('192.0.2.1', peer)
    await start()
    await pass(clock, MINUTE)
    expect(prober.times('192.0.2.1').length).toBeGreaterThanOrEqual(5)
    expect(log.of(peer)).toHaveLength(1)

    prober.hosts.clear()
    await pass(clock, 30 * SECOND)
    expect(log.current).toEqual([])
    prober.hosts.set('192.0.2.1', peer)
    await pass(clock, 6 * MINUTE)
    expect(log.of(peer)).toHaveLength(1)
    await method.stop()
  })

  test('a host that another method heard leave is looked for at once, and stays where it answers', async () => {
    const { clock, prober, log, method, start } = create(['192.0.2.1', '192.0.2.2'])
    const [anna, ben] = [newPeer(), newPeer()]
    prober.hosts.set('192.0.2.1', anna).set('192.0.2.2', ben)
    await start()
    await pass(clock, SECOND)
    method.doubt(anna)
    await pass(clock, SECOND)
    expect(log.current).toHaveLength(2)
    prober.hosts.delete('192.0.2.1')
    method.doubt(anna)
    await pass(clock, SECOND)
    expect(log.current.map(({ peer }) => peer)).toEqual([ben])
    expect(prober.times('192.0.2.2')).toHaveLength(1)
  })

  test('one missed answer takes nobody away', async () => {
    const { clock, prober, log, start, method } = create(['192.0.2.1'])
    const peer = newPeer()
    prober.hosts.set('192.0.2.1', peer)
    await start()
    await pass(clock, SECOND)
    const before = prober.asked.length
    prober.hosts.clear()
    while (prober.asked.length === before) await pass(clock, 250)
    prober.hosts.set('192.0.2.1', peer)
    await pass(clock, MINUTE)
    expect(log.of(peer)).toHaveLength(1)
    await method.stop()
  })

  test('another host at the address takes the place of the first', async () => {
    const { clock, prober, log, start, method } = create(['192.0.2.1'])
    const [first, second] = [newPeer(), newPeer()]
    prober.hosts.set('192.0.2.1', first)
    await start()
    await pass(clock, SECOND)
    prober.hosts.set('192.0.2.1', second)
    await pass(clock, MINUTE)
    expect(log.current.map((one) => one.peer)).toEqual([second])
    await method.stop()
  })

  test('where UDP is silent a link is dialled', async () => {
    const { clock, log, dialled, byTcp, start, method } = create(['192.0.2.1'])
    const peer = newPeer()
    byTcp.set('192.0.2.1', peer)
    await start()
    await pass(clock, 5 * SECOND)
    expect(dialled).toContainEqual({ address: '192.0.2.1', port: 47800 })
    expect(log.of(peer)).toMatchObject([{ method: 'hint', name: 'tom' }])
    await method.stop()
  })

  test('oneself is never seen', async () => {
    const { clock, prober, byTcp, log, start, method } = create(['192.0.2.1'])
    prober.hosts.set('192.0.2.1', SELF)
    byTcp.set('192.0.2.1', SELF)
    await start()
    await pass(clock, MINUTE)
    expect(log.sightings).toEqual([])
    await method.stop()
  })
})

describe('how often hints are asked', () => {
  test('a silent one ever less: first after 30 seconds, at last every 5 minutes', async () => {
    const { clock, prober, start, method } = create(['192.0.2.1'])
    await start()
    await pass(clock, 60 * MINUTE, SECOND)
    const times = prober.times('192.0.2.1')
    const gaps = times.slice(1).map((at, index) => at - (times[index] ?? 0))
    expect(gaps[0]).toBeLessThanOrEqual(45 * SECOND)
    expect(gaps.at(-1)).toBeGreaterThan(3 * MINUTE)
    expect(gaps.at(-1)).toBeLessThan(8 * MINUTE)
    await method.stop()
  })

  test('never more than 20 in a second, however many there are', async () => {
    const hints = Array.from({ length: 200 }, (_, index) => `10.0.${index >> 7}.${1 + (index & 127)}`)
    const { clock, prober, start, woke, method } = create(hints)
    await start()
    await pass(clock, 20 * SECOND, 50)
    expect(new Set(prober.targets.map((target) => target.address)).size).toBe(200)
    woke()
    await pass(clock, 20 * SECOND, 50)
    const times = prober.asked.map(({ at }) => at)
    for (const at of times)
      expect(times.filter((other) => other >= at && other < at + SECOND).length).toBeLessThanOrEqual(21)
    await method.stop()
  })

  test('at once again when the network changed or the machine woke', async () => {
    const { clock, prober, start, woke, method } = create(['192.0.2.1'])
    await start()
    await pass(clock, 10 * MINUTE, SECOND)
    const before = prober.asked.length
    woke()
    await pass(clock, 2 * SECOND)
    expect(prober.asked.length).toBeGreaterThan(before)
    await method.stop()
  })

  test('not at all once stopped, and stopping twice is safe', async () => {
    const { clock, prober, start, woke, method } = create(['192.0.2.1'])
    await start()
    await pass(clock, SECOND)
    await method.stop()
    await method.stop()
    const before = prober.asked.length
    woke()
    await pass(clock, 10 * MINUTE, SECOND)
    expect(prober.asked.length).toBe(before)
  })
})
