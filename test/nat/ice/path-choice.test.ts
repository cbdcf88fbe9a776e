import { describe, expect, test } from 'vitest'
import { candidate, connect, type End, type Fate, type Wire } from './agent-pair.ts'

const A = candidate('host', '192.168.1.2')
const B = candidate('host', '192.168.1.3')
const RA = candidate('relay', '203.0.113.1', { port: 5000, relay: 'ra' })
const RB = candidate('relay', '203.0.113.2', { port: 5001, relay: 'rb' })
const DIRECT = ['192.168.1.3:47800', '192.168.1.2:47800']

type To = Parameters<Fate>[0]['to']
const isDirect = (to: To): boolean => to.relay === undefined && to.address.startsWith('192.')
/** Over relays all is well; straight as `direct` says. */
const overRelay =
  (direct: readonly number[] = []): Fate =>
  ({ to }) =>
    isDirect(to) ? direct : to.address.startsWith('192.') || to.relay === undefined ? [30] : []
const paths = (a: End, b: End) => [a.path, b.path]

/** The peer's data arrives, straight, every 20 ms as long as the path lives. */
function stream(wire: Wire, a: End, b: End, ms: number): void {
  for (let passed = 0; passed < ms; passed += 20) {
    for (const [from, to] of [
      [a, b],
      [b, a],
    ] as const) {
      const path = from.agent.selected?.to
      if (!path || wire.fate({ bytes: Buffer.alloc(1), from, to: path, at: wire.now }).length === 0) continue
      const source = wire.source(from, path)
      const own = to.candidates.find(({ address }) => address === path.address)
      if (source && own) {
        const { address, port } = source
        to.agent.alive(own.relay === undefined ? { address, port } : { address, port, relay: own.relay }, wire.now)
      }
    }
    wire.advance(20)
  }
}

describe('a better path', () => {
  test('is moved to once it has proven itself, by both sides', () => {
    const { wire, a, b } = connect([A, RA], [B, RB], (wire) => {
      wire.fate = overRelay()
    })
    wire.advance(10_000)
    expect(a.agent.selected?.kind).toBe('relay')
    wire.fate = overRelay([10])
    const begin = wire.now
    wire.advance(30_000)
    expect(paths(a, b)).toEqual(DIRECT)
    expect([a.selections.length, b.selections.length]).toEqual([2, 2])
    expect(a.selections[1]?.reason).toMatch(/^192.168.1.3:47800 \(host\) is better than .* \(relay\)$/)
    const firstAnswered = wire.sent.find(({ at, to, from }) => at > begin && from === a && isDirect(to))?.at ?? 0
    expect((a.selections[1]?.at ?? 0) - firstAnswered).toBeGreaterThan(400)
  })

  test('that comes and goes is not moved to again and again', () => {
    const { wire, a, b } = connect([A, RA], [B, RB], (wire) => {
      const over = overRelay()
      const straight = overRelay([10])
      wire.fate = (packet) => (Math.floor(packet.at / 4000) % 2 ? straight(packet) : over(packet))
    })
    stream(wire, a, b, 300_000)
    expect(a.path).toBeDefined()
    expect(a.selections.every(({ path }) => path)).toBe(true)
    expect(a.selections.length).toBeLessThanOrEqual(16)
    expect(b.selections.length).toBeLessThanOrEqual(16)
  })

  test('is not what measures a little better by chance', () => {
    const [A2, B2] = [candidate('host', '192.168.2.2'), candidate('host', '192.168.2.3')]
    let count = 0
    const { wire, a, b } = connect([A, A2], [B, B2], (wire) => {
      wire.source = (from, to) => from.candidates.find((one) => one.address.slice(0, 9) === to.address.slice(0, 9))
      wire.fate = () => [30 + (count++ % 7) * 2]
    })
    wire.advance(300_000)
    expect([a.selections.length, b.selections.length]).toEqual([1, 1])
  })

  test('is one of the same kind that is clearly faster, once and for good', () => {
    const [A2, B2] = [candidate('host', '192.168.2.2'), candidate('host', '192.168.2.3')]
    const { wire, a, b } = connect([A, A2], [B, B2], (wire) => {
      wire.source = (from, to) => from.candidates.find((one) => one.address.slice(0, 9) === to.address.slice(0, 9))
      wire.fate = ({ to, at }) => [to.address.startsWith('192.168.2') ? 5 : at > 5000 ? 150 : 1]
    })
    wire.advance(1000)
    expect(a.path).toBe('192.168.1.3:47800')
    wire.advance(120_000)
    expect(paths(a, b)).toEqual(['192.168.2.3:47800', '192.168.2.2:47800'])
    expect(a.selections).toHaveLength(2)
  })

  test('is none that carries no packet of 1200 bytes', () => {
    const { wire, a } = connect([A, RA], [B, RB], (wire) => {
      const all = overRelay([10])
      wire.fate = (packet) => (isDirect(packet.to) && packet.bytes.length > 1000 ? [] : all(packet))
    })
    wire.advance(60_000)
    expect(a.agent.selected?.kind).toBe('relay')
  })
})

