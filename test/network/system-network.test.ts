import type { NetworkInterfaceInfo } from 'node:os'
import { describe, expect, test } from 'vitest'
import type { Clock } from '../../daemon/clock.ts'
import { createLogger, type LogEntry } from '../../daemon/logger.ts'
import type { InterfaceFacts } from '../../daemon/network/interface-kind.ts'
import type { NetworkChange } from '../../daemon/network/network.ts'
import { SystemNetwork } from '../../daemon/network/system-network.ts'
import { VirtualClock } from '../virtual-clock.ts'

function info(cidr: string, scopeid = 0): NetworkInterfaceInfo {
  const [address = ''] = cidr.split('/')
  const common = { address, netmask: '', mac: '', internal: false, cidr }
  return address.includes(':') ? { ...common, family: 'IPv6', scopeid } : { ...common, family: 'IPv4' }
}

const LO = { lo: [info('127.0.0.1/8')] }
const ETH0 = { eth0: [info('192.168.1.2/24'), info('fd00::2/64'), info('fe80::2/64', 7)] }
const facts = (iface: string, told: Partial<InterfaceFacts> = {}): InterfaceFacts => ({
  ...{ iface, type: 'wired', virtual: false, speed: null, mtu: null },
  ...told,
})

interface Told {
  readonly include?: readonly string[]
  readonly exclude?: readonly string[]
  readonly facts?: readonly InterfaceFacts[] | Promise<readonly InterfaceFacts[]>
  readonly clock?: (virtual: VirtualClock) => Clock
}

/** A machine whose interfaces a test sets in `machine.has`. */
async function create(has: Record<string, NetworkInterfaceInfo[]>, { include = [], exclude = [], ...told }: Told = {}) {
  const clock = new VirtualClock()
  const machine = { has, asked: 0, facts: told.facts ?? [], fails: false }
  const logged: LogEntry[] = []
  const network = new SystemNetwork({
    clock: told.clock?.(clock) ?? clock,
    logger: createLogger('debug', (entry) => logged.push(entry)),
    include,
    exclude,
    read: () => {
      if (machine.fails) throw new Error('no netlink')
      return machine.has
    },
    readFacts: async () => {
      machine.asked++
      return machine.facts
    },
  })
  const changes: NetworkChange[] = []
  network.onChange((change) => changes.push(change))
  await network.start()
  const settled = () => new Promise((resolve) => setImmediate(resolve))
  await settled()
  /** Names of those that take part. */
  const participants = () => network.interfaces().flatMap(({ name, participating }) => (participating ? [name] : []))
  return { clock, machine, logged, network, changes, settled, participants }
}

