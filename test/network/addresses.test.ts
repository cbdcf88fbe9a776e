import { isIPv6 } from 'node:net'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  broadcastOf,
  interfaceOf,
  isOwnAddress,
  plainAddress,
  sameSubnet,
  scopeOf,
} from '../../daemon/network/addresses.ts'
import { formatHostPort, type NetworkInterface, scopedAddress } from '../../daemon/network/network.ts'
import { networkInterface } from '../simulated-network.ts'

describe('an address', () => {
  test.each([
    ['127.0.0.1', 'loopback'],
    ['127.255.255.254', 'loopback'],
    ['::1', 'loopback'],
    ['169.254.0.1', 'link-local'],
    ['169.255.0.1', 'global'],
    ['fe80::1', 'link-local'],
    ['FE80::1%eth0', 'link-local'],
    ['febf::1', 'link-local'],
    ['fec0::1', 'global'],
    ['10.255.0.1', 'private'],
    ['172.15.0.1', 'global'],
    ['172.16.0.1', 'private'],
    ['172.31.255.255', 'private'],
    ['172.32.0.1', 'global'],
    ['192.168.1.1', 'private'],
    ['100.64.0.1', 'private'],
    ['100.128.0.1', 'global'],
    ['fc00::1', 'private'],
    ['fdff::1', 'private'],
    ['2001:db8::1', 'global'],
    ['8.8.8.8', 'global'],
    ['::ffff:192.168.1.1', 'private'],
    ['::FFFF:127.0.0.1', 'loopback'],
    ['::ffff:7f00:1', 'loopback'],
    ['0:0:0:0:0:FFFF:127.0.0.1', 'loopback'],
    ['0:0:0:0:0:ffff:c0a8:101%eth0', 'private'],
    ['0.0.0.0', 'loopback'],
    ['::', 'loopback'],
    ['0:0:0:0:0:0:0:1', 'loopback'],
    ['laptop.example', 'global'],
    ['127.1', 'global'],
    ['', 'global'],
  ] as const)('%s is %s', (address, scope) => {
    expect(scopeOf(address)).toBe(scope)
  })

  test('is plain without its zone, and IPv4 where it is IPv4 in IPv6', () => {
    expect(plainAddress('fe80::1%eth0')).toBe('fe80::1')
    expect(plainAddress('::ffff:1.2.3.4')).toBe('1.2.3.4')
    expect(plainAddress('::ffff:102:304')).toBe('1.2.3.4')
    expect(isIPv6(plainAddress('::ffff:c000'))).toBe(true)
  })

  test('has one plain spelling, however a remote writes it', () => {
    for (const same of ['fd00::a:2', 'FD00::A:2', 'fd00:0:0::a:2', 'fd00:0000:0:0:0:0:000a:0002', 'fd00::a:2%eth0'])
      expect(plainAddress(same)).toBe('fd00::a:2')
    fc.assert(fc.property(fc.ipV6(), (address) => plainAddress(plainAddress(address)) === plainAddress(address)))
  })

  test('of IPv4 is the same in each of the spellings within IPv6', () => {
    fc.assert(
      fc.property(fc.ipV4(), (address) => {
        const bytes = address.split('.').map((part) => Number(part).toString(16).padStart(2, '0'))
        const hex = `${bytes.slice(0, 2).join('')}:${bytes.slice(2).join('')}`
        for (const same of [`::ffff:${address}`, `::FFFF:${hex}`, `0:0:0:0:0:ffff:${hex}%1`])
          expect(plainAddress(same)).toBe(address)
      }),
    )
  })

  test('that is none stays as it is', () => {
    for (const text of ['garbage', '', '::ffff:', '::ffff:999.1.1.1', '1.2.3.4.5', '[::1]', 'laptop.example'])
      expect(plainAddress(text)).toBe(text)
  })

  test('has a zone only where it is link-local', () => {
    expect(scopedAddress('fe80::1', 'eth0')).toBe('fe80::1%eth0')
    expect(scopedAddress('fe80::1%wlan0', 'eth0')).toBe('fe80::1%wlan0')
    expect(scopedAddress('fd00::1', 'eth0')).toBe('fd00::1')
    expect(scopedAddress('feather.example', 'eth0')).toBe('feather.example')
    expect(formatHostPort({ address: 'fe80::1%eth0', port: 80 })).toBe('[fe80::1%eth0]:80')
    expect(formatHostPort({ address: '10.0.0.1', port: 80 })).toBe('10.0.0.1:80')
  })
})