describe('a path that falls silent', () => {
  test('is left within about a second by both sides, while the peer was sending', () => {
    const { wire, a, b } = connect([A, RA], [B, RB], (wire) => {
      wire.fate = overRelay([10])
    })
    stream(wire, a, b, 20_000)
    expect(paths(a, b)).toEqual(DIRECT)
    wire.fate = overRelay()
    const begin = wire.now
    stream(wire, a, b, 5000)
    for (const end of [a, b]) {
      expect(end.agent.selected?.kind).toBe('relay')
      const left = end.selections.find(({ at, path }) => at > begin && path?.kind === 'relay')
      expect((left?.at ?? Number.POSITIVE_INFINITY) - begin).toBeLessThan(1300)
      expect(left?.reason).toMatch(/went silent|has chosen/)
    }
  })

  test('is left within seven seconds when nobody sends', () => {
    const { wire, a, b } = connect([A, RA], [B, RB], (wire) => {
      wire.fate = overRelay([10])
    })
    wire.advance(20_000)
    wire.fate = overRelay()
    wire.advance(7000)
    expect([a.agent.selected?.kind, b.agent.selected?.kind]).toEqual(['relay', 'relay'])
  })

  test('and works again is come back to', () => {
    const { wire, a, b } = connect([A, RA], [B, RB], (wire) => {
      wire.fate = overRelay([10])
    })
    wire.advance(20_000)
    wire.fate = overRelay()
    wire.advance(10_000)
    wire.fate = overRelay([10])
    wire.advance(40_000)
    expect(paths(a, b)).toEqual(DIRECT)
  })

  test('is not left for a lost check, or for one that was lost three times in a row', () => {
    let lost = 0
    const { wire, a } = connect([A, RA], [B, RB], (wire) => {
      const all = overRelay([10])
      wire.fate = (packet) => {
        if (packet.at < 10_000 || !isDirect(packet.to) || packet.bytes[0] !== 0) return all(packet)
        return lost++ % 5 < 3 ? [] : all(packet)
      }
    })
    wire.advance(120_000)
    expect(a.selections.filter(({ at }) => at > 10_000)).toEqual([])
  })

  test('in one direction only: the other side moves too, as it is told', () => {
    const { wire, a, b } = connect([A, RA], [B, RB], (wire) => {
      wire.fate = overRelay([10])
    })
    wire.advance(20_000)
    const [all, none] = [overRelay([10]), overRelay()]
    wire.fate = (packet) => (packet.from === a ? none(packet) : all(packet))
    wire.advance(20_000)
    expect([a.agent.selected?.kind, b.agent.selected?.kind]).toEqual(['relay', 'relay'])
  })

  test('with nothing beside it is lost when consent ends, after 30 seconds, not later (RFC 7675)', () => {
    const { wire, a, b } = connect([A], [B])
    wire.advance(20_000)
    wire.fate = () => []
    const begin = wire.now
    wire.advance(24_000)
    expect(paths(a, b)).toEqual(DIRECT)
    wire.advance(6100)
    expect(paths(a, b)).toEqual([undefined, undefined])
    expect((a.selections.at(-1)?.at ?? 0) - begin).toBeLessThanOrEqual(30_000)
    expect(a.selections.at(-1)?.reason).toContain('no answer for 30 seconds')
    wire.advance(8000)
    expect(a.failures).toHaveLength(1)
    wire.fate = () => [10]
    wire.advance(61_000)
    expect(paths(a, b)).toEqual(DIRECT)
  })

  test('traffic of the peer is a sign of life, but no consent', () => {
    const { wire, a } = connect([A], [B])
    wire.advance(20_000)
    wire.fate = () => []
    for (let count = 0; count < 350; count++) {
      a.agent.alive({ address: '192.168.1.3', port: 47_800 }, wire.now)
      wire.advance(100)
    }
    expect(a.path).toBeUndefined()
  })
})

