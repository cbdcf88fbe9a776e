import { expect, test } from 'vitest'
import { type Kind, MAX_COUNTED, PeerRates } from '../../daemon/policy/peer-rates.ts'
import type { PeerId } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'

const peer = (n: number) => `peer-${n}` as PeerId

function rates(limits: Partial<Record<Kind, number>>) {
  const clock = new VirtualClock()
  const all = { sessions: 0, streams: 0, requests: 0, ...limits }
  return { clock, all, rates: new PeerRates(clock, (kind) => all[kind]) }
}

test('a peer begins so much a minute, at once or one after another, and others as much', () => {
  const { clock, rates: of } = rates({ sessions: 3 })
  const times = (n: number) => Array.from({ length: 5 }, () => of.take('sessions', peer(n)))
  expect(times(1)).toEqual([true, true, true, false, false])
  expect(times(2)).toEqual([true, true, true, false, false])
  clock.advance(20_000)
  expect(times(1)).toEqual([true, false, false, false, false])
  // Of something else there is no limit.
  expect(Array.from({ length: 100 }, () => of.take('streams', peer(1)))).not.toContain(false)
})

test('another limit holds from when it is set', () => {
  const { all, rates: of } = rates({ requests: 1 })
  expect([of.take('requests', peer(1)), of.take('requests', peer(1))]).toEqual([true, false])
  all.requests = 2
  expect([1, 2, 3].map(() => of.take('requests', peer(1)))).toEqual([true, true, false])
  all.requests = 0
  expect(of.take('requests', peer(1))).toBe(true)
})

test('a crowd is counted in bounded memory, and nobody of it is held up for the others', () => {
  const { rates: of } = rates({ sessions: 1 })
  for (let n = 0; n < 2 * MAX_COUNTED; n++) expect(of.take('sessions', peer(n))).toBe(true)
  expect(of.take('sessions', peer(2 * MAX_COUNTED - 1))).toBe(false)
})
