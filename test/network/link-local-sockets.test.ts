import { describe, expect, test } from 'vitest'
import type { DatagramSocket } from '../../daemon/network/datagram-socket.ts'
import { LinkLocalSockets, MAX_SOCKETS } from '../../daemon/network/link-local-sockets.ts'
import type { NetworkInterface } from '../../daemon/network/network.ts'
import { VirtualClock } from '../virtual-clock.ts'

const interfaceWith = (name: string, index: number, ...addresses: readonly string[]): NetworkInterface => ({
  ...{ name, index, kind: 'cable', participating: true, multicast: true },
  addresses: addresses.map((address) => ({ address, family: 6, prefix: 64, scope: 'link-local' })),
})
const ETH0 = interfaceWith('eth0', 2, 'fe80::1')
const ETH1 = interfaceWith('eth1', 3, 'fe80::1', 'fe80::2')

function create(isRefused: (address: string) => boolean = () => false) {
  const open = new Set<string>()
  const clock = new VirtualClock()
  let attempts = 0
  const sockets = new LinkLocalSockets({
    clock,
    open: (address) => {
      attempts++
      if (isRefused(address)) throw new Error('EADDRNOTAVAIL')
      open.add(address)
      return {
        close: async () => void open.delete(address),
        name: address,
      } as Pick<DatagramSocket, 'close'> as DatagramSocket
    },
  })
  return { sockets, open, clock, attempts: () => attempts }
}

describe('link-local sockets', () => {
  test('are there for each address of interfaces that take part, and go with them', async () => {
    const { sockets, open } = create()
    sockets.use([ETH0, ETH1, { ...interfaceWith('docker0', 4, 'fe80::9'), participating: false }])
    expect([...open]).toEqual(['fe80::1%eth0', 'fe80::1%eth1', 'fe80::2%eth1'])
    expect(sockets.get('eth1')).toMatchObject({ name: 'fe80::1%eth1' })
    expect(sockets.get('docker0')).toBeUndefined()
    expect([sockets.isZone('docker0'), sockets.isZone('3'), sockets.isZone('eth7'), sockets.isZone('0')]).toEqual([
      ...[true, true, false, false],
    ])
    sockets.use([ETH1])
    expect([...open]).toEqual(['fe80::1%eth1', 'fe80::2%eth1'])
    expect(sockets.get('eth0')).toBeUndefined()
    await sockets.close()
    await sockets.close()
    expect(open.size).toBe(0)
  })

  test('are opened once the address is there, tried not more than once a second', () => {
    let isChecked = false
    const { sockets, open, clock, attempts } = create(() => !isChecked)
    sockets.use([ETH0])
    for (let i = 0; i < 10; i++) expect(sockets.onlyZone()).toBe('eth0')
    expect(attempts()).toBe(2)
    isChecked = true
    clock.advance(1000)
    sockets.onlyZone()
    expect([...open]).toEqual(['fe80::1%eth0'])
  })

  test('tell the zone of a sender only where no other is possible', () => {
    const { sockets } = create()
    expect(sockets.onlyZone()).toBeUndefined()
    sockets.use([ETH0, ETH1])
    expect(sockets.onlyZone()).toBeUndefined()
    sockets.use([ETH0, { ...ETH1, participating: false }])
    expect(sockets.onlyZone()).toBeUndefined()
    sockets.use([{ ...ETH1, participating: false }])
    expect(sockets.onlyZone()).toBeUndefined()
    sockets.use([ETH1])
    expect(sockets.onlyZone()).toBe('eth1')
  })

  test('are not more than the limit', () => {
    const { sockets, open } = create()
    sockets.use(Array.from({ length: MAX_SOCKETS + 5 }, (_, i) => interfaceWith(`eth${i}`, i + 2, `fe80::${i + 1}`)))
    expect(open.size).toBe(MAX_SOCKETS)
  })
})
