import fc from 'fast-check'
import { expect, test } from 'vitest'
import { CALL_BURST, CALL_RATE, MAX_USER_IN_FLIGHT, Quota, USER_BYTES_HIGH } from '../../ipc/quota.ts'
import { VirtualClock } from '../virtual-clock.ts'

/** Makes calls, each answered at once, until no more may be. */
function callAll(quota: Quota, method = 'peers.list'): number {
  let calls = 0
  while (!quota.isSpent) {
    quota.begin(method)
    quota.end()
    calls++
  }
  return calls
}

test('calls go at once, then at their rate, whenever they are made', () => {
  const clock = new VirtualClock()
  const quota = new Quota(clock, 1)
  expect(callAll(quota)).toBe(CALL_BURST)
  clock.advance(50)
  expect(callAll(quota)).toBe((50 * CALL_RATE) / 1000)
  // However long nobody calls, no more than the burst is saved up.
  clock.advance(3_600_000)
  expect(callAll(quota)).toBe(CALL_BURST)
})

test('in no span of time are there more calls than the burst and the rate allow', () => {
  fc.assert(
    fc.property(fc.array(fc.integer({ min: 0, max: 300 }), { maxLength: 50 }), (pauses) => {
      const clock = new VirtualClock()
      const quota = new Quota(clock, 1)
      const begun = clock.now()
      let calls = 0
      for (const pause of pauses) {
        clock.advance(pause)
        calls += callAll(quota)
        expect(calls).toBeLessThanOrEqual(CALL_BURST + ((clock.now() - begun) * CALL_RATE) / 1000 + 1)
      }
    }),
  )
})

test('sixteen messages count as one call', () => {
  expect(callAll(new Quota(new VirtualClock(), 1), 'messages.send')).toBe(16 * CALL_BURST - 15)
})

test('who waits is told when calls may go on, once', () => {
  const clock = new VirtualClock()
  const quota = new Quota(clock, 1)
  callAll(quota)
  let looked = 0
  const look = (): number => looked++
  quota.whenFree(look)
  quota.whenFree(look)
  const gone = (): void => expect.unreachable('it has left')
  quota.whenFree(gone)
  quota.forget(gone)
  clock.advance(1)
  expect(looked).toBe(1)
  expect(quota.isSpent).toBe(false)
  clock.advance(1000)
  expect(looked).toBe(1)
})

test('at its limit of calls under way it is spent until one is answered', () => {
  const clock = new VirtualClock()
  const quota = new Quota(clock, 1)
  for (let i = 0; i < MAX_USER_IN_FLIGHT; i++) {
    if (quota.isSpent) clock.advance(1000)
    quota.begin('peers.list')
  }
  clock.advance(1000)
  expect(quota.isSpent).toBe(true)
  let looked = 0
  quota.whenFree(() => looked++)
  clock.advance(1000)
  expect(looked).toBe(0)
  quota.end()
  expect(looked).toBe(1)
  expect(quota.isSpent).toBe(false)
})

test('is heavy while too many bytes wait', () => {
  const quota = new Quota(new VirtualClock(), 1)
  quota.account(USER_BYTES_HIGH)
  expect(quota.isHeavy).toBe(false)
  quota.account(1)
  expect(quota.isHeavy).toBe(true)
  quota.account(-1)
  expect(quota.isHeavy).toBe(false)
})
