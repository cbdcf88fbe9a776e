import { describe, expect, test } from 'vitest'
import { Upgrades } from '../../daemon/connect/upgrades.ts'
import type { KnownAddress } from '../../daemon/peers/peer-book.ts'
import type { Carrier, HostPort, PeerId, Route } from '../../daemon/types.ts'
import { networkInterface } from '../simulated-network.ts'
import { VirtualClock } from '../virtual-clock.ts'

const ANNA = 'a'.repeat(52) as PeerId
const BERT = 'b'.repeat(52) as PeerId

const known = (address: string): KnownAddress => ({ address, port: 47800, interface: '', lastGood: false })

/** Upgrades of one host on 192.168.1.0/24, and what they dial. */
function host(self: PeerId, addresses: readonly string[], present: { route: Route; carrier: Carrier } | undefined) {
  const clock = new VirtualClock()
  const dialled: { at: number; addresses: string[] }[] = []
  const state: { present: typeof present; addresses: readonly string[]; open?: HostPort } = { present, addresses }
  const upgrades = new Upgrades({
    self,
    clock,
    interfaces: () => [networkInterface('eth0', ['192.168.1.2/24'])],
    addressesOf: () => state.addresses.map(known),
    openAddress: () => state.open,
    present: () => state.present,
    upgrade: async (_, better) => {
      dialled.push({ at: clock.now(), addresses: better.map(({ address }) => address) })
    },
  })
  const other = self === ANNA ? BERT : ANNA
  /** Lets time pass, and what waits for promises happen in between. */
  const pass = async (ms: number): Promise<void> => {
    for (let step = 0; step < 100; step++) {
      clock.advance(ms / 100)
      await Promise.resolve()
    }
  }
  return { clock, dialled, state, upgrades, other, pass }
}

describe('a session that does not go by TCP on a LAN', () => {
  test('is tried on a network of ours first, and on public addresses while it goes through a hole or a relay', async () => {
    const addresses = ['10.9.9.9', '192.0.2.7', '192.168.1.9']
    for (const [route, carrier, wanted] of [
      ['relay', 'udx', ['192.168.1.9', '192.0.2.7']],
      ['punched', 'udx', ['192.168.1.9', '192.0.2.7']],
      ['direct', 'tcp', ['192.168.1.9']],
    ] as const) {
      const { dialled, upgrades, other, pass } = host(ANNA, addresses, { route, carrier })
      upgrades.news(other)
      await pass(500)
      expect(dialled.map((one) => one.addresses)).toEqual([wanted])
      upgrades.stop()
    }
  })

  test('is tried less and less often, and at once when there is news', async () => {
    const { dialled, upgrades, other, pass } = host(ANNA, ['192.168.1.9'], { route: 'punched', carrier: 'udx' })
    upgrades.news(other)
    await pass(3_600_000)
    expect(dialled.length).toBeGreaterThan(5)
    expect(dialled.length).toBeLessThan(25)
    const before = dialled.length
    upgrades.news(other)
    await pass(1000)
    expect(dialled.length).toBe(before + 1)
  })

  test('is tried by the host with the lower peer id first', async () => {
    const [anna, bert] = [ANNA, BERT].map((self) => host(self, ['192.168.1.9'], { route: 'relay', carrier: 'udx' }))
    for (const one of [anna, bert]) {
      one?.upgrades.news(one.other)
      await one?.pass(5000)
    }
    expect(anna?.dialled[0]?.at).toBeLessThan(bert?.dialled[0]?.at ?? 0)
  })

  test('is left alone once it goes by TCP on a LAN, or is over', async () => {
    const { dialled, upgrades, other, pass, state } = host(ANNA, ['192.168.1.9'], { route: 'relay', carrier: 'udx' })
    for (const present of [{ route: 'lan', carrier: 'tcp' } as const, undefined]) {
      state.present = { route: 'relay', carrier: 'udx' }
      upgrades.news(other)
      state.present = present
      await pass(600_000)
    }
    expect(dialled).toEqual([])
  })

  test('is moved to TCP where packets reach the peer without a NAT', async () => {
    for (const [route, wanted] of [
      ['punched', 1],
      ['direct', 1],
      ['lan', 0],
    ] as const) {
      const { dialled, upgrades, other, pass, state } = host(ANNA, [], { route, carrier: 'udx' })
      state.open = { address: '10.99.0.20', port: 47800 }
      upgrades.news(other)
      await pass(500)
      expect(dialled).toHaveLength(wanted)
      upgrades.stop()
    }
  })

  test('is moved to TCP where a LAN carries UDX only because nobody knew better', async () => {
    const { dialled, upgrades, other, pass } = host(ANNA, ['192.168.1.9'], { route: 'lan', carrier: 'udx' })
    upgrades.news(other)
    await pass(500)
    expect(dialled).toHaveLength(1)
  })
})
