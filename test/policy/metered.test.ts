import { describe, expect, test } from 'vitest'
import { silentLogger } from '../../daemon/logger.ts'
import { MeteredNetworks } from '../../daemon/policy/metered.ts'
import { meteredDevices } from '../../daemon/policy/network-manager.ts'
import { networkInterface } from '../simulated-network.ts'
import { VirtualClock } from '../virtual-clock.ts'

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

class World {
  readonly clock = new VirtualClock()
  named: readonly string[] = []
  system: readonly string[] | undefined = []
  outside: Partial<Record<4 | 6, string>> = { 4: '10.0.0.5', 6: '2001:db8:1::5' }
  asked = 0
  changes = 0
  readonly networks = new MeteredNetworks({
    clock: this.clock,
    logger: silentLogger,
    interfaces: () => [
      networkInterface('eth0', ['192.168.50.1/24']),
      networkInterface('wwan0', ['10.0.0.5/30', '2001:db8:1::5/64']),
    ],
    named: () => this.named,
    ask: async () => {
      this.asked++
      return this.system
    },
    leavesFrom: async (family) => this.outside[family],
    onChange: () => this.changes++,
  })
}

describe('metered networks', () => {
  test('are those that the owner names and those that the system does, where they are up', async () => {
    const world = new World()
    world.named = ['wwan0', 'gone0']
    expect(world.networks.names()).toEqual(['wwan0'])
    world.named = []
    world.system = ['eth0', 'gone0']
    await world.networks.look()
    expect([world.networks.names(), world.changes]).toEqual([['eth0'], 1])
    await world.networks.look()
    expect(world.changes).toBe(1)
  })

  test('are told by where packets leave, or go, or where the way to the internet is', async () => {
    const world = new World()
    world.named = ['wwan0']
    await world.networks.look()
    const { networks } = world
    expect([
      networks.isMetered({ from: '10.0.0.5' }),
      networks.isMetered({ from: '192.168.50.1', to: '203.0.113.1' }),
    ]).toEqual([true, false])
    expect([networks.isMetered({ to: '192.168.50.9' }), networks.isMetered({ to: '10.0.0.6' })]).toEqual([false, true])
    expect([
      networks.isMetered({ to: '203.0.113.1' }),
      networks.isMetered({ to: '2001:db8:9::1' }),
      networks.isMetered({}),
    ]).toEqual([true, true, true])
    world.outside = { 4: '192.168.50.1' }
    await networks.look()
    expect([networks.isMetered({ to: '203.0.113.1' }), networks.isMetered({})]).toEqual([false, false])
  })

  test('are asked about again in time, but not of a system that never tells', async () => {
    const world = new World()
    await world.networks.look()
    world.clock.advance(60_000)
    await settled()
    expect(world.asked).toBe(2)
    world.system = undefined
    world.clock.advance(60_000)
    await settled()
    world.clock.advance(60_000)
    await settled()
    expect(world.asked).toBe(3)
    world.networks.stop()
    world.clock.advance(600_000)
    expect(world.asked).toBe(3)
  })
})

test("NetworkManager's word is read, whatever device it is of", () => {
  const output = [
    'GENERAL.DEVICE:wlan0\nGENERAL.METERED:yes (guessed)\n',
    'GENERAL.DEVICE:eth0\nGENERAL.METERED:no (guessed)\n',
    'GENERAL.DEVICE:wwan0\nGENERAL.METERED:yes\n',
    'GENERAL.DEVICE:AA\\:BB\nGENERAL.METERED:yes\n',
    'GENERAL.DEVICE:lo\nGENERAL.METERED:unknown\n',
  ].join('\n')
  expect(meteredDevices(output)).toEqual(['wlan0', 'wwan0', 'AA:BB'])
  expect(meteredDevices('')).toEqual([])
})
