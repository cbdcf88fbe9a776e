import { describe, expect, it } from 'vitest'
import type { Milliseconds } from '../../daemon/types.ts'
import { Host } from './core-pair.ts'

const KIB = 1024

/** A line of so many bytes a millisecond, with a delay each way and no end to its queue, which is what a kernel's buffers are to us. */
class Line {
  readonly #rate: number
  readonly #delay: Milliseconds
  #free: Milliseconds = 0
  readonly #under: { at: Milliseconds; bytes: Buffer }[] = []

  constructor(rate: number, delay: Milliseconds) {
    this.#rate = rate
    this.#delay = delay
  }

  send(bytes: Buffer, now: Milliseconds): void {
    this.#free = Math.max(this.#free, now) + bytes.length / this.#rate
    this.#under.push({ at: this.#free + this.#delay, bytes })
  }

  arrived(now: Milliseconds): Buffer[] {
    const done = this.#under.filter(({ at }) => at <= now).map(({ bytes }) => bytes)
    this.#under.splice(0, done.length)
    return done
  }
}

/** Bulk fills a lane for three seconds, an interactive message goes every 20 ms: how long those take, and the rate of the bulk. */
function race(rate: number, delay: Milliseconds): { worst: Milliseconds; goodput: number } {
  const [a, b] = [new Host(), new Host()]
  a.core.configure(1, [
    { priority: 0, weight: 1 },
    { priority: 1, weight: 1 },
  ])
  const there = new Line(rate, delay)
  const back = new Line(rate, delay)
  const begun = new Map<number, Milliseconds>()
  let worst = 0
  let bulk = 0
  for (let now = 0; now < 3000; now += 0.25) {
    while (a.core.queued < 2 * 1024 * KIB) a.send('bulk', Buffer.alloc(64 * KIB), { app: 1, lane: 1 }, now)
    if (now % 20 === 0) {
      begun.set(begun.size + 1, now)
      a.send('quick', 'x', { app: 1, lane: 0 }, now)
    }
    while (a.core.hasOutput) there.send(a.core.takeOutput(64 * KIB, now), now)
    for (const bytes of there.arrived(now)) b.core.receive(bytes, now)
    for (const message of b.messages.splice(0)) {
      b.core.settle(message, now)
      if (message.lane === 1 && now > 1000) bulk += message.data.length
      else if (message.lane === 0 && now > 1000) worst = Math.max(worst, now - (begun.get(message.number) ?? 0) - delay)
    }
    b.core.tick(now)
    while (b.core.hasOutput) back.send(b.core.takeOutput(64 * KIB, now), now)
    for (const bytes of back.arrived(now)) a.core.receive(bytes, now)
    a.core.tick(now)
  }
  return { worst, goodput: bulk / 2000 / rate }
}

describe('a bulk lane', () => {
  // Bytes a millisecond: 10 Mbit/s, 100 Mbit/s, 1 Gbit/s; delay each way.
  it.each([
    [1250, 1],
    [12_500, 0.25],
    [12_500, 10],
    [125_000, 0.25],
  ])('of a line of %d bytes/ms and %d ms delays an interactive one by little, and uses the line', (rate, delay) => {
    const { worst, goodput } = race(rate, delay)
    expect(worst).toBeLessThan(10 + (8 * KIB) / rate)
    expect(goodput).toBeGreaterThan(0.95)
  })
})
