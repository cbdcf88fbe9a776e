import { expect, test } from 'vitest'
import type { NetworkChange } from '../../daemon/network/network.ts'
import { networkInterface, SimulatedNetwork } from '../simulated-network.ts'

test('a simulated network tells what a test changes, until one no longer listens', () => {
  const [eth0, wlan0] = [networkInterface('eth0', ['10.0.0.1/8']), networkInterface('wlan0', ['192.168.1.2/24'])]
  const network = new SimulatedNetwork([eth0])
  const changes: NetworkChange[] = []
  const end = network.onChange((change) => changes.push(change))
  network.set([eth0, wlan0])
  network.set([networkInterface('eth0', ['10.0.0.2/8'])])
  network.sleep(60_000)
  end()
  network.set([])
  expect(network.interfaces()).toEqual([])
  expect(changes).toMatchObject([
    { appeared: ['wlan0'], vanished: [], altered: [], slept: 0 },
    { appeared: [], vanished: ['wlan0'], altered: ['eth0'], slept: 0 },
    { appeared: [], vanished: [], altered: [], slept: 60_000 },
  ])
})
