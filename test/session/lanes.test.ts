import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { Queue } from '../../daemon/session/lanes.ts'
import type { LaneConfig } from '../../daemon/session/session.ts'
import { exchange, Host } from './core-pair.ts'

const KIB = 1024

/** A sender whose lanes all have more to send than the link takes, and how many bytes of each have left. */
function contend(lanes: readonly LaneConfig[], bytes: number): number[] {
  const [a, b] = [new Host(), new Host()]
  a.core.configure(1, lanes)
  const queued = lanes.map((_, lane) => () => a.send(`${lane}`, Buffer.alloc(16 * KIB), { app: 1, lane }))
  for (let i = 0; i < 120; i++) for (const send of queued) send()
  for (let written = 0; written < bytes; ) {
    const output = a.core.takeOutput(16 * KIB, 0)
    written += output.length
    b.core.receive(output, 0)
    for (const message of b.messages) b.core.settle(message, 0)
    a.core.receive(b.core.takeOutput(1e6, 0), 0)
  }
  return lanes.map((_, lane) => b.messages.filter((message) => message.lane === lane).length)
}

describe('lanes', () => {
  it('of a lower priority number go first, whatever waits in others', () => {
    expect(
      contend(
        [
          { priority: 1, weight: 1 },
          { priority: 0, weight: 1 },
        ],
        1024 * KIB,
      )[0],
    ).toBe(0)
  })

  it('of one priority share by their weights', () => {
    fc.assert(
      fc.property(fc.array(fc.integer({ min: 1, max: 9 }), { minLength: 2, maxLength: 5 }), (weights) => {
        const got = contend(
          weights.map((weight) => ({ priority: 0, weight })),
          600 * KIB,
        )
        const all = got.reduce((sum, n) => sum + n, 0)
        const total = weights.reduce((sum, weight) => sum + weight, 0)
        for (const [lane, n] of got.entries())
          expect(Math.abs(n - (all * (weights[lane] ?? 0)) / total)).toBeLessThan(2)
      }),
      { numRuns: 50 },
    )
  })

  it('of two apps do not hold each other up, nor have anything to do with each other', () => {
    const [a, b] = [new Host(), new Host()]
    a.core.configure(1, [{ priority: 5, weight: 1 }])
    for (let i = 0; i < 10; i++) a.send('bulk', Buffer.alloc(100 * KIB), { app: 1 })
    a.send('other', 'x', { app: 2 })
    b.core.receive(a.core.takeOutput(KIB, 0), 0)
    expect(b.texts).toEqual(['x'])
    expect(b.messages).toMatchObject([{ lane: 0, number: 1 }])
  })

  it('that were idle get no more than their share when they begin', () => {
    const [a, b] = [new Host(), new Host()]
    const send = (lane: number, count: number) => {
      for (let i = 0; i < count; i++) a.send('c', Buffer.alloc(15 * KIB), { lane })
    }
    const carry = (times: number) => {
      for (let i = 0; i < times; i++) {
        b.core.receive(a.core.takeOutput(15 * KIB, 0), 0)
        for (const message of b.messages) b.core.settle(message, 0)
        a.core.receive(b.core.takeOutput(1e6, 0), 0)
      }
    }
    send(0, 100)
    carry(40)
    send(1, 100)
    const before = b.messages.length
    carry(20)
    const since = b.messages.slice(before).map(({ lane }) => lane)
    expect(
      Math.abs(since.filter((lane) => lane === 0).length - since.filter((lane) => lane === 1).length),
    ).toBeLessThan(3)
  })

  it('tell what waits in them, and since when', () => {
    const a = new Host()
    a.core.configure(3, [{ priority: 2, weight: 7 }])
    a.send('c', Buffer.alloc(100), { app: 3 }, 10)
    a.send('c', Buffer.alloc(50), { app: 3, reliable: false }, 20)
    expect(a.core.lanes(30)).toEqual([
      {
        app: 3,
        lane: 0,
        priority: 2,
        weight: 7,
        queuedReliable: 100,
        queuedUnreliable: 50,
        unacknowledged: 0,
        queueTime: 20,
        sent: 2,
      },
    ])
    a.core.takeOutput(1e6, 30)
    expect(a.core.lanes(30)).toMatchObject([
      { queuedReliable: 0, queuedUnreliable: 0, unacknowledged: 100, queueTime: 0 },
    ])
  })

  it('of an app that is gone drop what has not begun, and finish what has', () => {
    const [a, b] = [new Host(), new Host()]
    const begun = a.send('c', Buffer.alloc(100 * KIB), { app: 1 })
    const waiting = a.send('c', 'waiting', { app: 1 })
    const dropped = a.send('c', 'unreliable', { app: 1, reliable: false, lane: 1 })
    const other = a.send('c', 'other', { app: 2 })
    b.core.receive(a.core.takeOutput(KIB, 0), 0)
    a.core.forget(1)
    expect([waiting, dropped]).toEqual([['local.closed'], ['local.closed']])
    exchange(a, b)
    for (const message of b.messages) b.core.settle(message, 0)
    exchange(a, b)
    expect(begun).toEqual(['delivered'])
    expect(other).toEqual(['delivered'])
    expect(b.messages).toHaveLength(2)
    expect(a.core.lanes(0).map(({ app }) => app)).toEqual([2])
    expect(a.core.queued).toBe(0)
  })
})

describe('unreliable messages', () => {
  it('that are now or never are dropped when they could not leave in time', () => {
    const a = new Host()
    const [never, later] = [
      a.send('c', 'now', { reliable: false, now: true }, 0),
      a.send('c', 'later', { reliable: false }, 0),
    ]
    a.core.takeOutput(1e6, 10)
    expect([never, later]).toEqual([['dropped'], ['delivered']])
  })

  it('are dropped when they waited too long', () => {
    const a = new Host()
    const told = a.send('c', 'old', { reliable: false }, 0)
    a.core.takeOutput(1e6, 1000)
    expect(told).toEqual(['dropped'])
  })
})

describe('gathering', () => {
  it('keeps small messages until others come, the time is over, or somebody asks', () => {
    const a = new Host(0)
    a.core.takeOutput(1e6, 0)
    a.send('c', 'one', { nodelay: false }, 0)
    expect(a.core.hasOutput).toBe(false)
    expect(a.core.deadline).toBe(10)
    a.core.tick(10)
    expect(a.core.takeOutput(1e6, 10).length).toBeGreaterThan(0)
    a.send('c', 'two', { nodelay: false }, 20)
    a.core.flush()
    expect(a.core.takeOutput(1e6, 20).length).toBeGreaterThan(0)
    a.send('c', 'three', { nodelay: false }, 30)
    a.send('c', Buffer.alloc(1200), { nodelay: false }, 31)
    expect(a.core.takeOutput(1e6, 31).length).toBeGreaterThan(1200)
    a.send('c', 'four', { nodelay: false }, 40)
    a.send('c', 'five', {}, 41)
    expect(a.core.hasOutput).toBe(true)
  })
})

describe('a queue', () => {
  it('gives what came in, in order, however it is used', () => {
    fc.assert(
      fc.property(fc.array(fc.option(fc.nat()), { maxLength: 3000 }), (steps) => {
        const queue = new Queue<number>()
        const model: number[] = []
        for (const step of steps) {
          if (step !== null) {
            queue.push(step)
            model.push(step)
          } else expect(queue.shift()).toBe(model.shift())
          expect(queue.length).toBe(model.length)
          expect(queue.first).toBe(model[0])
        }
        expect(queue.clear()).toEqual(model)
        expect(queue.length).toBe(0)
      }),
      { numRuns: 50 },
    )
  })
})
