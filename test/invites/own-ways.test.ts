import { describe, expect, test } from 'vitest'
import { formatHubTicket } from '../../daemon/hub/ticket.ts'
import { peerIdFromKey } from '../../daemon/identity/peer-id.ts'
import { fitWays, isReachableFromOutside, ownWays } from '../../daemon/invites/own-ways.ts'
import { NO_WAYS, ways } from '../../daemon/peers/ways.ts'
import type { HubStatus } from '../../ipc/methods.ts'
import { networkInterface } from '../simulated-network.ts'

const SELF = peerIdFromKey(Buffer.alloc(32, 1))
const HUB_PEER = peerIdFromKey(Buffer.alloc(32, 7))
const NO_HUB: HubStatus = {
  ...{ running: false, name: '', domain: '', port: 0, addresses: [], fingerprint: '', certificate: '' },
  ...{ people: [], hubs: [] },
}
const hubAt = (address: string, state: 'joined' | 'failed' = 'joined'): HubStatus['hubs'][number] => ({
  ...{ peer: HUB_PEER, name: 'lan', domain: 'hub-lan.local', address, port: 5223, state, detail: '', people: [] },
})
const interfaces = [
  networkInterface('eth0', ['192.168.1.11/24', '203.0.113.7/24', '2001:db8::1/64', 'fe80::1/64']),
  networkInterface('lo', ['127.0.0.1/8']),
]

describe('the ways to this host', () => {
  test('are its hubs and its addresses, those that reach far first', () => {
    const hub = { ...NO_HUB, hubs: [hubAt('203.0.113.9'), hubAt('203.0.113.10', 'failed'), hubAt('127.0.0.1')] }
    const found = ownWays({ self: SELF, share: 'all', hub, interfaces, port: 47_800, accounts: [], mapped: [] })
    expect(found.addresses.map(({ address }) => address)).toEqual(['203.0.113.7', '2001:db8::1', '192.168.1.11'])
    expect(found.hubs).toEqual([
      formatHubTicket({ peer: HUB_PEER, name: 'lan', addresses: [{ address: '203.0.113.9', port: 5223 }] }),
    ])
    expect(ways.parse(found)).toEqual(found)
  })

  test('are the hub that it runs itself, too', () => {
    const hub = { ...NO_HUB, running: true, name: 'den', port: 5223, addresses: ['192.168.1.11'] }
    const addresses = [{ address: '192.168.1.11', port: 5223 }]
    const own = { self: SELF, hub, interfaces, port: 47_800, accounts: [], mapped: [] }
    expect(ownWays({ ...own, share: 'all' }).hubs).toEqual([formatHubTicket({ peer: SELF, name: 'den', addresses })])
    expect(ownWays({ ...own, share: 'relay' }).hubs).toEqual([])
  })

  test('name no address where policy lets none out, or no port is open', () => {
    for (const share of ['relay', 'none'] as const)
      expect(ownWays({ self: SELF, share, hub: NO_HUB, interfaces, port: 47_800, accounts: [], mapped: [] })).toEqual(
        NO_WAYS,
      )
    expect(ownWays({ self: SELF, share: 'all', hub: NO_HUB, interfaces, port: 0, accounts: [], mapped: [] })).toEqual(
      NO_WAYS,
    )
  })

  test('are shortened to what a ticket holds, the best of each kind last', () => {
    const long = {
      accounts: ['anna@example.org', 'second@example.org'],
      hubs: ['a', 'b', 'c'].map((letter) => letter.repeat(600)),
      addresses: Array.from({ length: 8 }, (_, n) => ({ address: `203.0.113.${n}`, port: 1 })),
    }
    const fitted = fitWays(long)
    expect(fitted.accounts).toEqual(long.accounts)
    expect(fitted.hubs).toEqual(long.hubs.slice(0, 2))
    expect(fitted.addresses).toEqual(long.addresses.slice(0, 1))
    expect(fitWays({ accounts: [], hubs: ['é'.repeat(1000)], addresses: [] })).toEqual(NO_WAYS)
    expect(fitWays({ accounts: ['é'.repeat(1000)], hubs: [], addresses: [] })).toEqual(NO_WAYS)
    expect(fitWays(NO_WAYS)).toEqual(NO_WAYS)
  })

  test.each([
    [{ accounts: ['anna@example.org'] }, true],
    [{ hubs: ['203.0.113.9'] }, true],
    [{ hubs: ['192.168.1.4', 'nonsense'] }, false],
    [{ addresses: [{ address: '192.168.1.11', port: 1 }] }, false],
    [{ addresses: [{ address: '2001:db8::1', port: 1 }] }, true],
    [{}, false],
  ])('%j work from outside: %s', (some, expected) => {
    expect(isReachableFromOutside({ ...NO_WAYS, ...some })).toBe(expected)
  })
})