describe('at once', () => {
  const prepare = (wire: Wire): void => {
    wire.fate = overRelay([10])
  }

  test('a path is left that the system says nothing gets to', () => {
    const { wire, a } = connect([A, RA], [B, RB], prepare)
    wire.advance(5000)
    a.agent.sendFailed({ address: '192.168.1.3', port: 47_800 }, 'ENETUNREACH', wire.now)
    expect(a.agent.selected?.kind).toBe('relay')
    expect(a.selections.at(-1)?.reason).toContain('ENETUNREACH')
  })

  test('a path is left whose interface is gone', () => {
    const { wire, a } = connect([A, candidate('host', '10.0.0.2', { local: 1 }), RA], [B, RB], prepare)
    wire.advance(5000)
    expect(a.agent.selected?.local).toBe('host')
    a.become([candidate('host', '10.0.0.2', { local: 1 }), RA])
    expect(a.agent.selected?.kind).toBe('relay')
    expect(a.selections.at(-1)?.reason).toContain('its interface is gone')
  })

  test('the last path is lost with the last interface, and found again with the next one', () => {
    const { wire, a, b } = connect([A], [B])
    wire.advance(5000)
    a.become([])
    expect(a.path).toBeUndefined()
    a.become([A])
    wire.advance(100)
    expect(paths(a, b)).toEqual(DIRECT)
  })

  test('all is checked when the network changes', () => {
    const { wire, a } = connect([A, RA], [B, RB], prepare)
    wire.advance(20_000)
    wire.fate = overRelay()
    a.agent.networkChanged(wire.now)
    wire.advance(900)
    expect(a.agent.selected?.kind).toBe('relay')
  })

  test('what ICMP may say, which anybody can forge, only makes us ask', () => {
    const { wire, a } = connect([A, RA], [B, RB], prepare)
    wire.advance(20_000)
    for (let count = 0; count < 20; count++) {
      a.agent.sendFailed({ address: '192.168.1.3', port: 47_800 }, 'ECONNREFUSED', wire.now)
      wire.advance(100)
    }
    expect(a.path).toBe('192.168.1.3:47800')
    expect(a.selections).toHaveLength(1)
  })
})

test('every pair is reported with the reason why it is used, or not', () => {
  const { wire, a } = connect([A, RA], [B, RB, candidate('srflx', '198.51.100.9')], (wire) => {
    wire.fate = overRelay([10])
  })
  wire.advance(20_000)
  const reports = a.agent.pairs()
  expect(reports[0]).toMatchObject({ isSelected: true, state: 'succeeded', local: 'host', remote: 'host', rtt: 20 })
  expect(reports[0]?.reason).toContain('in use')
  expect(reports.every(({ reason }) => reason !== '')).toBe(true)
  const reasons = reports.map(({ reason }) => reason)
  expect(reasons).toContain('it works, and stands by')
  expect(reasons).toContain('no answer to 4 checks')
})
