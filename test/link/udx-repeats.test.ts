import { describe, expect, test } from 'vitest'
import { UdxRepeats } from '../../daemon/link/udx-repeats.ts'

const packet = (n: number): Buffer => Buffer.alloc(30, n)
const STUCK = { inflight: 1000, rtt: 0 }

/** Lets time pass until nothing is due any more; returns when something was repeated. */
function times(repeats: UdxRepeats, progress: { inflight: number; rtt: number }): number[] {
  const at: number[] = []
  while (Number.isFinite(repeats.deadline)) {
    const now = repeats.deadline
    if (repeats.tick(now, progress).length > 0) at.push(now)
  }
  return at
}

describe('repeats', () => {
  test('begin 50 ms after packets that nobody acknowledged, come less and less often, and end', () => {
    const repeats = new UdxRepeats()
    repeats.begin(0, false)
    repeats.sent(packet(1), 0)
    const at = times(repeats, STUCK)
    expect(at.slice(0, 4)).toEqual([50, 100, 175, 287.5])
    expect(at.length).toBeLessThanOrEqual(12)
    expect(at.at(-1)).toBeLessThan(5000)
  })

  test('are not wanted for what was acknowledged, nor while packets flow', () => {
    const repeats = new UdxRepeats()
    repeats.begin(0, false)
    repeats.sent(packet(1), 0)
    expect(times(repeats, { inflight: 0, rtt: 0 })).toEqual([])
    repeats.begin(10_000, false)
    for (let now = 10_000; now < 12_000; now += 10) {
      repeats.sent(packet(1), now)
      expect(repeats.tick(now, STUCK)).toEqual([])
    }
  })

  test('leave a far peer the time to answer', () => {
    const repeats = new UdxRepeats()
    repeats.begin(0, false)
    repeats.sent(packet(1), 0)
    const [first = 0, second = 0] = times(repeats, { inflight: 1000, rtt: 300 })
    expect(first).toBeGreaterThanOrEqual(450)
    expect(second - first).toBeGreaterThanOrEqual(300)
  })

  test('are of the newest eight packets, the oldest first, as they were', () => {
    const repeats = new UdxRepeats()
    repeats.begin(0, false)
    const reused = Buffer.alloc(30)
    for (let n = 0; n < 20; n++) repeats.sent(reused.fill(n), 0)
    repeats.sent(Buffer.alloc(1473), 0)
    expect(repeats.tick(50, STUCK).map(([first]) => first)).toEqual([12, 13, 14, 15, 16, 17, 18, 19])
  })

  test('come at once after a move, and twice more although nothing is unacknowledged', () => {
    const repeats = new UdxRepeats()
    repeats.begin(0, false)
    repeats.sent(packet(1), 0)
    repeats.begin(60_000, true)
    expect(times(repeats, { inflight: 0, rtt: 20 })).toEqual([60_000, 60_050, 60_125])
  })
})
