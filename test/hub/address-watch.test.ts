import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { AddressWatch, MAX_WATCHED } from '../../daemon/hub/address-watch.ts'
import {
  askableAddresses,
  decodeAddresses,
  encodeAddresses,
  MAX_HOST_ADDRESSES,
  tellableAddresses,
} from '../../daemon/hub/host-addresses.ts'
import { identityOf } from '../../daemon/identity/key.ts'
import { pass } from '../discovery/passing-time.ts'
import { networkInterface } from '../simulated-network.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { FakeHosts } from './guest.ts'

const newPeer = () => identityOf(generateKeyPairSync('ed25519').privateKey).peer
const PEER = newPeer()
const at = (address: string, port = 47800) => ({ address, port })

function create() {
  const clock = new VirtualClock()
  const hosts = new FakeHosts()
  const told: string[] = []
  const watch = new AddressWatch({
    clock,
    prober: hosts,
    dial: hosts.dial,
    interfaceOf: () => 'eth0',
    onAnswer: (_, { address }) => told.push(`+${address}`),
    onSilence: (_, { address }) => told.push(`-${address}`),
    onAsked: (_, answering) => told.push(`=${answering}`),
  })
  /** What was told since. */
  const take = () => told.splice(0)
  return { clock, hosts, watch, take }
}

describe('addresses of a peer', () => {
  test('are asked at once, by UDP and else by TCP', async () => {
    const { clock, hosts, watch, take } = create()
    hosts.byUdp.set('10.0.0.1', PEER)
    hosts.byTcp.set('10.0.0.2', PEER)
    hosts.byUdp.set('10.0.0.3', newPeer())
    watch.set(PEER, [at('10.0.0.1'), at('10.0.0.2'), at('10.0.0.3')])
    await pass(clock, 10)
    const told = take()
    expect(told.filter((one) => one.startsWith('+')).sort()).toEqual(['+10.0.0.1', '+10.0.0.2'])
    expect(told.at(-1)).toBe('=2')
  })

  test('that answer are asked again, and are silent after two misses', async () => {
    const { clock, hosts, watch, take } = create()
    hosts.byUdp.set('10.0.0.1', PEER)
    watch.set(PEER, [at('10.0.0.1')])
    await pass(clock, 61_000)
    expect(take().filter((one) => one === '+10.0.0.1')).toHaveLength(3)
    hosts.byUdp.clear()
    await pass(clock, 29_000)
    expect(take()).toEqual(['=1', '-10.0.0.1', '=0'])
    hosts.byTcp.set('10.0.0.1', PEER)
    await pass(clock, 31_000)
    expect(take()).toEqual(['+10.0.0.1', '=1'])
    const { length } = hosts.asked
    await pass(clock, 31_000)
    expect([take(), hosts.asked.length]).toEqual([['+10.0.0.1', '=1'], length])
  })

  test('that are silent are asked less and less often', async () => {
    const { clock, hosts, watch, take } = create()
    watch.set(PEER, [at('10.0.0.1')])
    await pass(clock, 1_200_000, 5000)
    expect(hosts.asked.length).toBe(7)
    expect(new Set(take())).toEqual(new Set(['=0']))
  })

  test('that it tells no more go once they are silent', async () => {
    const { clock, hosts, watch, take } = create()
    hosts.byUdp.set('10.0.0.1', PEER)
    watch.set(PEER, [at('10.0.0.1'), at('10.0.0.2')])
    await pass(clock, 10)
    watch.set(PEER, [])
    await pass(clock, 31_000)
    expect(take()).not.toContain('-10.0.0.1')
    hosts.byUdp.clear()
    await pass(clock, 31_000)
    expect(take()).toContain('-10.0.0.1')
    const { length } = hosts.asked
    await pass(clock, 600_000, 10_000)
    expect(hosts.asked).toHaveLength(length)
  })

  test('stay after the peer has left, for as long as they answer', async () => {
    const { clock, hosts, watch, take } = create()
    hosts.byUdp.set('10.0.0.1', PEER)
    watch.set(PEER, [at('10.0.0.1'), at('10.0.0.2')])
    await pass(clock, 10)
    take()
    watch.leave(PEER)
    await pass(clock, 10)
    expect(take()).toEqual(['+10.0.0.1', '=1'])
    hosts.byUdp.clear()
    watch.leave(PEER)
    await pass(clock, 10)
    expect(take()).toContain('-10.0.0.1')
    expect(clock.next).toBeUndefined()
  })

  test('beyond the limits are not asked, nor many at a time', async () => {
    const { clock, hosts, watch } = create()
    let asking = 0
    let most = 0
    const slow = async () => {
      most = Math.max(most, ++asking)
      await new Promise((resolve) => setImmediate(resolve))
      asking--
      return undefined
    }
    hosts.probe = slow
    for (let n = 0; n < MAX_WATCHED / 32 + 10; n++)
      watch.set(
        newPeer(),
        Array.from({ length: 32 }, (_, i) => at(`10.${n >> 8}.${n & 255}.${i + 1}`)),
      )
    await pass(clock, 10)
    expect(most).toBe(64)
    watch.stop()
    await pass(clock, 60_000, 60_000)
    expect(asking).toBe(0)
  })
})

