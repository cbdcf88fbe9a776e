import { describe, expect, test } from 'vitest'
import { newCredentials } from '../../../daemon/nat/ice/credentials.ts'
import { StunMessage } from '../../../daemon/nat/stun/message.ts'
import { ATTRIBUTE } from '../../../daemon/nat/stun/registry.ts'
import { seeded, seededBytes } from '../../datagram/random.ts'
import { candidate, connect, Wire } from './agent-pair.ts'

const A = candidate('host', '192.168.1.2')
const B = candidate('host', '192.168.1.3')
const A6 = candidate('host', 'fd00::2')
const B6 = candidate('host', 'fd00::3')
const RA = candidate('relay', '203.0.113.1', { port: 5000, relay: 'ra' })
const RB = candidate('relay', '203.0.113.2', { port: 5001, relay: 'rb' })

describe('two agents that know each other', () => {
  test('on one LAN both have a path within two round trips', () => {
    const { wire, a, b } = connect([A, RA], [B, RB])
    wire.advance(40)
    expect([a.path, b.path]).toEqual(['192.168.1.3:47800', '192.168.1.2:47800'])
    expect(a.agent.selected).toMatchObject({ kind: 'host', local: 'host', remote: 'host', rtt: 20 })
    wire.advance(60_000)
    expect([a.selections.length, b.selections.length]).toEqual([1, 1])
  })

  test('and both families use IPv6, with IPv4 beside it from the beginning (RFC 8421)', () => {
    const { wire, a } = connect([A, A6], [B, B6])
    wire.advance(1000)
    expect(a.path).toBe('[fd00::3]:47800')
    const firstTo = (text: string) => wire.sent.find(({ from, to }) => from === a && to.address === text)?.at ?? 0
    expect(firstTo('192.168.1.3') - firstTo('fd00::3')).toBeLessThanOrEqual(5)
  })

  test('IPv6 that does not work costs next to nothing', () => {
    const { wire, a, b } = connect([A, A6], [B, B6], (wire) => {
      wire.fate = ({ to }) => (to.address.includes(':') ? [] : [10])
    })
    wire.advance(50)
    expect([a.path, b.path]).toEqual(['192.168.1.3:47800', '192.168.1.2:47800'])
  })

  test('in silence send a consent check in four to six seconds each, and nothing else (RFC 7675 section 5.1)', () => {
    const { wire, a } = connect([A], [B])
    wire.advance(10_000)
    const begin = wire.sent.length
    wire.advance(300_000)
    const checks = wire.sent.slice(begin).filter(({ from, bytes }) => from === a && bytes[0] === 0 && bytes[1] === 1)
    expect(checks.length).toBeGreaterThanOrEqual(49)
    expect(checks.length).toBeLessThanOrEqual(76)
    expect(wire.sent.length - begin).toBeLessThanOrEqual(4 * 76)
  })

  test('find what a path carries by padded checks, and tell it', () => {
    const { wire, a, b } = connect([A], [B], (wire) => {
      wire.fate = ({ bytes }) => (bytes.length > 1400 ? [] : [10])
    })
    expect(a.agent.selected).toBeUndefined()
    wire.advance(5000)
    expect([a.agent.selected?.mtu, b.agent.selected?.mtu]).toEqual([1400, 1400])
    expect(a.measured.at(-1)?.mtu).toBe(1400)
    expect(Math.max(...wire.sent.map(({ bytes }) => bytes.length))).toBe(1472)
  })

  test('a size that the system refuses is not tried again', () => {
    const { wire, a } = connect([A], [B], (wire) => {
      wire.fate = ({ bytes, from, to }) => {
        if (bytes.length <= 1432) return [10]
        wire.after(0, () => from.agent.sendFailed(to, 'EMSGSIZE', wire.now))
        return []
      }
    })
    wire.advance(1000)
    expect(a.agent.selected?.mtu).toBe(1432)
    expect(wire.sent.filter(({ bytes, from }) => from === a && bytes.length === 1472)).toHaveLength(1)
    expect(a.path).toBeDefined()
  })
})

