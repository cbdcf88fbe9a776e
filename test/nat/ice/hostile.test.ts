import { describe, expect, test } from 'vitest'
import type { RemoteCandidate } from '../../../daemon/nat/candidate.ts'
import { writeCheck } from '../../../daemon/nat/ice/check-message.ts'
import { StunMessage } from '../../../daemon/nat/stun/message.ts'
import { candidate, connect, type End, Wire } from './agent-pair.ts'

const A = candidate('host', '192.168.1.2')
const B = candidate('host', '192.168.1.3')
const PEER = { ufrag: 'evil', pwd: 'evil+evil+evil+evil+evil' }
const VICTIM = { address: '198.51.100.66', port: 53 }

const remote = (address: string, port = 1000): RemoteCandidate => candidate('host', address, { port })

/** An agent whose peer says and sends what it likes. */
function target(): { readonly wire: Wire; readonly a: End; readonly requests: () => number } {
  const wire = new Wire()
  const a = wire.end([A], { isControlling: true })
  wire.fate = () => []
  return { wire, a, requests: () => wire.sent.filter(({ bytes }) => bytes.readUInt16BE(0) === 1).length }
}

let count = 0
function check(end: End, options: Partial<Parameters<typeof writeCheck>[1]> = {}, pwd = end.credentials.pwd) {
  const id = Buffer.alloc(12)
  id.writeUInt32BE(++count)
  const said = {
    to: end.credentials.ufrag,
    from: PEER.ufrag,
    priority: 1,
    role: 'controlled',
    tieBreaker: Buffer.alloc(8),
    nomination: undefined,
  } as const
  return StunMessage.decode(writeCheck(id, { ...said, ...options }, pwd))
}

describe('a peer that names addresses of others (RFC 8445 section 19.5.1)', () => {
  test('gets seven checks sent there, and no more until it says something new', () => {
    const { wire, a, requests } = target()
    a.agent.setRemote(PEER, [remote(VICTIM.address)], wire.now)
    wire.advance(3_600_000)
    expect(requests()).toBe(7)
  })

  test('over and over, with new credentials each time, gets one in five seconds', () => {
    const { wire, a, requests } = target()
    for (let second = 0; second < 1000; second++) {
      a.agent.setRemote({ ...PEER, ufrag: `evil${second}` }, [remote(VICTIM.address)], wire.now)
      wire.advance(1000)
    }
    expect(requests()).toBeLessThanOrEqual(8 + 200)
  })

  test('by the thousand gets 45 checks in a second at most, and 400 and five a second in the long run', () => {
    const { wire, a, requests } = target()
    let most = 0
    for (let second = 0; second < 300; second++) {
      const before = requests()
      const many = Array.from({ length: 200 }, (_, at) => remote(`198.19.${second % 250}.${at}`, 1000 + second))
      a.agent.setRemote(PEER, many, wire.now)
      wire.advance(1000)
      most = Math.max(most, requests() - before)
    }
    expect(a.agent.pairs()).toHaveLength(32)
    expect(most).toBeLessThanOrEqual(46)
    expect(requests()).toBeLessThanOrEqual(400 + 5 * 300 + 1)
  })

  test('that nobody can be at gets nothing', () => {
    const { wire, a, requests } = target()
    const nowhere = [
      '127.0.0.1',
      '0.0.0.0',
      '224.0.0.1',
      '255.255.255.255',
      '::',
      '::1',
      'ff02::1',
      'fe80::1',
      '::ffff:7f00:1',
    ]
    a.agent.setRemote(PEER, [...nowhere.map((one) => remote(one)), remote('8.8.8.8', 0), A], wire.now)
    wire.advance(60_000)
    expect(a.agent.pairs()).toEqual([])
    expect(requests()).toBe(0)
  })

  test('of all families and relays gets a hundred pairs at most (section 6.1.2.5)', () => {
    const { wire, a } = target()
    a.become([
      A,
      ...Array.from({ length: 10 }, (_, at) => candidate('relay', '203.0.113.1', { port: 5000 + at, relay: `r${at}` })),
    ])
    a.agent.setRemote(
      PEER,
      Array.from({ length: 32 }, (_, at) => remote(`198.19.0.${at + 1}`)),
      wire.now,
    )
    wire.advance(1000)
    expect(a.agent.pairs()).toHaveLength(100)
  })

  test('and sends checks that claim to come from everywhere gets eight pairs more', () => {
    const { wire, a, requests } = target()
    a.agent.setRemote(PEER, [], wire.now)
    for (let at = 0; at < 2000; at++)
      a.mux.receive(check(a), { address: `198.19.${at >> 8}.${at & 255}`, port: 9 }, wire.now)
    wire.advance(10_000)
    expect(a.agent.pairs().length).toBeLessThanOrEqual(8)
    expect(requests()).toBeLessThanOrEqual(8 * 8)
  })
})