describe('the interfaces of the machine', () => {
  test('are there after start, with kind, index, scope and broadcast address', async () => {
    const known = [facts('eth0', { speed: 1000, mtu: 1500 })]
    const { network } = await create({ ...LO, ...ETH0 }, { facts: known })
    expect(network.interfaces()).toEqual([
      {
        ...{ name: 'lo', index: 0, kind: 'loopback', participating: true, multicast: false },
        addresses: [{ address: '127.0.0.1', family: 4, prefix: 8, broadcast: '127.255.255.255', scope: 'loopback' }],
      },
      {
        ...{ name: 'eth0', index: 7, kind: 'cable', participating: true, multicast: true },
        ...{ speed: 1_000_000_000, mtu: 1500 },
        addresses: [
          { address: '192.168.1.2', family: 4, prefix: 24, broadcast: '192.168.1.255', scope: 'private' },
          { address: 'fd00::2', family: 6, prefix: 64, scope: 'private' },
          { address: 'fe80::2', family: 6, prefix: 64, scope: 'link-local' },
        ],
      },
    ])
  })

  test('take part, but for those of VPNs and containers', async () => {
    const at = [info('10.0.0.1/24')]
    const { participants } = await create({ ...LO, ...ETH0, wlan0: at, tun0: at, docker0: at })
    expect(participants()).toEqual(['lo', 'eth0', 'wlan0'])
  })

  test('take part if named, with the loopback and nothing else; a VPN too', async () => {
    const { participants } = await create({ ...LO, ...ETH0, tun0: [info('10.0.0.1/24')] }, { include: ['tun0'] })
    expect(participants()).toEqual(['lo', 'tun0'])
  })

  test('take no part if excluded, the loopback or a named one either', async () => {
    const { participants } = await create({ ...LO, ...ETH0 }, { include: ['eth0'], exclude: ['eth0', 'lo'] })
    expect(participants()).toEqual([])
  })

  test('with a name that tells nothing wait for what the system knows', async () => {
    const { promise, resolve } = Promise.withResolvers<readonly InterfaceFacts[]>()
    const at = [info('10.0.0.1/24')]
    const { participants, changes, settled } = await create({ ...ETH0, real: at, fake: at }, { facts: promise })
    expect(participants()).toEqual(['eth0'])
    resolve([facts('real'), facts('fake', { virtual: true })])
    await settled()
    expect(participants()).toEqual(['eth0', 'real'])
    expect(changes).toMatchObject([{ altered: ['real'] }])
  })

  test('with a name that tells nothing take part when the system has said nothing for long', async () => {
    const { clock, participants, settled } = await create(
      { odd: [info('10.0.0.1/24')] },
      { facts: new Promise(() => {}) },
    )
    clock.advance(1000)
    expect(participants()).toEqual([])
    clock.advance(1000)
    expect(participants()).toEqual(['odd'])
    await settled()
  })

  test('with a name that tells nothing do so also while the system still owes an answer for others', async () => {
    const { clock, machine, participants } = await create(ETH0, { facts: new Promise(() => {}) })
    clock.advance(2000)
    machine.has = { ...ETH0, odd: [info('10.0.0.1/24')] }
    clock.advance(3000)
    expect(participants()).toEqual(['eth0'])
    clock.advance(1000)
    expect(participants()).toEqual(['eth0', 'odd'])
  })

  test('with a name that tells nothing each wait their own time, whatever others began to wait before', async () => {
    const { clock, machine, network, participants } = await create(ETH0, { facts: new Promise(() => {}) })
    clock.advance(1000)
    machine.has = { ...ETH0, odd: [info('10.0.0.1/24')] }
    await network.check()
    clock.advance(1000)
    expect(participants()).toEqual(['eth0'])
    clock.advance(1000)
    expect(participants()).toEqual(['eth0', 'odd'])
  })

  test('stop taking part when the system says late that they are virtual, and that is told', async () => {
    const { promise, resolve } = Promise.withResolvers<readonly InterfaceFacts[]>()
    const { clock, participants, changes, settled } = await create({ odd: [info('10.0.0.1/24')] }, { facts: promise })
    clock.advance(60_000)
    expect(participants()).toEqual(['odd'])
    resolve([facts('odd', { virtual: true })])
    await settled()
    expect(participants()).toEqual([])
    expect(changes).toMatchObject([{ altered: ['odd'] }, { altered: ['odd'] }])
  })

  test('are known better when the system says late what they are, of which nobody need be told', async () => {
    const { promise, resolve } = Promise.withResolvers<readonly InterfaceFacts[]>()
    const { clock, network, changes, settled } = await create({ en0: [info('10.0.0.1/24')] }, { facts: promise })
    clock.advance(60_000)
    expect(network.interfaces()).toMatchObject([{ kind: 'cable', participating: true }])
    resolve([facts('en0', { type: 'wireless', speed: 300 })])
    await settled()
    clock.advance(60_000)
    expect(network.interfaces()).toMatchObject([{ kind: 'wifi', participating: true, speed: 300_000_000 }])
    expect(changes).toEqual([])
  })

  test('are there as soon as start is done, however slow the system is', async () => {
    const { clock, network } = await create(ETH0, { facts: new Promise(() => {}) })
    expect(clock.now()).toBe(0)
    expect(network.interfaces()).toHaveLength(1)
  })

  test('have to do with their names when the system cannot be asked', async () => {
    const failing = Promise.reject(new Error('no such tool'))
    const { participants, logged } = await create({ ...ETH0, odd: [info('10.0.0.1/24')] }, { facts: failing })
    expect(participants()).toEqual(['eth0', 'odd'])
    expect(logged).toMatchObject([{ level: 'warn', facts: { error: 'Error: no such tool' } }, { level: 'info' }])
  })
})

