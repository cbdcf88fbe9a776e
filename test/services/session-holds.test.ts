import { expect, test } from 'vitest'
import { MAX_HELD, SessionHolds } from '../../daemon/services/session-holds.ts'
import type { PeerId } from '../../daemon/types.ts'
import { ANNA, BEN, FakeApp } from './message-apps.ts'

test('a session is held while one of those lives that want it', () => {
  const holds = new SessionHolds()
  const [first, second] = [new FakeApp(), new FakeApp()]
  expect(holds.hold(ANNA, first)).toBe(true)
  expect(holds.hold(ANNA, first)).toBe(false)
  holds.hold(ANNA, second)
  holds.hold(BEN, second)
  first.close()
  expect([ANNA, BEN].map((peer) => holds.holds(peer))).toEqual([true, true])
  holds.release(BEN, second)
  expect([ANNA, BEN].map((peer) => holds.holds(peer))).toEqual([true, false])
  second.close()
  expect(holds.holds(ANNA)).toBe(false)
  expect(() => holds.hold(ANNA, second)).toThrow(expect.objectContaining({ code: 'local.closed' }))
})

test('one connection holds so many', () => {
  const holds = new SessionHolds()
  const app = new FakeApp()
  for (let i = 0; i < MAX_HELD; i++) holds.hold(`p${i}` as PeerId, app)
  expect(() => holds.hold(ANNA, app)).toThrow(expect.objectContaining({ code: 'local.limit' }))
})
