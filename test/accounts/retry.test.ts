import { expect, test } from 'vitest'
import { Retry } from '../../daemon/accounts/retry.ts'

const pauses = (retry: Retry, now: number, count: number) => Array.from({ length: count }, () => retry.pause(now))

test('pauses double, and stay short for the first minutes after a loss', () => {
  expect(pauses(new Retry(() => 0.5, 0), 60_000, 5)).toEqual([1000, 2000, 4000, 5000, 5000])
})

test('later they grow to five minutes, until it works again', () => {
  const retry = new Retry(() => 0.5, 0)
  const late = pauses(retry, 1_000_000, 12)
  expect(late.at(-1)).toBe(300_000)
  retry.lost(2_000_000)
  expect(retry.pause(2_000_000)).toBe(1000)
})

test('those of several hosts differ', () => {
  expect(new Retry(() => 0, 0).pause(0)).toBe(750)
  expect(new Retry(() => 0.999, 0).pause(0)).toBeGreaterThan(1200)
})