describe('a change of the network', () => {
  test.each<[string, Record<string, NetworkInterfaceInfo[]>, Partial<NetworkChange>]>([
    ['a cable that is pulled', LO, { vanished: ['eth0'] }],
    ['a new interface', { ...LO, ...ETH0, eth1: [info('10.0.0.1/24')] }, { appeared: ['eth1'] }],
    ['a new address', { ...LO, eth0: [...ETH0.eth0, info('10.0.0.1/24')] }, { altered: ['eth0'] }],
    ['another prefix', { ...LO, eth0: [info('192.168.1.2/16'), ...ETH0.eth0.slice(1)] }, { altered: ['eth0'] }],
    [
      'a device that was replaced by one with the same addresses',
      { ...LO, eth0: [...ETH0.eth0.slice(0, 2), info('fe80::2/64', 8)] },
      { altered: ['eth0'] },
    ],
    ['another network', { ...LO, wlan0: [info('172.16.0.5/16')] }, { appeared: ['wlan0'], vanished: ['eth0'] }],
  ])('is told: %s', async (_what, then, expected) => {
    const { clock, machine, network, changes, settled } = await create({ ...LO, ...ETH0 })
    machine.has = then
    clock.advance(5000)
    await settled()
    clock.advance(60_000)
    const none = { appeared: [], vanished: [], altered: [], slept: 0 }
    expect(changes).toEqual([{ ...none, ...expected, interfaces: network.interfaces() }])
    expect(network.interfaces().map(({ name }) => name)).toEqual(Object.keys(then))
  })

  test('is told when a cable is put back', async () => {
    const { clock, machine, changes } = await create({ ...LO, ...ETH0 })
    machine.has = LO
    clock.advance(5000)
    machine.has = { ...LO, ...ETH0 }
    clock.advance(5000)
    expect(changes).toMatchObject([{ vanished: ['eth0'] }, { appeared: ['eth0'] }])
  })

  test('is seen at once when one asks', async () => {
    const { machine, network, changes } = await create({ ...LO, ...ETH0 })
    machine.has = LO
    await network.check()
    expect(changes).toMatchObject([{ vanished: ['eth0'] }])
  })

  test('is not told when there is none, addresses in another order included', async () => {
    const { clock, machine, changes } = await create({ ...LO, ...ETH0 })
    machine.has = { eth0: ETH0.eth0.toReversed(), ...LO }
    clock.advance(3_600_000)
    expect(changes).toEqual([])
  })

  test('reaches every listener, whatever another one does', async () => {
    const { clock, machine, network, logged } = await create({ ...LO, ...ETH0 })
    const heard: string[] = []
    const end = network.onChange(() => heard.push('first'))
    network.onChange(() => {
      end()
      throw new Error('broken')
    })
    network.onChange(() => heard.push('last'))
    machine.has = LO
    clock.advance(2000)
    machine.has = { ...LO, ...ETH0 }
    clock.advance(2000)
    expect(heard).toEqual(['first', 'last', 'last'])
    expect(logged.filter(({ level }) => level === 'error')).toHaveLength(2)
  })

  test('is not told after stop', async () => {
    const { clock, machine, network, changes } = await create({ ...LO, ...ETH0 })
    await network.stop()
    await network.stop()
    machine.has = LO
    clock.advance(60_000)
    await network.check()
    expect(changes).toEqual([])
    expect(clock.next).toBeUndefined()
  })

  test('may make a listener stop and start the watch, which then still looks once at a time', async () => {
    const { clock, machine, network, settled } = await create({ ...LO, ...ETH0 })
    network.onChange(() => {
      void network.stop()
      void network.start()
    })
    machine.has = LO
    clock.advance(2000)
    await settled()
    await network.stop()
    expect(clock.next).toBeUndefined()
  })

  test('is told again after stop and start, to those who listen anew', async () => {
    const { clock, machine, network, changes } = await create({ ...LO, ...ETH0 })
    await network.stop()
    machine.has = LO
    await network.start()
    expect(network.interfaces()).toHaveLength(1)
    network.onChange((change) => changes.push(change))
    machine.has = { ...LO, ...ETH0 }
    clock.advance(2000)
    expect(changes).toMatchObject([{ appeared: ['eth0'] }])
  })

  test('is not made up when the system no longer tells: the last known interfaces stay, and one line is logged', async () => {
    const { clock, machine, network, changes, logged } = await create({ ...LO, ...ETH0 })
    machine.fails = true
    clock.advance(60_000)
    expect(changes).toEqual([])
    expect(network.interfaces()).toHaveLength(2)
    expect(logged).toMatchObject([{ level: 'error', message: 'cannot list the interfaces' }])
    machine.fails = false
    machine.has = LO
    clock.advance(2000)
    expect(changes).toMatchObject([{ vanished: ['eth0'] }])
  })

  test('starts with no interfaces where the system never tells', async () => {
    const { machine, network, clock } = await create(ETH0)
    await network.stop()
    machine.fails = true
    await network.start()
    expect(network.interfaces()).toEqual([])
    machine.fails = false
    clock.advance(2000)
    expect(network.interfaces()).toHaveLength(1)
  })
})