describe('the broadcast address', () => {
  test.each([
    ['192.168.50.7', 24, '192.168.50.255'],
    ['10.1.2.3', 8, '10.255.255.255'],
    ['172.16.5.4', 20, '172.16.15.255'],
    ['255.1.1.1', 1, '255.255.255.255'],
    ['10.0.0.1', 30, '10.0.0.3'],
    ['10.0.0.1', 31, undefined],
    ['10.0.0.1', 32, undefined],
    ['fd00::1', 64, undefined],
  ])('of %s/%i is %s', (address, prefix, broadcast) => {
    expect(broadcastOf(address, prefix)).toBe(broadcast)
  })

  test('is on the network it is of', () => {
    fc.assert(
      fc.property(fc.ipV4(), fc.integer({ min: 1, max: 30 }), (address, prefix) => {
        const broadcast = broadcastOf(address, prefix)
        return broadcast !== undefined && sameSubnet(broadcast, { address, family: 4, prefix, scope: 'global' })
      }),
    )
  })
})

describe('the interface of an address', () => {
  const lo = networkInterface('lo', ['127.0.0.1/8', '::1/128'])
  const eth0 = networkInterface('eth0', ['192.168.1.2/24', 'fe80::2/64', 'fd00::2/64'], { index: 2 })
  const wlan0 = networkInterface('wlan0', ['10.0.0.9/8', 'fe80::3/64'], { index: 3 })
  const usb0 = networkInterface('usb0', ['10.5.5.1/24'])
  const all: readonly NetworkInterface[] = [lo, eth0, wlan0, usb0]

  test.each([
    ['192.168.1.77', 'eth0'],
    ['::ffff:192.168.1.77', 'eth0'],
    ['fd00::99', 'eth0'],
    ['10.6.0.1', 'wlan0'],
    ['127.3.3.3', 'lo'],
    ['fe80::99%wlan0', 'wlan0'],
    ['fe80::99%2', 'eth0'],
  ])('%s is %s', (address, name) => {
    expect(interfaceOf(address, all)?.name).toBe(name)
  })

  test('is that of the smallest network, in whatever order they come', () => {
    expect(interfaceOf('10.5.5.9', all)).toBe(usb0)
    expect(interfaceOf('10.5.5.9', all.toReversed())).toBe(usb0)
  })

  test('is none for an address from elsewhere, an unknown zone, or what is no address', () => {
    for (const address of ['8.8.8.8', '2001:db8::1', 'fe80::1%eth9', 'fe80::1%0', 'laptop.example', '', '%eth0x'])
      expect(interfaceOf(address, all)).toBeUndefined()
  })

  test('is unknown for a link-local address without a zone, unless only one interface has such addresses', () => {
    expect(interfaceOf('fe80::99', all)).toBeUndefined()
    expect(interfaceOf('fe80::99', [lo, eth0])).toBe(eth0)
  })

  test('is the same one as long as its addresses stay, and another when they change', () => {
    const moved = networkInterface('eth0', ['192.168.7.2/24'])
    expect(interfaceOf('192.168.1.77', [eth0])).toBe(eth0)
    expect(interfaceOf('192.168.1.77', [moved])).toBeUndefined()
    expect(interfaceOf('192.168.7.77', [moved])).toBe(moved)
  })

  test('knows its own addresses', () => {
    expect(isOwnAddress('192.168.1.2', all)).toBe(true)
    expect(isOwnAddress('::ffff:192.168.1.2', all)).toBe(true)
    expect(isOwnAddress('fe80::3%wlan0', all)).toBe(true)
    expect(isOwnAddress('FD00:0::2', all)).toBe(true)
    expect(isOwnAddress('192.168.1.3', all)).toBe(false)
    expect(isOwnAddress('', all)).toBe(false)
  })

  test('has all addresses from the first to the last of its network, and no other', () => {
    const own = { address: '192.168.5.77', family: 4, prefix: 26, scope: 'private' } as const
    for (const inside of ['192.168.5.64', '192.168.5.127', '::ffff:c0a8:57f'])
      expect(sameSubnet(inside, own)).toBe(true)
    for (const outside of ['192.168.5.63', '192.168.5.128', 'fd00::1', 'nonsense', ''])
      expect(sameSubnet(outside, own)).toBe(false)
    const everything = { address: '10.0.0.1', family: 4, prefix: 0, scope: 'private' } as const
    fc.assert(fc.property(fc.ipV4(), (address) => sameSubnet(address, everything)))
  })

  test('no text a remote may send as an address is too much', () => {
    fc.assert(
      fc.property(
        fc.oneof(
          fc.string(),
          fc.ipV4(),
          fc.ipV6(),
          fc.ipV6().map((ip) => `${ip}%eth0`),
          fc.string({ unit: fc.constantFrom(...'0123456789abcdef:.%/[]\0 ') }),
        ),
        (text) => {
          expect(scopeOf(text)).toMatch(/^(global|private|link-local|loopback)$/)
          expect([undefined, ...all]).toContain(interfaceOf(text, all))
          expect(typeof isOwnAddress(text, all)).toBe('boolean')
          expect(typeof broadcastOf(text, 24)).toMatch(/string|undefined/)
          scopedAddress(text, 'eth0')
        },
      ),
      { numRuns: 1000 },
    )
  })
})
