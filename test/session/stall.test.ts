import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { StallDetector } from '../../daemon/session/stall.ts'
import type { Stall } from '../../daemon/session/statistics.ts'
import type { Milliseconds } from '../../daemon/types.ts'

/** What the detector says of packets that arrive at these times, and how often it raised its voice. */
function judge(arrivals: readonly Milliseconds[]): { stall: Stall | null; told: number } {
  const detector = new StallDetector()
  let told = 0
  for (const at of [...arrivals].sort((a, b) => a - b)) if (detector.arrived(1, at)) told++
  const end = Math.max(0, ...arrivals)
  return { stall: detector.stall(end, 1_800_000_000_000), told }
}

/** Packets sent every `every` ms for a minute, and held back by a switch that is open for `length` of every `period`. */
function switched(every: number, period: number, length: number): Milliseconds[] {
  const arrivals: Milliseconds[] = []
  for (let sent = 0; sent < 60_000; sent += every) {
    const phase = sent % period
    arrivals.push(phase >= period - length ? sent - phase + period : sent)
  }
  return arrivals
}

describe('a lag switch', () => {
  it.each([
    [10, 3000, 800],
    [16, 5000, 1500],
    [33, 2000, 500],
    [20, 8000, 3000],
  ])('is found when a packet comes every %d ms and each %d ms the cable is open for %d', (every, period, length) => {
    const { stall, told } = judge(switched(every, period, length))
    expect(stall).not.toBeNull()
    expect(Math.abs((stall?.medianInterval ?? 0) - period)).toBeLessThan(100)
    expect(Math.abs((stall?.medianSilence ?? 0) - length)).toBeLessThan(150)
    expect(stall?.burst).toBeGreaterThanOrEqual(4)
    expect(told).toBe(1)
  })

  it('is forgotten a minute after it stopped', () => {
    const detector = new StallDetector()
    for (const at of switched(10, 3000, 800)) detector.arrived(1, at)
    expect(detector.stall(60_000, 0)).not.toBeNull()
    for (let at = 60_000; at < 130_000; at += 10) detector.arrived(1, at)
    expect(detector.stall(130_000, 0)).toBeNull()
  })
})

describe('no lag switch', () => {
  const expectNone = (arrivals: readonly Milliseconds[]) => expect(judge(arrivals)).toEqual({ stall: null, told: 0 })

  it('is a game that sends at a steady rate, however high, with some jitter and loss', () => {
    fc.assert(
      fc.property(
        fc.integer({ min: 5, max: 100 }),
        fc.nat(20),
        fc.array(fc.nat(99), { minLength: 50 }),
        (every, jitter, dice) => {
          const arrivals: Milliseconds[] = []
          for (let sent = 0; sent < 60_000; sent += every) {
            const die = dice[arrivals.length % dice.length] ?? 0
            if (die > 5) arrivals.push(sent + (die * jitter) / 100)
          }
          expectNone(arrivals)
        },
      ),
      { numRuns: 100 },
    )
  })

  it('is an app that sends now and then', () => {
    expectNone(Array.from({ length: 20 }, (_, i) => i * 3000))
  })

  it('is an app that sends much at once, at regular intervals', () => {
    expectNone(Array.from({ length: 60 }, (_, i) => Array.from({ length: 50 }, () => i * 1000)).flat())
  })

  it('is a radio that stops at random', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1000, max: 2000 }), { minLength: 6, maxLength: 12 }), (some) => {
        const gaps = some.map((gap, i) => (i % 2 === 0 ? gap : gap * 4))
        const arrivals: Milliseconds[] = []
        let at = 0
        for (const gap of gaps) {
          for (let flowed = 0; flowed < gap + 600; flowed += 10) arrivals.push(at + flowed)
          at += gap + 600
          // A silence of 300 ms, and what was held back at once.
          at += 300
          for (let i = 0; i < 30; i++) arrivals.push(at)
        }
        expect(judge(arrivals).stall).toBeNull()
      }),
      { numRuns: 100 },
    )
  })

  it('is a peer that pauses and goes on without a burst', () => {
    const arrivals: Milliseconds[] = []
    for (let at = 0; at < 60_000; at += 10) if (at % 3000 < 2200) arrivals.push(at)
    expectNone(arrivals)
  })
})