describe('messages', () => {
  test('that are for nobody, or not authentic, are not answered, and are counted', () => {
    const { wire, a } = target()
    a.agent.setRemote(PEER, [], wire.now)
    expect(a.mux.receive(check(a, { to: 'nobody' }), VICTIM, wire.now)).toBe(false)
    expect(a.mux.receive(check(a, {}, 'another password, not ours'), VICTIM, wire.now)).toBe(false)
    wire.advance(1000)
    expect(wire.sent).toEqual([])
    expect(a.refusals.snapshot()).toEqual({ 'policy.refused': 1, 'peer.bad-signature': 1 })
  })

  test('that come early are remembered for eight senders', () => {
    const { wire, a } = target()
    for (let at = 0; at < 100; at++) a.mux.receive(check(a), { address: '198.19.0.1', port: 1000 + at }, wire.now)
    a.agent.setRemote(PEER, [], wire.now)
    expect(a.agent.pairs().map(({ to }) => to.port)).toHaveLength(8)
  })

  test('replayed from another address are neither answered nor heeded', () => {
    const { wire, a } = target()
    a.agent.setRemote(PEER, [], wire.now)
    const message = check(a)
    expect(a.mux.receive(message, { address: '198.19.0.1', port: 9 }, wire.now)).toBe(true)
    const sent = wire.sent.length
    expect(a.mux.receive(message, VICTIM, wire.now)).toBe(false)
    wire.advance(60_000)
    expect(wire.sent.slice(sent).some(({ to }) => to.address === VICTIM.address)).toBe(false)
    expect(a.agent.pairs()).toHaveLength(1)
  })

  test('of our own, sent back to us, are nothing', () => {
    const { wire, a, b } = connect([A], [B])
    const [own] = wire.sent.filter(({ from }) => from === a)
    expect(own && a.mux.receive(StunMessage.decode(own.bytes), VICTIM, wire.now)).toBe(false)
    // Even where the peer has given itself our names.
    a.agent.setRemote(a.credentials, [remote(VICTIM.address)], wire.now)
    wire.advance(1000)
    expect([a.path, b.path]).toEqual(['192.168.1.3:47800', '192.168.1.2:47800'])
  })
})

describe('answers', () => {
  /** The first answer of b to a, which was not delivered. */
  function held() {
    const ends = connect([A], [B], (wire) => {
      wire.fate = ({ from, bytes }) => (from === wire.ends[1] && bytes[0] === 1 ? [] : [10])
    })
    ends.wire.advance(15)
    const answer = ends.wire.sent.find(({ from, bytes }) => from === ends.b && bytes[0] === 1)?.bytes ?? Buffer.alloc(0)
    return { ...ends, answer }
  }

  test('count from the address that was asked only: consent cannot be given from another', () => {
    const { wire, a, answer } = held()
    expect(a.mux.receive(StunMessage.decode(answer), VICTIM, wire.now)).toBe(false)
    expect(a.path).toBeUndefined()
    expect(a.mux.receive(StunMessage.decode(answer), { address: '192.168.1.3', port: 47_800 }, wire.now)).toBe(true)
    expect(a.path).toBe('192.168.1.3:47800')
  })

  test('count once, unchanged, and only where they were asked for', () => {
    const { wire, a, answer } = held()
    const from = { address: '192.168.1.3', port: 47_800 }
    const other = Buffer.from(answer)
    other.writeUInt32BE(1, 8)
    const plain = Buffer.from(answer.subarray(0, answer.length - 8))
    plain.writeUInt16BE(plain.length - 20, 2)
    plain[30] = (plain[30] ?? 0) ^ 1
    expect(a.mux.receive(StunMessage.decode(plain), from, wire.now)).toBe(false)
    expect(() => StunMessage.decode(other)).toThrow()
    expect(a.mux.receive(StunMessage.decode(answer), from, wire.now)).toBe(true)
    expect(a.mux.receive(StunMessage.decode(answer), from, wire.now)).toBe(false)
  })
})

test('roles that change with every check change ours a few times, and the path never', () => {
  const { wire, a, b } = connect([A], [B])
  wire.advance(1000)
  let changes = 0
  for (let at = 0; at < 500; at++) {
    const before = a.agent.isControlling
    const role = before ? 'controlling' : 'controlled'
    const tieBreaker = Buffer.alloc(8, before ? 0xff : 0)
    a.mux.receive(check(a, { role, tieBreaker, from: b.credentials.ufrag }), VICTIM, wire.now)
    if (a.agent.isControlling !== before) changes++
    wire.advance(20)
  }
  expect(changes).toBeLessThanOrEqual(6)
  expect(a.path).toBe('192.168.1.3:47800')
})

test('nominations that arrive late, or again, change nothing', () => {
  const { wire, a, b } = connect([A, candidate('relay', '203.0.113.1', { relay: 'ra' })], [B], (wire) => {
    wire.fate = ({ to, at }) => (to.relay !== undefined || to.address.startsWith('203.') || at > 5000 ? [20] : [])
  })
  wire.advance(30_000)
  expect(b.path).toBe('192.168.1.2:47800')
  const told = b.selections.length
  const late = check(b, {
    from: a.credentials.ufrag,
    role: 'controlling',
    nomination: 1,
    tieBreaker: Buffer.alloc(8, 255),
  })
  b.mux.receive(late, { address: '203.0.113.1', port: 47_800 }, wire.now)
  wire.advance(1000)
  expect(b.path).toBe('192.168.1.2:47800')
  expect(b.selections).toHaveLength(told)
})