describe('the system is asked for what it knows', () => {
  test('once at start, and never in a loop', async () => {
    const { clock, machine, network } = await create({ ...LO, ...ETH0 })
    await network.start()
    clock.advance(3_600_000)
    expect(machine.asked).toBe(1)
  })

  test('when a name is new, not when a known one comes back, nor for each container', async () => {
    const { clock, machine, settled } = await create({ ...LO, ...ETH0 })
    const steps = [{ ...LO, eth1: [info('10.0.0.1/24')] }, LO, { ...LO, ...ETH0 }]
    for (const has of [...steps, { ...LO, veth12ab34c: [info('10.0.0.1/24')] }, { tun0: [info('10.0.0.1/24')] }]) {
      machine.has = has
      clock.advance(2000)
      await settled()
    }
    expect(machine.asked).toBe(2)
  })

  test('once more, not twice at a time, when a name appears while it is being asked', async () => {
    const { promise, resolve } = Promise.withResolvers<readonly InterfaceFacts[]>()
    const { clock, machine, settled, participants } = await create(ETH0, { facts: promise })
    const at = [info('10.0.0.1/24')]
    machine.has = { ...ETH0, odd: at }
    clock.advance(2000)
    machine.has = { ...ETH0, odd: at, odder: at }
    clock.advance(2000)
    expect(machine.asked).toBe(1)
    machine.facts = [facts('odd', { virtual: true }), facts('odder')]
    resolve([])
    await settled()
    expect(machine.asked).toBe(2)
    expect(participants()).toEqual(['eth0', 'odder'])
  })

  test('and what it told is forgotten when very many names have come and gone', async () => {
    const { clock, machine, settled } = await create(ETH0)
    for (let i = 0; i < 300; i++) {
      machine.has = { ...ETH0, [`usb${i}`]: [info('10.0.0.1/24')] }
      clock.advance(2000)
      await settled()
    }
    const before = machine.asked
    machine.has = { ...ETH0, usb0: [info('10.0.0.1/24')] }
    clock.advance(2000)
    await settled()
    expect(machine.asked).toBe(before + 1)
  })
})

describe('a sleep of the machine', () => {
  test('is told where the monotonic clock stands still meanwhile, as on Linux', async () => {
    const { clock, changes } = await create(ETH0)
    clock.advance(1000)
    clock.setWall(clock.wall() + 3_600_000)
    clock.advance(60_000)
    expect(changes).toMatchObject([{ slept: 3_600_000, appeared: [], vanished: [], altered: [] }])
  })

  test('is told where the monotonic clock runs on meanwhile, as on macOS and Windows', async () => {
    let slept = 0
    const { clock, changes } = await create(ETH0, {
      clock: (virtual) => ({
        now: () => virtual.now() + slept,
        wall: () => virtual.wall() + slept,
        after: (delay, task) => virtual.after(delay, task),
      }),
    })
    clock.advance(1000)
    slept = 3_600_000
    clock.advance(60_000)
    expect(changes).toMatchObject([{ slept: 3_600_000 }])
  })

  test('is told together with what changed meanwhile', async () => {
    const { clock, machine, changes } = await create(ETH0)
    clock.setWall(clock.wall() + 60_000)
    machine.has = { wlan0: [info('172.16.0.5/16')] }
    clock.advance(2000)
    expect(changes).toMatchObject([{ slept: 60_000, appeared: ['wlan0'], vanished: ['eth0'] }])
  })

  test.each([
    ['set back', -3_600_000],
    ['corrected by seconds', 4000],
  ])('is not made up when the wall clock is %s', async (_what, jump) => {
    const { clock, changes } = await create(ETH0)
    clock.setWall(clock.wall() + jump)
    clock.advance(60_000)
    expect(changes).toEqual([])
  })
})
