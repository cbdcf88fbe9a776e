import { describe, expect, test } from 'vitest'
import type { RemoteCandidate } from '../../../daemon/nat/candidate.ts'
import { RemoteAddresses } from '../../../daemon/nat/ice/remote-addresses.ts'

const told = (kind: RemoteCandidate['kind'], address: string, port: number): RemoteCandidate => ({
  kind,
  address,
  port,
  priority: 1,
  foundation: `${kind}${port}`,
})
const kept = (): boolean => true
const kinds = (remotes: RemoteAddresses) => remotes.all.map(({ kind, port }) => `${kind} ${port}`)

describe('an address that nobody told', () => {
  test('is a relay where only relays of the peer are, whichever was known first', () => {
    const before = new RemoteAddresses()
    before.name([told('relay', '203.0.113.5', 49_000)])
    before.heard({ address: '203.0.113.5', port: 21_413 }, 1, kept)
    const after = new RemoteAddresses()
    after.heard({ address: '203.0.113.5', port: 21_413 }, 1, kept)
    after.name([told('relay', '203.0.113.5', 49_000)])
    for (const remotes of [before, after]) expect(kinds(remotes)).toEqual(['relay 49000', 'relay 21413'])
  })

  test('is reflexive anywhere else, also where the peer itself is beside its relay', () => {
    const remotes = new RemoteAddresses()
    remotes.name([told('relay', '203.0.113.5', 49_000), told('srflx', '203.0.113.5', 40_000)])
    remotes.heard({ address: '203.0.113.5', port: 21_413 }, 1, kept)
    remotes.heard({ address: '203.0.113.9', port: 1 }, 1, kept)
    expect(kinds(remotes).slice(2)).toEqual(['prflx 21413', 'prflx 1'])
  })
})
