import { array, assert, boolean, constantFrom, integer, property, record } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MAX_CANDIDATES, sortCandidates } from '../../daemon/connect/candidates.ts'
import type { NetworkInterface } from '../../daemon/network/network.ts'
import type { KnownAddress } from '../../daemon/peers/peer-book.ts'

const net = (name: string, kind: NetworkInterface['kind'], ...own: [string, 4 | 6, number][]): NetworkInterface => ({
  name,
  index: 1,
  kind,
  participating: kind !== 'vpn' && kind !== 'container',
  multicast: true,
  addresses: own.map(([address, family, prefix]) => ({
    address,
    family,
    prefix,
    scope: address.startsWith('fe80') ? 'link-local' : kind === 'loopback' ? 'loopback' : 'private',
  })),
})

const INTERFACES = [
  net('lo', 'loopback', ['127.0.0.1', 4, 8], ['::1', 6, 128]),
  net('wlan0', 'wifi', ['10.0.0.5', 4, 24], ['fe80::5', 6, 64]),
  net('eth0', 'cable', ['192.168.1.5', 4, 24], ['fd00::5', 6, 64], ['fe80::6', 6, 64]),
  net('docker0', 'container', ['172.17.0.1', 4, 16]),
]

const at = (address: string, seenOn = '', lastGood = false): KnownAddress => ({
  address,
  port: 47800,
  interface: seenOn,
  lastGood,
})

const order = (...known: KnownAddress[]): string[] => sortCandidates(known, INTERFACES).map(({ address }) => address)

describe('the order of candidates', () => {
  test('puts networks of ours first, cable before Wi-Fi before everything else', () => {
    const routed = at('203.0.113.9')
    expect(order(routed, at('172.17.0.9'), at('10.0.0.9'), at('192.168.1.9'))).toEqual([
      '192.168.1.9',
      '10.0.0.9',
      '203.0.113.9',
      '172.17.0.9',
    ])
  })

  test('puts the one that worked last first among equals only', () => {
    expect(order(at('192.168.1.8'), at('192.168.1.9', '', true))).toEqual(['192.168.1.9', '192.168.1.8'])
    expect(order(at('10.0.0.9', '', true), at('192.168.1.8'))).toEqual(['192.168.1.8', '10.0.0.9'])
  })

  test('takes the two families in turn, beginning with the best', () => {
    expect(order(at('192.168.1.8'), at('192.168.1.9'), at('fd00::8'), at('fd00::9'))).toEqual([
      '192.168.1.8',
      'fd00::8',
      '192.168.1.9',
      'fd00::9',
    ])
  })

  test('gives a link-local address the zone of the interface that saw it, and leaves it out without one', () => {
    expect(order(at('fe80::9', 'eth0'))).toEqual(['fe80::9%eth0'])
    expect(order(at('fe80::9%wlan0'))).toEqual(['fe80::9%wlan0'])
    expect(order(at('fe80::9'))).toEqual([])
  })

  test('uses loopback only where the peer was seen there or the user said so', () => {
    expect(order(at('127.0.0.1', 'eth0'))).toEqual([])
    expect(order(at('127.0.0.1', 'lo'))).toEqual(['127.0.0.1'])
    expect(order(at('127.0.0.1'))).toEqual(['127.0.0.1'])
  })

  test('keeps every usable address once, up to the limit', () => {
    const known = record({
      address: constantFrom('192.168.1.', '10.0.0.', '203.0.113.', 'fd00::', '2001:db8::'),
      host: integer({ min: 1, max: 99 }),
      interface: constantFrom('', 'eth0', 'wlan0', 'docker0'),
      lastGood: boolean(),
    }).map(({ address, host, ...rest }) => ({ ...rest, address: `${address}${host}`, port: 47800 }))
    assert(
      property(array(known, { maxLength: 40 }), (all) => {
        const sorted = sortCandidates(all, INTERFACES)
        expect(sorted).toHaveLength(Math.min(all.length, MAX_CANDIDATES))
        const left = all.map(({ address }) => address)
        for (const { address } of sorted) expect(left.splice(left.indexOf(address), 1)).toEqual([address])
      }),
    )
  })
})