describe('candidates', () => {
  test('trickle in on both sides, while it runs (RFC 8838)', () => {
    const { wire, a, b } = connect([A], [])
    wire.advance(3000)
    expect(a.path).toBeUndefined()
    b.become([B])
    a.learn(b)
    wire.advance(100)
    expect([a.path, b.path]).toEqual(['192.168.1.3:47800', '192.168.1.2:47800'])
  })

  test('of the peer that nobody told are learned from its checks (RFC 8445 section 7.3.1.3), and named later', () => {
    const { wire, a, b } = connect([A], [])
    b.candidates = [B]
    wire.advance(100)
    expect(a.agent.selected).toMatchObject({ remote: 'prflx', kind: 'prflx' })
    a.learn(b)
    expect(a.agent.selected).toMatchObject({ remote: 'host', kind: 'host' })
    expect(a.selections).toHaveLength(1)
  })

  test('of our own are told by how the peer sees us (section 7.2.5.3.1)', () => {
    const srflx = candidate('srflx', '198.51.100.7', { port: 1234 })
    const { wire, a, b } = connect([A, srflx], [B], (wire) => {
      const { source } = wire
      wire.source = (from, to) => (from === wire.ends[0] ? srflx : source(from, to))
    })
    wire.advance(100)
    expect(a.agent.selected).toMatchObject({ local: 'srflx', remote: 'host', kind: 'srflx' })
    expect(b.agent.selected?.to).toEqual({ address: '198.51.100.7', port: 1234 })
  })

  test('a relay that goes ends its pairs; the path moves at once', () => {
    const { wire, a, b } = connect([A, RA], [B, RB], (wire) => {
      wire.fate = ({ to }) => (to.relay === undefined ? [] : [10])
    })
    wire.fate = ({ to, from }) => (to.relay === undefined && to.address.startsWith('192') ? [] : from ? [20] : [])
    wire.advance(2000)
    expect(a.agent.selected?.kind).toBe('relay')
    const isOverOwn = a.agent.selected?.to.relay === 'ra'
    const end = isOverOwn ? a : b
    end.become(end === a ? [A] : [B])
    expect(end.path).toBeDefined()
    expect(end.agent.pairs().some(({ to }) => to.relay !== undefined)).toBe(false)
  })

  test('one that the peer does not name any more is used as long as it answers', () => {
    const { wire, a, b } = connect([A], [B])
    wire.advance(1000)
    a.agent.setRemote(b.credentials, [], wire.now)
    wire.advance(60_000)
    expect(a.path).toBe('192.168.1.3:47800')
    wire.fate = () => []
    wire.advance(31_000)
    expect(a.path).toBeUndefined()
    expect(a.agent.pairs()).toEqual([])
  })
})

describe('a check that comes before the description of the peer', () => {
  test('is answered, and counts once the description is there', () => {
    const wire = new Wire()
    const a = wire.end([A], { isControlling: true })
    const b = wire.end([B])
    a.learn(b)
    wire.advance(25)
    expect(b.path).toBeUndefined()
    // A check and its answer have given the other side all it needs.
    expect(a.path).toBe('192.168.1.3:47800')
    wire.advance(1000)
    b.agent.setRemote(a.credentials, [], wire.now)
    wire.advance(30)
    expect(b.path).toBe('192.168.1.2:47800')
  })
})

describe('roles', () => {
  test('both controlling, or neither: one of them gives way (RFC 8445 section 7.3.1.1)', () => {
    for (const isControlling of [true, false]) {
      const wire = new Wire()
      const [a, b] = [wire.end([A], { isControlling }), wire.end([B], { isControlling })]
      a.learn(b)
      b.learn(a)
      wire.advance(1000)
      expect([a.path, b.path]).toEqual(['192.168.1.3:47800', '192.168.1.2:47800'])
      expect(a.agent.isControlling).not.toBe(b.agent.isControlling)
    }
  })
})

