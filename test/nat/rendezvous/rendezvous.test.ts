import { describe, expect, test } from 'vitest'
import type { Description, RendezvousSignal } from '../../../daemon/nat/rendezvous/description.ts'
import { Rendezvous } from '../../../daemon/nat/rendezvous/rendezvous.ts'
import { VirtualClock } from '../../virtual-clock.ts'

/** A description that is told from others by its port. */
function description(port: number): Description {
  return {
    ufrag: 'abcd',
    pwd: 'a'.repeat(22),
    candidates: [{ kind: 'host', address: '192.0.2.1', port, priority: 1, foundation: '1' }],
    link: 0,
    calls: 1,
    network: { udp: true, mapping: 'same', relay: false },
  }
}
const portOf = (one: Description | undefined): number | undefined => one?.candidates[0]?.port

/** One side, its timer driven by the virtual clock. */
class Side {
  readonly rendezvous: Rendezvous
  readonly heard: { port: number | undefined; isNew: boolean }[] = []
  sent = 0
  left = 0

  constructor(clock: VirtualClock, instance: string, attempt: number, carry: (signal: RendezvousSignal) => void) {
    this.rendezvous = new Rendezvous(
      { instance: instance.repeat(16), attempt },
      {
        signal: (signal) => {
          this.sent++
          carry(signal)
        },
        described: (one, isNew) => this.heard.push({ port: portOf(one), isNew }),
        left: () => this.left++,
      },
    )
    const tick = (): void => {
      this.rendezvous.tick(clock.now())
      clock.after(5, tick)
    }
    tick()
  }
}

/** Two sides over a signaller that does to each signal what `fate` says: the delays after which it arrives. */
function pair(clock: VirtualClock, fate: () => readonly number[]): { a: Side; b: Side } {
  const carry = (to: () => Side) => (signal: RendezvousSignal) => {
    for (const delay of fate()) clock.after(delay, () => to().rendezvous.receive(signal, clock.now()))
  }
  const a: Side = new Side(
    clock,
    'a',
    1,
    carry(() => b),
  )
  const b: Side = new Side(
    clock,
    'b',
    1,
    carry(() => a),
  )
  return { a, b }
}

/** Numbers from 0 to 1 that a seed decides (mulberry32). */
function random(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let t = Math.imul(state ^ (state >>> 15), 1 | state)
    t = (t + Math.imul(t ^ (t >>> 7), 61 | t)) ^ t
    return ((t ^ (t >>> 14)) >>> 0) / 2 ** 32
  }
}

