import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { FakeLines } from '../../daemon/session/fake-lines.ts'
import { completeFake, DelayLine, type FakeDirection, FakeNetwork, NO_FAKE } from '../../daemon/session/fake-network.ts'
import { VirtualClock } from '../virtual-clock.ts'

const fake = (out: Partial<FakeDirection>, seed = 1) => {
  let state = seed
  const random = () => {
    state = (state * 48_271) % 2_147_483_647
    return state / 2_147_483_647
  }
  return new FakeNetwork({ out: { ...NO_FAKE, ...out }, in: NO_FAKE }, random)
}

const direction: fc.Arbitrary<FakeDirection> = fc.record({
  loss: fc.double({ min: 0, max: 1, noNaN: true }),
  delay: fc.nat(1000),
  jitter: fc.nat(1000),
  reorder: fc.double({ min: 0, max: 1, noNaN: true }),
  duplicate: fc.double({ min: 0, max: 1, noNaN: true }),
  rate: fc.oneof(fc.constant(0), fc.integer({ min: 10_000, max: 1e9 })),
})

describe('a fake network', () => {
  it('loses, doubles and delays datagrams about as often as it was told', () => {
    const network = fake({ loss: 0.2, duplicate: 0.1, delay: 50, jitter: 20 })
    const all = Array.from({ length: 20_000 }, () => network.datagram('out', 100, 1000))
    const share = (count: number) => all.filter(({ length }) => length === count).length / all.length
    expect(share(0)).toBeCloseTo(0.2, 1)
    expect(share(2)).toBeCloseTo(0.08, 1)
    for (const [at = 1050] of all) {
      expect(at).toBeGreaterThanOrEqual(1050)
      expect(at).toBeLessThanOrEqual(1070)
    }
    expect(network.datagram('in', 100, 7)).toEqual([7])
  })

  it('carries no more than its rate, and loses what would queue too long', () => {
    const network = fake({ rate: 800_000 })
    const times = Array.from({ length: 100 }, () => network.datagram('out', 1000, 0)[0])
    const arrived = times.filter((at) => at !== undefined)
    expect(arrived).toEqual(Array.from({ length: arrived.length }, (_, i) => (i + 1) * 10))
    expect(arrived.length).toBe(51)
  })

  it('never lets bytes of a link overtake others, nor loses them, whatever it was told', () => {
    fc.assert(
      fc.property(direction, fc.array(fc.tuple(fc.nat(100), fc.nat(70_000)), { maxLength: 60 }), (out, chunks) => {
        const network = new FakeNetwork({ out, in: NO_FAKE }, Math.random)
        let now = 0
        let last = 0
        for (const [pause, bytes] of chunks) {
          now += pause
          const at = network.chunk('out', bytes, now)
          expect(at).toBeGreaterThanOrEqual(Math.max(last, now + out.delay))
          last = at
        }
      }),
    )
  })

  it('is none where nothing is worse', () => {
    expect(completeFake({})).toBeUndefined()
    expect(completeFake({ out: { loss: 0 }, in: {} })).toBeUndefined()
    expect(completeFake({ out: { delay: 5, loss: undefined } })).toEqual({ out: { ...NO_FAKE, delay: 5 }, in: NO_FAKE })
  })
})

describe('a delay line', () => {
  it('gives things in the order in which they arrive, those of one moment as they came', () => {
    fc.assert(
      fc.property(fc.array(fc.nat(20), { maxLength: 50 }), (times) => {
        const line = new DelayLine<number>(1e9)
        for (const [i, at] of times.entries()) line.push(i, 1, at)
        const expected = times.map((at, i) => ({ at, i })).sort((a, b) => a.at - b.at || a.i - b.i)
        expect(line.deadline).toBe(expected[0]?.at ?? Number.POSITIVE_INFINITY)
        const early = expected.filter(({ at }) => at <= 10).map(({ i }) => i)
        expect(line.due(10)).toEqual(early)
        expect(line.due(20)).toEqual(expected.slice(early.length).map(({ i }) => i))
        expect(line.isEmpty).toBe(true)
      }),
    )
  })

  it('is full by its bytes, and by its items', () => {
    const line = new DelayLine<number>(1000)
    line.push(1, 999, 5)
    expect(line.isFull).toBe(false)
    line.push(2, 1, 5)
    expect(line.isFull).toBe(true)
    line.due(5)
    for (let i = 0; i < 16_384; i++) line.push(i, 0, i)
    expect(line.isFull).toBe(true)
  })
})

