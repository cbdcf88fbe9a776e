import { describe, expect, test } from 'vitest'
import { Channels } from '../../../daemon/nat/turn/channels.ts'
import { MAX_PEERS, RelayPeers } from '../../../daemon/nat/turn/peers.ts'
import { MAX_PERMISSIONS, PERMISSIONS_AT_ONCE, Permissions } from '../../../daemon/nat/turn/permissions.ts'

const MINUTE = 60_000

describe('channels', () => {
  test('are 4,096 at most, with numbers of RFC 8656, none of them twice', () => {
    const channels = new Channels<object>()
    const numbers = Array.from({ length: 4096 }, () => channels.open({}, 0)?.number ?? 0)
    expect(new Set(numbers).size).toBe(4096)
    expect([Math.min(...numbers), Math.max(...numbers)]).toEqual([0x4000, 0x4fff])
    expect(channels.open({}, 0)).toBeUndefined()
    expect(channels.size).toBe(4096)
  })

  test('keep their number from others until five minutes after the server may have forgotten it', () => {
    const channels = new Channels<{ name: string }>()
    const channel = channels.open({ name: 'a' }, 0)
    if (!channel) return expect.unreachable()
    channels.asked(channel)
    channels.bound(channel, 0, 1000)
    expect(channels.sweep(15 * MINUTE)).toEqual([])
    expect(channels.get(channel.number)).toBe(channel)
    expect(channels.sweep(15 * MINUTE + 1000)).toEqual([{ name: 'a' }])
    expect(channels.get(channel.number)).toBeUndefined()
  })

  test('keep it too when the server did not answer, as it may have bound it', () => {
    const channels = new Channels<object>()
    const channel = channels.open({}, 0)
    if (!channel) return expect.unreachable()
    channels.asked(channel)
    expect(channels.sweep(100 * MINUTE)).toEqual([])
    channels.failed(channel, 100 * MINUTE)
    expect(channels.sweep(114 * MINUTE)).toEqual([])
    expect(channels.sweep(115 * MINUTE)).toHaveLength(1)
  })
})

describe('permissions', () => {
  test('are asked for in batches, each once, and bounded in number', () => {
    const permissions = new Permissions()
    for (let n = 0; n < MAX_PERMISSIONS; n++) expect(permissions.claim(`10.0.${n >> 8}.${n & 255}`, 0)).toBe(true)
    expect(permissions.claim('10.9.9.9', 0)).toBe(false)
    expect(permissions.use('10.9.9.9', 0)).toBe(false)
    const asked: string[] = []
    for (let batch = permissions.take(0); batch.length > 0; batch = permissions.take(0)) {
      expect(batch.length).toBeLessThanOrEqual(PERMISSIONS_AT_ONCE)
      asked.push(...batch)
    }
    expect(new Set(asked).size).toBe(MAX_PERMISSIONS)
    expect(asked).toHaveLength(MAX_PERMISSIONS)
  })

  test('that nobody wants any more make room', () => {
    const permissions = new Permissions()
    for (let n = 0; n < MAX_PERMISSIONS; n++) permissions.use(`10.0.${n >> 8}.${n & 255}`, 0)
    expect(permissions.claim('10.9.9.9', 4 * MINUTE)).toBe(false)
    expect(permissions.claim('10.9.9.9', 5 * MINUTE)).toBe(true)
  })

  test('one that is refused is found among those it was asked with, and not asked for again at once', () => {
    const permissions = new Permissions()
    for (const address of ['10.0.0.1', '10.0.0.2']) permissions.claim(address, 0)
    permissions.refused(permissions.take(0), 0)
    expect(permissions.take(0)).toEqual(['10.0.0.1'])
    expect(permissions.take(0)).toEqual(['10.0.0.2'])
    permissions.installed(['10.0.0.1'], 0)
    permissions.refused(['10.0.0.2'], 0)
    expect(permissions.isInstalled('10.0.0.1', 1)).toBe(true)
    expect(permissions.use('10.0.0.2', 1)).toBe(false)
    expect(permissions.take(MINUTE)).toEqual([])
    expect(permissions.take(5 * MINUTE)).toEqual(['10.0.0.1'])
    expect(permissions.take(5 * MINUTE)).toEqual(['10.0.0.2'])
  })
})

describe('peers', () => {
  const address = (n: number) => ({ address: `10.${n >> 16}.${(n >> 8) & 255}.${n & 255}`, port: 9 })

  test('are bounded in number, and silent ones make room', () => {
    const peers = new RelayPeers('relay-1')
    for (let n = 0; n < MAX_PEERS; n++) expect(peers.of(address(n), 0)).toBeDefined()
    expect(peers.of(address(MAX_PEERS), 0)).toBeUndefined()
    expect(peers.size).toBe(MAX_PEERS)
    expect(peers.of(address(MAX_PEERS), 2 * MINUTE)).toBeDefined()
  })

  test('have few packets that wait, each and all, and none for long', () => {
    const peers = new RelayPeers('relay-1')
    let held = 0
    for (let n = 0; n < 100; n++) {
      const peer = peers.of(address(n), 0)
      if (!peer) return expect.unreachable()
      for (let packet = 0; packet < 20; packet++) if (peers.hold(peer, Buffer.from([packet]), 0)) held++
      if (n === 0) expect(held).toBe(8)
    }
    expect(held).toBe(256)
    expect(peers.release('10.0.0.0', 100).map(({ packet }) => packet[0])).toEqual([0, 1, 2, 3, 4, 5, 6, 7])
    expect(peers.release('10.0.0.0', 100)).toEqual([])
    expect(peers.release('10.0.0.1', 5000)).toEqual([])
    peers.sweep(5000)
    const late = peers.of(address(500), 5000)
    expect(late && peers.hold(late, Buffer.from('x'), 5000)).toBe(true)
  })
})
