import fc from 'fast-check'
import { expect, test } from 'vitest'
import { seeded } from '../../datagram/random.ts'
import { candidate, type End, Wire } from './agent-pair.ts'

const LAN = ['192.168.1.2', '192.168.1.3']
const OTHER = ['10.0.0.2', '10.0.0.3']
const RELAYS = ['203.0.113.1', '203.0.113.2']

/** Which ways there are between two hosts: straight over two networks, and over relays. */
const ways = fc.record({ lan: fc.boolean(), other: fc.boolean(), relay: fc.boolean() })
const weather = fc.record({
  seed: fc.integer(),
  loss: fc.constantFrom(0, 0.02, 0.1),
  duplicate: fc.constantFrom(0, 0.1),
  delay: fc.integer({ min: 1, max: 120 }),
  jitter: fc.integer({ min: 0, max: 40 }),
  roles: fc.constantFrom([true, false], [false, true], [true, true], [false, false]),
  /** When each learns of the other. */
  learns: fc.tuple(fc.integer({ min: 0, max: 3000 }), fc.integer({ min: 0, max: 3000 })),
})
type Ways = typeof ways extends fc.Arbitrary<infer T> ? T : never
type Weather = typeof weather extends fc.Arbitrary<infer T> ? T : never

function build({ seed, loss, duplicate, delay, jitter, roles, learns }: Weather, isOpen: (way: keyof Ways) => boolean) {
  const wire = new Wire()
  const random = seeded(seed)
  const ends = [0, 1].map((index) =>
    wire.end(
      [
        candidate('host', LAN[index] ?? ''),
        candidate('host', OTHER[index] ?? '', { local: 100 }),
        candidate('relay', RELAYS[index] ?? '', { relay: `r${index}` }),
      ],
      { isControlling: roles[index] ?? false },
    ),
  )
  const wayOf = (address: string): keyof Ways =>
    LAN.includes(address) ? 'lan' : OTHER.includes(address) ? 'other' : 'relay'
  wire.source = (from, to) => {
    if (to.relay !== undefined) return from.candidates.find(({ relay }) => relay === to.relay)
    return from.candidates.find(({ address }) => wayOf(address) === (wayOf(to.address) === 'other' ? 'other' : 'lan'))
  }
  wire.fate = ({ to }) => {
    if (!isOpen(to.relay === undefined ? wayOf(to.address) : 'relay') || random() < loss) return []
    const copies = random() < duplicate ? 2 : 1
    return Array.from({ length: copies }, () => delay + random() * jitter)
  }
  const [a, b] = ends as [End, End]
  wire.after(learns[0], () => a.learn(b))
  wire.after(learns[1], () => b.learn(a))
  return { wire, a, b }
}

/** The ways that two ends use, as seen from each. */
const waysOf = (a: End, b: End) =>
  [a, b].map(({ agent: { selected } }) => {
    if (!selected) return undefined
    if (selected.kind === 'relay' || selected.to.relay !== undefined) return 'relay'
    return LAN.includes(selected.to.address) ? 'lan' : 'other'
  })

const mayEnd = ({ lan, other, relay }: Ways): (string | undefined)[] => {
  const direct = [...(lan ? ['lan'] : []), ...(other ? ['other'] : [])]
  if (direct.length > 0) return direct
  return [relay ? 'relay' : undefined]
}

test('whatever is lost, doubled and late, both ends come to use the same path, of the best kind there is', () => {
  fc.assert(
    fc.property(weather, ways, (weather, open) => {
      const { wire, a, b } = build(weather, (way) => open[way])
      wire.advance(3000 + 45_000)
      const [from, to] = waysOf(a, b)
      expect(from).toBe(to)
      expect(mayEnd(open)).toContain(from)
      if (weather.loss === 0) expect(a.selections.length + b.selections.length).toBeLessThanOrEqual(10)
      if (from) expect(a.agent.isControlling).not.toBe(b.agent.isControlling)
    }),
    { numRuns: 60 },
  )
})

test('and after ways have opened and closed, too, with bounded traffic all the time', () => {
  fc.assert(
    fc.property(weather, fc.array(ways, { minLength: 2, maxLength: 3 }), (weather, changes) => {
      let open: Ways = { lan: true, other: true, relay: true }
      const { wire, a, b } = build({ ...weather, loss: 0 }, (way) => open[way])
      for (const change of [...changes, { lan: false, other: false, relay: true }]) {
        open = change
        const begin = wire.sent.length
        // As sessions do that look for each other.
        a.learn(b)
        b.learn(a)
        wire.advance(75_000)
        const isThere = open.lan || open.other || open.relay
        const [from, to] = waysOf(a, b)
        if (isThere) expect([from, mayEnd(open).includes(from)]).toEqual([to, true])
        else expect([from, to]).toEqual([undefined, undefined])
        // Two ends, checks and answers.
        expect(wire.sent.length - begin).toBeLessThanOrEqual(4 * 300)
      }
    }),
    { numRuns: 25 },
  )
})

test('traffic that arrives in another order ends the same: nominations never go back', () => {
  fc.assert(
    fc.property(fc.integer(), fc.integer({ min: 0, max: 400 }), (seed, jitter) => {
      const weather: Weather = { seed, loss: 0, duplicate: 0.1, delay: 5, jitter, roles: [true, false], learns: [0, 0] }
      const { wire, a, b } = build(weather, () => true)
      wire.advance(60_000)
      const [from, to] = waysOf(a, b)
      expect(from).toBe(to)
      expect(['lan', 'other']).toContain(from)
      expect(b.selections.length).toBeLessThanOrEqual(a.selections.length + 3)
    }),
    { numRuns: 40 },
  )
})