describe('failure', () => {
  test('is told within eight seconds, in words, once, and checks of the peer are still answered (RFC 8863)', () => {
    const { wire, a, b } = connect([A, RA], [B, RB], (wire) => {
      wire.fate = () => []
    })
    wire.advance(8000)
    expect(a.failures).toHaveLength(1)
    expect(a.failures[0]?.reason).toBe('no answer from any of 2 addresses; nothing of the peer arrived')
    wire.advance(60_000)
    expect(a.failures).toHaveLength(1)
    wire.fate = () => [10]
    b.agent.networkChanged(wire.now)
    wire.advance(100)
    expect([a.path, b.path]).toEqual(['192.168.1.3:47800', '192.168.1.2:47800'])
  })

  test('says so when there is nothing to try, or nothing of ours arrives', () => {
    const none = connect([A], [])
    none.wire.fate = () => []
    none.wire.advance(8000)
    expect(none.a.failures[0]?.reason).toBe('the peer named no address that can be tried')
    const other = connect([A], [B6])
    other.wire.advance(8000)
    expect(other.a.failures[0]?.reason).toContain('no answer from its only address')
    const deaf = connect([A], [B], (wire) => {
      wire.fate = ({ from }) => (from === wire.ends[0] ? [] : [10])
    })
    deaf.wire.advance(8000)
    expect(deaf.a.failures[0]?.reason).toContain('the checks of the peer arrive, the answers to ours do not')
  })

  test('is told in time however often the peer begins anew', () => {
    const { wire, a, b } = connect([A], [B], (wire) => {
      wire.fate = () => []
    })
    for (let count = 0; count < 8; count++) {
      b.restart(newCredentials(seededBytes(seeded(count))))
      a.learn(b)
      wire.advance(1000)
    }
    expect(a.failures).toHaveLength(1)
  })

  test('says so when nothing can be sent', () => {
    const { wire, a } = connect([A], [B], (wire) => {
      wire.fate = ({ from, to }) => {
        wire.after(0, () => from.agent.sendFailed(to, 'ENETUNREACH', wire.now))
        return []
      }
    })
    wire.advance(8000)
    expect(a.failures[0]?.reason).toContain('nothing can be sent to its only address')
    expect(a.agent.pairs()[0]?.reason).toBe('cannot be sent to (ENETUNREACH)')
  })
})

describe('restart', () => {
  const credentials = newCredentials(seededBytes(seeded(77)))

  test('of either side keeps the path until there is another, and tells of no other when it is the same', () => {
    for (const which of ['a', 'b'] as const) {
      const ends = connect([A], [B])
      const { wire, a, b } = ends
      wire.advance(1000)
      ends[which].restart(credentials)
      wire.advance(500)
      const [one, other] = which === 'a' ? [a, b] : [b, a]
      other.learn(one)
      wire.advance(60_000)
      expect([a.path, b.path]).toEqual(['192.168.1.3:47800', '192.168.1.2:47800'])
      expect([a.selections.length, b.selections.length]).toEqual([1, 1])
    }
  })

  test('of the controlled side: the controlling one tells it again which path is in use', () => {
    const { wire, a, b } = connect([A], [B])
    wire.advance(1000)
    const [controlling, other] = a.agent.isControlling ? [a, b] : [b, a]
    other.restart(credentials)
    wire.advance(20)
    controlling.learn(other)
    const before = wire.sent.length
    wire.advance(6000)
    const checks = wire.sent.slice(before).filter(({ from }) => from === controlling)
    const nominating = checks.filter(({ bytes }) => StunMessage.decode(bytes).has(ATTRIBUTE.useCandidate))
    expect(nominating.length).toBeGreaterThan(0)
  })

  test('of which the peer does not know: its checks with the old credentials are answered meanwhile', () => {
    const { wire, a, b } = connect([A], [B])
    wire.advance(1000)
    a.restart(credentials)
    wire.advance(45_000)
    expect([a.path, b.path]).toEqual(['192.168.1.3:47800', '192.168.1.2:47800'])
  })

  test('after a failure begins anew', () => {
    const { wire, a, b } = connect([A], [B], (wire) => {
      wire.fate = () => []
    })
    wire.advance(8000)
    a.restart(credentials)
    b.learn(a)
    wire.advance(8000)
    expect(a.failures).toHaveLength(2)
    wire.fate = () => [10]
    a.learn(b)
    wire.advance(20_000)
    expect(b.path).toBe('192.168.1.2:47800')
  })
})

test('after it is closed an agent says nothing, and wants nothing', () => {
  const { wire, a, b } = connect([A], [B])
  wire.advance(1000)
  a.agent.close()
  a.agent.close()
  const begin = wire.sent.filter(({ from }) => from === a).length
  a.learn(b)
  wire.advance(60_000)
  expect(wire.sent.filter(({ from }) => from === a)).toHaveLength(begin)
  expect(a.agent.deadline).toBe(Number.POSITIVE_INFINITY)
  expect(a.mux.transactions).toBe(0)
})