describe('what hosts tell', () => {
  test('reads as it was written', () => {
    const told = fc.record({
      name: fc.constantFrom('', 'anna', 'grüße'),
      port: fc.integer({ min: 1, max: 65535 }),
      addresses: fc.uniqueArray(fc.oneof(fc.ipV4(), fc.constantFrom('fd00::1', '2001:db8::2')), {
        maxLength: MAX_HOST_ADDRESSES,
      }),
      ask: fc.boolean(),
    })
    fc.assert(
      fc.property(told, (one) => {
        expect(decodeAddresses(encodeAddresses(one))).toEqual(one)
      }),
    )
  })

  test('is nothing, or well-formed, whatever the bytes', () => {
    const value = fc.oneof(
      fc.uint8Array(),
      fc.json().map((text) => Buffer.from(text)),
      fc
        .record({
          port: fc.oneof(fc.integer(), fc.anything()),
          addresses: fc.array(fc.oneof(fc.ipV4(), fc.ipV6(), fc.anything())),
        })
        .map((one) => Buffer.from(JSON.stringify(one))),
    )
    fc.assert(
      fc.property(value, (bytes) => {
        const told = decodeAddresses(bytes)
        if (!told) return
        expect(told.port).toBeGreaterThan(0)
        expect(told.addresses.length).toBeLessThanOrEqual(MAX_HOST_ADDRESSES)
        for (const address of told.addresses) expect(address).toMatch(/^[0-9a-f.:]+$/)
      }),
    )
  })

  test.for([
    ['too many addresses', { port: 1, addresses: Array(33).fill('10.0.0.1') }],
    ['no port', { addresses: [] }],
    ['a port that is none', { port: 65536, addresses: [] }],
    ['a name for an address', { port: 1, addresses: ['example.org'] }],
    ['a zone', { port: 1, addresses: ['fe80::1%eth0'] }],
    ['too much', { port: 1, addresses: [], name: 'x'.repeat(5000) }],
  ] as const)('is refused with %s', ([, told]) => {
    expect(decodeAddresses(Buffer.from(JSON.stringify(told)))).toBeUndefined()
  })

  test('is what others can use', () => {
    const interfaces = [
      networkInterface('lo', ['127.0.0.1/8', '::1/128']),
      networkInterface('eth0', ['192.168.50.1/24', '169.254.7.7/16', 'fd00:50::1/64', 'fe80::1/64']),
      networkInterface('docker0', ['172.17.0.1/16']),
    ]
    expect(tellableAddresses(interfaces)).toEqual(['192.168.50.1', '169.254.7.7', 'fd00:50::1'])
  })

  test('is asked where it may lead somewhere, the nearest first', () => {
    const interfaces = [
      networkInterface('lo', ['127.0.0.1/8']),
      networkInterface('eth0', ['192.168.50.1/24', 'fd00:50::1/64']),
    ]
    const addresses = [
      '127.0.0.1',
      '10.1.1.1',
      '8.8.8.8',
      '192.168.50.1',
      '192.168.50.7',
      'fe80::7',
      'fd00:50::7',
      '2001:db8::7',
    ]
    const asked = (hub: string) =>
      askableAddresses({ name: '', port: 1, addresses, ask: false }, interfaces, hub).map(({ address }) => address)
    expect(asked('192.168.50.254')).toEqual(['192.168.50.7', 'fd00:50::7', '8.8.8.8', '2001:db8::7'])
    expect(asked('127.0.0.1')).not.toContain('10.1.1.1')
    expect(asked('10.9.9.9')).toEqual(['192.168.50.7', 'fd00:50::7', '10.1.1.1', '8.8.8.8', '2001:db8::7'])
  })

  test('is asked at few places that are not near: they may be of people who know nothing of it', () => {
    const interfaces = [networkInterface('eth0', ['192.168.50.1/24'])]
    const near = Array.from({ length: 16 }, (_, n) => `192.168.50.${n + 2}`)
    const far = Array.from({ length: 16 }, (_, n) => `198.51.100.${n + 1}`)
    const told = { name: '', port: 53, addresses: [...far, ...near], ask: false }
    const asked = askableAddresses(told, interfaces, '192.168.50.254').map(({ address }) => address)
    expect(asked).toEqual([...near, ...far.slice(0, 4)])
  })
})