describe('the lines of a session', () => {
  const open = () => {
    const clock = new VirtualClock()
    let rooms = 0
    const lines = new FakeLines({ clock, random: () => 0.5, onRoom: () => rooms++ })
    return { clock, lines, rooms: () => rooms }
  }

  it('do everything at once where no fake network is set', () => {
    const { lines } = open()
    const done: string[] = []
    lines.chunk('out', 1, () => done.push('chunk'))
    lines.datagram('in', 1, () => done.push('datagram'))
    expect(done).toEqual(['chunk', 'datagram'])
  })

  it('delay both, and let nothing overtake what is under way when the fake network is taken back', () => {
    const { clock, lines } = open()
    lines.set(completeFake({ out: { delay: 100 } }))
    const done: string[] = []
    lines.chunk('out', 1, () => done.push('first'))
    lines.datagram('out', 1, () => done.push('datagram'))
    clock.advance(50)
    expect(done).toEqual([])
    lines.set(undefined)
    lines.chunk('out', 1, () => done.push('second'))
    clock.advance(50)
    expect(done).toEqual(['first', 'second', 'datagram'])
    lines.chunk('out', 1, () => done.push('third'))
    expect(done.at(-1)).toBe('third')
  })

  it('never reorder the link, however often the fake network is changed while things are under way', () => {
    const change = fc.oneof(fc.constant(undefined), direction)
    fc.assert(
      fc.property(fc.array(fc.tuple(fc.nat(300), change, fc.nat(5)), { maxLength: 20 }), (steps) => {
        const clock = new VirtualClock()
        const lines = new FakeLines({ clock, random: Math.random, onRoom: () => {} })
        const done: number[] = []
        let sent = 0
        for (const [pause, out, chunks] of steps) {
          clock.advance(pause)
          lines.set(out && completeFake({ out }))
          for (let i = 0; i < chunks; i++) {
            const number = sent++
            lines.chunk('out', 1000, () => done.push(number))
          }
        }
        clock.advance(1e6)
        expect(done).toEqual(Array.from({ length: sent }, (_, i) => i))
      }),
    )
  })

  it('hold the link when they are full, and say when there is room', () => {
    const { clock, lines, rooms } = open()
    lines.set(completeFake({ in: { delay: 10 } }))
    for (let i = 0; i < 5; i++) lines.chunk('in', 1024 * 1024, () => {})
    expect(lines.isFull('in')).toBe(true)
    expect(lines.isFull('out')).toBe(false)
    clock.advance(10)
    expect(lines.isFull('in')).toBe(false)
    expect(rooms()).toBe(1)
  })

  it('lose datagrams when they are full', () => {
    const { clock, lines } = open()
    lines.set(completeFake({ out: { delay: 10 } }))
    let arrived = 0
    for (let i = 0; i < 6000; i++) lines.datagram('out', 1024, () => arrived++)
    clock.advance(10)
    expect(arrived).toBe(4096)
  })

  it('let out what the link has under way when they end, and nothing else', () => {
    const { clock, lines } = open()
    lines.set(completeFake({ out: { delay: 10 }, in: { delay: 10 } }))
    const done: string[] = []
    lines.chunk('out', 1, () => done.push('out'))
    lines.chunk('in', 1, () => done.push('in'))
    lines.close()
    clock.advance(100)
    expect(done).toEqual(['out'])
  })
})
