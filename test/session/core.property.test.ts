import fc from 'fast-check'
import { expect, it } from 'vitest'
import { Host } from './core-pair.ts'

/** What happens in a run, drawn at random; fast-check prints the seed of a failure. */
const side = fc.constantFrom(0, 1)
const step = fc.oneof(
  {
    weight: 6,
    arbitrary: fc.record({
      kind: fc.constant('send' as const),
      side,
      lane: fc.integer({ min: 0, max: 3 }),
      channel: fc.constantFrom('a', 'b', 'c'),
      size: fc.oneof(fc.nat(100), fc.nat(40_000), fc.nat(400_000)),
      reliable: fc.boolean(),
    }),
  },
  {
    weight: 6,
    arbitrary: fc.record({ kind: fc.constant('carry' as const), side, bytes: fc.oneof(fc.nat(50), fc.nat(200_000)) }),
  },
  {
    weight: 4,
    arbitrary: fc.record({ kind: fc.constant('settle' as const), side, refuse: fc.boolean(), which: fc.nat(50) }),
  },
  { weight: 1, arbitrary: fc.record({ kind: fc.constant('pass' as const), ms: fc.nat(1500) }) },
)
type Step = typeof step extends fc.Arbitrary<infer T> ? T : never

interface Sent {
  readonly side: number
  readonly key: string
  readonly reliable: boolean
  readonly told: string[]
}

/** Two cores and a pipe between them that delays and cuts as a run says. */
class Run {
  readonly hosts = [new Host(), new Host()] as const
  readonly sent: Sent[] = []
  /** What an app got or refused, by the number that every message carries. */
  readonly verdicts = new Map<number, string[]>()
  readonly delivered: { number: number; channel: string; lane: number; side: number }[] = []
  readonly #wires: [Buffer, Buffer] = [Buffer.alloc(0), Buffer.alloc(0)]
  #now = 0

  take(step: Step): void {
    switch (step.kind) {
      case 'send':
        return this.#send(step)
      case 'carry':
        return this.#carry(step.side, step.bytes)
      case 'settle':
        return this.#settle(step.side, step.which, step.refuse)
      case 'pass':
        this.#now += step.ms
        for (const { core } of this.hosts) core.tick(this.#now)
    }
  }

  /** Everything under way arrives and is settled. */
  finish(): void {
    const [a, b] = this.hosts
    while ([0, 1].some((at) => this.#busy(at))) {
      for (const at of [0, 1]) {
        this.#carry(at, 1e9)
        while (this.#waiting(at).length > 0 && !a.core.closed && !b.core.closed) this.#settle(at, 0, false)
      }
    }
  }

  #busy(at: number): boolean {
    const { core } = this.#host(at)
    return core.hasOutput || this.#wire(at).length > 0 || (this.#waiting(at).length > 0 && !core.closed)
  }

  #host(at: number): Host {
    return at === 0 ? this.hosts[0] : this.hosts[1]
  }

  #wire(at: number): Buffer {
    return at === 0 ? this.#wires[0] : this.#wires[1]
  }

  #waiting(at: number): Host['messages'] {
    return this.#host(at).messages
  }

  #send({ side, lane, channel, size, reliable }: Extract<Step, { kind: 'send' }>): void {
    const data = Buffer.alloc(4 + size, this.sent.length)
    data.writeUInt32BE(this.sent.length)
    const key = `${side} ${lane} ${reliable}`
    const told = this.#host(side).send(channel, data, { lane, reliable }, this.#now)
    this.sent.push({ side, key, reliable, told })
  }

  #carry(from: number, bytes: number): void {
    const host = this.#host(from)
    const wire = host.core.hasOutput
      ? Buffer.concat([this.#wire(from), host.core.takeOutput(1000, this.#now)])
      : this.#wire(from)
    this.#wires[from === 0 ? 0 : 1] = wire.subarray(bytes)
    if (wire.length > 0) this.#host(1 - from).core.receive(wire.subarray(0, bytes), this.#now)
  }

  #settle(at: number, which: number, refuse: boolean): void {
    const waiting = this.#waiting(at)
    const [message] = waiting.splice(which % Math.max(1, waiting.length), 1)
    if (!message) return
    const number = Buffer.from(message.data).readUInt32BE()
    expect(message.data.subarray(4).every((byte) => byte === (number & 255))).toBe(true)
    this.verdicts.set(number, [...(this.verdicts.get(number) ?? []), refuse ? 'peer.busy' : 'delivered'])
    this.#host(at).core.settle(message, this.#now, refuse ? 'peer.busy' : '')
  }
}

/** Messages of one lane and kind, in the order in which they came out of a core. */
function recordArrivals(run: Run): Map<string, number[]> {
  const order = new Map<string, number[]>()
  for (const host of run.hosts) {
    const original = host.message.bind(host)
    host.message = (message) => {
      const number = Buffer.from(message.data).readUInt32BE()
      const key = run.sent[number]?.key ?? 'unknown'
      order.set(key, [...(order.get(key) ?? []), number])
      original(message)
    }
  }
  return order
}

it('delivers every reliable message once and in order, or tells its sender that it did not', () => {
  fc.assert(
    fc.property(fc.array(step, { maxLength: 120 }), fc.boolean(), (steps, isCut) => {
      const run = new Run()
      const arrivals = recordArrivals(run)
      for (const step of steps) run.take(step)
      const isBroken = isCut || run.hosts.some(({ core }) => core.closed)
      if (isBroken) for (const { core } of run.hosts) core.close({ code: 'network.lost', message: '', by: 'network' })
      else run.finish()

      for (const numbers of arrivals.values()) {
        expect(numbers).toEqual([...numbers].sort((a, b) => a - b))
        expect(new Set(numbers).size).toBe(numbers.length)
      }
      for (const [number, { reliable, told }] of run.sent.entries()) {
        const verdicts = run.verdicts.get(number) ?? []
        expect(told).toHaveLength(1)
        expect(verdicts.length).toBeLessThanOrEqual(1)
        if (!reliable) continue
        if (told[0] !== 'network.lost') expect(verdicts).toEqual(told)
        if (!isBroken) expect(told[0]).not.toBe('network.lost')
      }
      for (const { core } of run.hosts) expect(core.unacknowledged).toBe(0)
    }),
    { numRuns: 250 },
  )
})