describe('a rendezvous', () => {
  test('tells both sides in one round trip, with two descriptions and one word that the last was seen', () => {
    const clock = new VirtualClock()
    const { a, b } = pair(clock, () => [50])
    a.rendezvous.describe(description(1), clock.now())
    clock.advance(50)
    expect(b.heard).toEqual([{ port: 1, isNew: true }])
    b.rendezvous.describe(description(2), clock.now())
    clock.advance(10_000)
    expect(a.heard).toEqual([{ port: 2, isNew: true }])
    expect(a.rendezvous.isSeen && b.rendezvous.isSeen).toBe(true)
    expect(a.sent + b.sent).toBeLessThanOrEqual(4)
  })

  test('tells changes that come together once', () => {
    const clock = new VirtualClock()
    const { a, b } = pair(clock, () => [1])
    for (const port of [1, 2, 3, 4]) a.rendezvous.describe(description(port), clock.now())
    clock.advance(1000)
    expect(b.heard.map(({ port }) => port)).toEqual([1, 4])
  })

  test('stops telling a peer that does not answer, and begins again when there is another way to it', () => {
    const clock = new VirtualClock()
    let isOpen = false
    const { a, b } = pair(clock, () => (isOpen ? [10] : []))
    a.rendezvous.describe(description(1), clock.now())
    clock.advance(600_000)
    expect(a.sent).toBe(10)
    isOpen = true
    a.rendezvous.nudge(clock.now())
    clock.advance(1000)
    expect(b.heard).toEqual([{ port: 1, isNew: true }])
  })

  test('ignores what an earlier attempt, or an earlier life of the peer, said', () => {
    const clock = new VirtualClock()
    const { a } = pair(clock, () => [])
    const from = (instance: string, attempt: number, version: number, port: number): void =>
      a.rendezvous.receive(
        { kind: 'describe', instance: instance.repeat(16), attempt, version, ...description(port), seen: null },
        clock.now(),
      )
    from('b', 2, 3, 1)
    from('b', 2, 2, 2)
    from('b', 1, 9, 3)
    from('c', 1, 1, 4)
    from('b', 2, 4, 5)
    expect(a.heard).toEqual([
      { port: 1, isNew: true },
      { port: 4, isNew: true },
    ])
  })

  test('tells a peer that begins anew what it had told it before', () => {
    const clock = new VirtualClock()
    const { a, b } = pair(clock, () => [1])
    a.rendezvous.describe(description(1), clock.now())
    b.rendezvous.describe(description(2), clock.now())
    clock.advance(10_000)
    const again = new Rendezvous(
      { instance: 'b'.repeat(16), attempt: 2 },
      { signal: (signal) => a.rendezvous.receive(signal, clock.now()), described: () => {}, left: () => {} },
    )
    const before = a.sent
    again.describe(description(3), clock.now())
    clock.advance(100)
    expect(a.sent).toBe(before + 1)
    expect(a.heard.at(-1)).toEqual({ port: 3, isNew: true })
  })

  test('hears that the peer gave up, once for its present attempt only', () => {
    const clock = new VirtualClock()
    const { a, b } = pair(clock, () => [1])
    b.rendezvous.describe(description(1), clock.now())
    clock.advance(100)
    a.rendezvous.receive({ kind: 'leave', instance: 'b'.repeat(16), attempt: 0, version: 1 }, clock.now())
    expect(a.left).toBe(0)
    b.rendezvous.close()
    clock.advance(100)
    expect(a.left).toBe(1)
  })

  test('ends with both knowing the last word of the other, whatever is lost, doubled or overtaken, in 500 seeds', () => {
    for (let seed = 1; seed <= 500; seed++) {
      const next = random(seed)
      const clock = new VirtualClock()
      const loss = next() * 0.4
      const { a, b } = pair(clock, () => {
        const delays = [1 + next() * 900]
        if (next() < 0.2) delays.push(1 + next() * 3000)
        return next() < loss ? [] : delays
      })
      let port = 1
      for (const at of Array.from({ length: 6 }, () => next() * 3000).sort((x, y) => x - y)) {
        clock.advance(Math.max(0, at - clock.now()))
        const side = next() < 0.5 ? a : b
        side.rendezvous.describe(description(++port), clock.now())
      }
      const last = { a: ++port, b: ++port }
      a.rendezvous.describe(description(last.a), clock.now())
      b.rendezvous.describe(description(last.b), clock.now())
      clock.advance(120_000)
      expect(a.heard.at(-1)?.port, `seed ${seed}`).toBe(last.b)
      expect(b.heard.at(-1)?.port, `seed ${seed}`).toBe(last.a)
      expect(a.heard.length + b.heard.length, `seed ${seed}`).toBeLessThanOrEqual(10)
      const spent = a.sent + b.sent
      clock.advance(120_000)
      expect(a.sent + b.sent, `seed ${seed}: quiet in the end`).toBe(spent)
    }
  })

  test('is not made to send more than it is sent', () => {
    const clock = new VirtualClock()
    const { a } = pair(clock, () => [])
    a.rendezvous.describe(description(1), clock.now())
    const before = a.sent
    for (let version = 1; version <= 1000; version++) {
      a.rendezvous.receive(
        { kind: 'describe', instance: 'b'.repeat(16), attempt: 1, version, ...description(2), seen: null },
        clock.now(),
      )
    }
    expect(a.sent - before).toBeLessThanOrEqual(1000)
  })
})
