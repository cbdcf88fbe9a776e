import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { BlackHoleDetector } from '../../daemon/datagram/black-hole.ts'
import { Arrivals, DeliveryShares, Departures, ReportReader } from '../../daemon/datagram/delivery.ts'

describe('departures', () => {
  test('tell how many packets were sent up to any number, those that try something out excepted', () => {
    fc.assert(
      fc.property(
        fc.array(fc.boolean(), { minLength: 1, maxLength: 200 }),
        fc.array(fc.nat({ max: 199 })),
        (asides, asked) => {
          const departures = new Departures()
          for (const [number, aside] of asides.entries()) departures.left(number, aside)
          for (const number of asked.toSorted((a, b) => a - b)) {
            expect(departures.has(number)).toBe(number < asides.length)
            if (departures.has(number))
              expect(departures.upTo(number)).toBe(asides.slice(0, number + 1).filter((aside) => !aside).length)
          }
          expect(departures.sent).toBe(asides.filter((aside) => !aside).length)
        },
      ),
    )
  })

  test('forget nothing that counts when no report ever comes', () => {
    const departures = new Departures()
    for (let number = 0; number < 10_000; number++) departures.left(number, number % 2 === 0)
    expect(departures.sent).toBe(5000)
    expect(departures.upTo(9999)).toBe(5000)
  })
})

describe('reports', () => {
  const report = { asks: false, sent: 100, highest: 99, received: 90, ordered: 80, bytes: 9000, largest: 100 }

  test('tell what became of the packets between them, and ignore one that came late', () => {
    const departures = new Departures()
    for (let number = 0; number < 200; number++) departures.left(number, false)
    const reader = new ReportReader()
    expect(reader.out(report, departures, 1000)).toBeUndefined()
    const next = { ...report, highest: 199, received: 170, ordered: 150, bytes: 17_000 }
    expect(reader.out(next, departures, 2000)).toEqual({
      sent: 100,
      received: 80,
      ordered: 70,
      bytes: 8000,
      elapsed: 1000,
    })
    expect(reader.out(report, departures, 2100)).toBeUndefined()
  })

  test('of any content give shares from 0 to 1', () => {
    const count = fc.nat({ max: 2 ** 31 - 1 })
    fc.assert(
      fc.property(fc.array(fc.tuple(count, count, count), { minLength: 1 }), (spans) => {
        const shares = new DeliveryShares(0)
        for (const [i, [sent, received, ordered]] of spans.entries()) shares.add(sent, received, ordered, i * 1000)
        for (const share of [shares.loss, shares.quality])
          if (share !== undefined) expect(share >= 0 && share <= 1).toBe(true)
      }),
    )
  })

  test('count a late packet as received and not in order', () => {
    const arrivals = new Arrivals()
    for (const number of [0, 2, 1, 3]) arrivals.arrived(number, 10)
    expect(arrivals).toMatchObject({ received: 4, ordered: 3, highest: 3, bytes: 40 })
  })
})

describe('a black hole', () => {
  test('is seen when enough large packets vanish and later small ones arrive', () => {
    const detector = new BlackHoleDetector(1200)
    for (let number = 0; number < 4; number++) detector.left(number, 1472)
    expect(detector.reported(2, 100)).toBe(false)
    expect(detector.reported(5, 100)).toBe(true)
    expect(detector.reported(6, 100)).toBe(false)
  })

  test('is not seen while any large packet arrives', () => {
    const detector = new BlackHoleDetector(1200)
    for (let number = 0; number < 100; number++) {
      detector.left(number, 1472)
      expect(detector.reported(number, number % 3 === 0 ? 1472 : 100)).toBe(false)
    }
  })
})
