import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { DEAD_AFTER, KEEPALIVE } from '../../daemon/session/core.ts'
import { FLAG, FRAME, FrameWriter } from '../../daemon/session/frame.ts'
import { MAX_WAITING } from '../../daemon/session/outbox.ts'
import { RoundTrip } from '../../daemon/session/round-trip.ts'
import { MAX_MESSAGE } from '../../daemon/session/session.ts'
import { exchange, Host } from './core-pair.ts'

const KIB = 1024

/** The bytes of one frame. */
function raw(type: number, flags: number, lane: number, payload: Uint8Array): Buffer {
  const writer = new FrameWriter()
  const at = writer.frame(type, flags, lane, payload.length)
  writer.buffer.set(payload, at)
  return writer.take()
}

/** A message frame as a peer could write it. */
function piece(id: number, total: number, data: Uint8Array, flags: number, lane = 0, channel = 'c'): Buffer {
  const head = Buffer.alloc(flags & FLAG.first ? 17 + channel.length : 6)
  head.writeUIntBE(id, 0, 6)
  if (flags & FLAG.first) {
    head.writeUInt32BE(total, 6)
    head.writeUIntBE(id + 1, 10, 6)
    head[16] = channel.length
    head.write(channel, 17)
  }
  return raw(FRAME.message, flags, lane, Buffer.concat([head, data]))
}

const WHOLE = FLAG.first | FLAG.last | FLAG.reliable

describe('messages', () => {
  it('arrive whole, and their sender is told when an app has them', () => {
    const [a, b] = [new Host(), new Host()]
    const told = a.send('chess', 'e2e4', { lane: 3 })
    exchange(a, b)
    expect(b.messages).toMatchObject([{ channel: 'chess', lane: 3, number: 1, reliable: true }])
    expect(b.texts).toEqual(['e2e4'])
    expect(told).toEqual([])
    for (const message of b.messages) b.core.settle(message, 0)
    exchange(a, b)
    expect(told).toEqual(['delivered'])
    expect(a.core.unacknowledged).toBe(0)
  })

  it('are told refused, with the code', () => {
    const [a, b] = [new Host(), new Host()]
    const told = a.send('chess', 'e2e4')
    exchange(a, b)
    for (const message of b.messages) b.core.settle(message, 0, 'peer.no-listener')
    exchange(a, b)
    expect(told).toEqual(['peer.no-listener'])
  })

  it('are not told lost for a fault at the peer that is none here', () => {
    const [a, b] = [new Host(), new Host()]
    const told = a.send('chess', 'e2e4')
    exchange(a, b)
    for (const message of b.messages) b.core.settle(message, 0, 'local.internal')
    exchange(a, b)
    expect(told).toEqual(['peer.busy'])
  })

  it('count once, however often they are settled', () => {
    const [a, b] = [new Host(), new Host()]
    const told = a.send('chess', 'e2e4')
    exchange(a, b)
    const [message] = b.messages
    if (message) for (const code of ['', 'peer.busy']) b.core.settle(message, 0, code)
    exchange(a, b)
    expect(told).toEqual(['delivered'])
  })

  it('of nothing and of the largest size arrive', () => {
    const [a, b] = [new Host(), new Host()]
    a.send('c', new Uint8Array())
    a.send('c', new Uint8Array(MAX_MESSAGE).fill(7))
    exchange(a, b)
    expect(b.messages.map(({ data }) => data.length)).toEqual([0, MAX_MESSAGE])
    expect(b.messages[1]?.data.every((value) => value === 7)).toBe(true)
  })

  it('of one lane do not hold up those of another', () => {
    const [a, b] = [new Host(), new Host()]
    a.send('bulk', new Uint8Array(MAX_MESSAGE), { lane: 0 })
    a.send('urgent', 'now', { lane: 1 })
    b.core.receive(a.core.takeOutput(2 * 16 * KIB, 0), 0)
    expect(b.texts).toEqual(['now'])
  })

  it('wait at the sender when no app takes them, lane by lane', () => {
    const [a, b] = [new Host(), new Host()]
    for (let i = 0; i < 5000; i++) a.send('slow', String(i))
    a.send('quick', 'hello', { lane: 1 })
    exchange(a, b)
    expect(b.messages.filter(({ channel }) => channel === 'slow')).toHaveLength(4096)
    expect(b.messages.filter(({ channel }) => channel === 'quick')).toHaveLength(1)
    for (let from = 0; from < b.messages.length; ) {
      const more = b.messages.slice(from)
      from = b.messages.length
      for (const message of more) b.core.settle(message, 0)
      exchange(a, b)
    }
    const slow = b.messages.filter(({ channel }) => channel === 'slow').map(({ data }) => Number(data.toString()))
    expect(slow).toEqual(Array.from({ length: 5000 }, (_, i) => i))
  })

  it('wait by their bytes as well, and in the session as a whole', () => {
    const [a, b] = [new Host(), new Host()]
    for (let lane = 0; lane < 6; lane++) for (let i = 0; i < 6; i++) a.send('c', new Uint8Array(400 * KIB), { lane })
    exchange(a, b)
    // Five of 400 KiB fit a lane, twenty the session.
    for (let lane = 0; lane < 6; lane++)
      expect(b.messages.filter((message) => message.lane === lane).length).toBeLessThanOrEqual(5)
    expect(b.messages).toHaveLength(20)
    expect(b.ends).toEqual([])
    for (let settled = 0; settled < 36; exchange(a, b))
      for (const message of b.messages.slice(settled)) {
        b.core.settle(message, 0)
        settled++
      }
    expect(b.messages).toHaveLength(36)
  })

  it('of many lanes with slow apps never reach what the peer refuses', () => {
    const [a, b] = [new Host(), new Host()]
    for (let lane = 0; lane < 10; lane++) for (let i = 0; i < 1600; i++) a.send('c', 'x', { lane })
    exchange(a, b)
    expect(b.ends).toEqual([])
    expect(b.messages).toHaveLength(8192)
  })

  it('are refused here when too many wait already', () => {
    const a = new Host()
    const told = Array.from({ length: MAX_WAITING + 1 }, () => a.send('c', 'x'))
    expect(told.flat()).toEqual(['local.limit'])
    expect(told.at(-1)).toEqual(['local.limit'])
    expect(a.send('other', 'x', { reliable: false })).toEqual([])
  })

  it('that are unreliable need no word, and are dropped when the link takes no more', () => {
    const [a, b] = [new Host(), new Host()]
    const told = Array.from({ length: 5000 }, () => a.send('game', 'x', { reliable: false }))
    expect(told.flat().length).toBe(5000 - 4096)
    exchange(a, b)
    expect(told.flat().filter((fate) => fate === 'delivered')).toHaveLength(4096)
    expect(told.flat().filter((fate) => fate === 'dropped')).toHaveLength(5000 - 4096)
    expect(b.messages).toHaveLength(4096)
    for (const message of b.messages) b.core.settle(message, 0, 'peer.no-listener')
    expect(b.core.hasOutput).toBe(false)
    expect(b.core.busy).toBe(false)
  })

  it('are told to be lost when the session ends, each once', () => {
    const [a, b] = [new Host(), new Host()]
    const told = Array.from({ length: 1500 }, (_, i) => a.send('c', String(i)))
    exchange(a, b)
    const [first] = b.messages
    if (first) b.core.settle(first, 0)
    exchange(a, b)
    a.core.close({ code: 'network.lost', message: '', by: 'network' })
    expect(told[0]).toEqual(['delivered'])
    expect(told.slice(1).flat()).toEqual(Array.from({ length: 1499 }, () => 'network.lost'))
    expect(a.send('c', 'late')).toEqual(['network.lost'])
  })
})

describe('acknowledgements', () => {
  /** B answers each message after `pause`; how many writes of B carried nothing but an acknowledgement. */
  function lonely(pause: number, count: number): number {
    const [a, b] = [new Host(), new Host()]
    exchange(a, b)
    let now = 10
    let alone = 0
    for (let i = 0; i < count; i++) {
      a.send('c', 'ping', {}, now)
      b.core.receive(a.core.takeOutput(1e6, now), now)
      for (const message of b.messages.splice(0)) b.core.settle(message, now)
      while (b.core.deadline <= now + pause) {
        now = b.core.deadline
        b.core.tick(now)
        if (!b.core.hasOutput) break
      }
      if (b.core.hasOutput) {
        alone++
        a.core.receive(b.core.takeOutput(1e6, now), now)
      }
      now += pause
      b.send('c', 'pong', {}, now)
      a.core.receive(b.core.takeOutput(1e6, now), now)
      for (const message of a.messages.splice(0)) a.core.settle(message, now)
      b.core.receive(a.core.takeOutput(1e6, now), now)
      now += 1
    }
    return alone
  }

  it('wait a moment for company where an answer usually follows at once', () => {
    expect(lonely(0.2, 100)).toBeLessThan(10)
  })

  it('go at once where none does', () => {
    expect(lonely(50, 100)).toBe(100)
  })

  it('of one sender that waits for each go at once', () => {
    const [a, b] = [new Host(), new Host()]
    exchange(a, b)
    for (let i = 0; i < 20; i++) {
      const told = a.send('c', 'x', {}, i)
      b.core.receive(a.core.takeOutput(1e6, i), i)
      for (const message of b.messages.splice(0)) b.core.settle(message, i)
      expect(b.core.hasOutput).toBe(true)
      a.core.receive(b.core.takeOutput(1e6, i), i)
      expect(told).toEqual(['delivered'])
    }
  })
})

describe('the end of a session', () => {
  it('is seen by both sides with its reason', () => {
    const [a, b] = [new Host(), new Host()]
    a.core.close({ code: 'policy.blocked', message: 'go away', by: 'local' })
    exchange(a, b)
    expect(a.ends).toEqual([{ code: 'policy.blocked', message: 'go away', by: 'local' }])
    expect(b.ends).toEqual([{ code: 'policy.blocked', message: 'go away', by: 'peer' }])
  })

  it('does not take back what an app has: its word goes before the goodbye', () => {
    const [a, b] = [new Host(), new Host()]
    const told = a.send('c', 'x')
    exchange(a, b)
    for (const message of b.messages) b.core.settle(message, 0)
    b.core.close({ code: 'done', message: '', by: 'local' })
    exchange(a, b)
    expect(told).toEqual(['delivered'])
  })

  it('comes once, and nothing comes after it', () => {
    const [a, b] = [new Host(), new Host()]
    const told = a.send('c', 'x')
    const output = a.core.takeOutput(1000, 0)
    b.core.close({ code: 'done', message: '', by: 'local' })
    b.core.receive(output, 0)
    b.core.tick(1e9)
    b.core.close({ code: 'network.lost', message: '', by: 'network' })
    exchange(a, b)
    expect(b.ends).toHaveLength(1)
    expect(b.messages).toEqual([])
    expect(told).toEqual(['peer.closed'])
    expect(b.core.ping(0, () => {})).toBe(false)
  })
})

describe('keepalive', () => {
  it('asks after some silence, and finds a link dead on which nobody answers', () => {
    const a = new Host(0)
    a.core.takeOutput(1000, 0)
    for (const now of [KEEPALIVE, 2 * KEEPALIVE]) {
      expect(a.core.deadline).toBe(now)
      a.core.tick(now)
      expect(a.core.takeOutput(1000, 0).length).toBeGreaterThan(0)
    }
    expect(a.core.deadline).toBe(DEAD_AFTER)
    a.core.tick(DEAD_AFTER - 1)
    expect(a.silences).toBe(0)
    a.core.tick(DEAD_AFTER)
    expect(a.silences).toBe(1)
  })

  it('goes on while the peer answers', () => {
    const [a, b] = [new Host(), new Host()]
    for (let now = 0; now < 60_000; now += 500) {
      exchange(a, b, now)
      a.core.tick(now)
      b.core.tick(now)
    }
    expect(a.silences + b.silences).toBe(0)
  })

  it('gives a peer time to answer when this host itself was asleep', () => {
    const [a, b] = [new Host(), new Host()]
    exchange(a, b)
    a.core.tick(60_000)
    a.core.tick(60_001)
    exchange(a, b, 60_010)
    a.core.tick(60_020)
    expect(a.silences).toBe(0)
  })

  it('is not put off by pings of an app', () => {
    const a = new Host(0)
    for (let now = 0; now <= DEAD_AFTER; now += 500) {
      a.core.ping(now, () => {})
      a.core.tick(now)
    }
    expect(a.silences).toBe(1)
  })

  it('is sooner when the network under the link has changed', () => {
    const [a, b] = [new Host(), new Host()]
    exchange(a, b)
    a.core.doubt(100)
    expect(a.core.deadline).toBe(1100)
    exchange(a, b, 200)
    a.core.tick(1100)
    expect(a.silences).toBe(0)
    a.core.doubt(1200)
    a.core.tick(2200)
    expect(a.silences).toBe(1)
  })
})

describe('round trips', () => {
  it('are measured; of the first ones, which have the warming up in them, the shortest counts', () => {
    const [a, b] = [new Host(0), new Host(0)]
    exchange(a, b, 80)
    expect(a.trips).toEqual([80])
    const times: (number | undefined)[] = []
    expect(a.core.ping(100, (rtt) => times.push(rtt))).toBe(true)
    b.core.receive(a.core.takeOutput(1000, 0), 110)
    a.core.receive(b.core.takeOutput(1000, 0), 116)
    expect(times).toEqual([16])
    expect(a.trips).toEqual([80, 16])
  })

  it('are measured every two seconds while messages go, not only in silence', () => {
    const [a, b] = [new Host(0), new Host(0)]
    exchange(a, b)
    for (let now = 0; now < 10_000; now += 100) {
      a.send('c', 'x', {}, now)
      exchange(a, b, now)
      for (const message of b.messages.splice(0)) b.core.settle(message, now)
      exchange(a, b, now)
      a.core.tick(now)
      b.core.tick(now)
    }
    expect(a.trips.length).toBe(5)
    expect(b.trips.length).toBe(5)
  })

  it('are smoothed as RFC 6298 has it, once they have settled', () => {
    const roundTrip = new RoundTrip()
    for (const sample of [80, 16, 40, 24]) roundTrip.add(sample)
    expect(roundTrip.smoothed).toBe(16)
    roundTrip.add(24)
    expect(roundTrip.smoothed).toBe(17)
  })

  it('end without a time when no answer comes or the session ends', () => {
    const [a, b] = [new Host(0), new Host(0)]
    exchange(a, b)
    const times: (number | undefined)[] = []
    a.core.ping(0, (rtt) => times.push(rtt))
    a.core.takeOutput(1000, 0)
    for (let now = 0; now <= DEAD_AFTER; now += 1000) {
      b.core.ping(now, () => {})
      a.core.receive(b.core.takeOutput(1000, 0), now)
      a.core.tick(now)
    }
    expect(times).toEqual([undefined])
    a.core.ping(0, (rtt) => times.push(rtt))
    a.core.close({ code: 'done', message: '', by: 'local' })
    expect(times).toEqual([undefined, undefined])
  })

  it('under way are bounded', () => {
    const a = new Host(0)
    const sent = Array.from({ length: 100 }, () => a.core.ping(0, () => {}))
    expect(sent.filter(Boolean)).toHaveLength(63)
  })
})

describe('a peer that breaks the rules', () => {
  /** Why a session ends that gets these bytes. */
  const verdict = (...frames: readonly Buffer[]): string | undefined => {
    const host = new Host()
    for (const frame of frames) host.core.receive(frame, 0)
    return host.ends[0]?.code
  }
  const control = (value: Uint8Array): Buffer => raw(FRAME.control, 0, 0, value)

  it.each([
    ['a frame of unknown type', raw(99, 0, 0, Buffer.alloc(4)), 'peer.malformed'],
    ['a message frame that is too short', raw(FRAME.message, WHOLE, 0, Buffer.alloc(3)), 'peer.malformed'],
    ['a lane that is too high', piece(1, 1, Buffer.alloc(1), WHOLE, 16), 'peer.malformed'],
    ['a piece of nothing', piece(1, 1, Buffer.alloc(1), FLAG.last), 'peer.malformed'],
    ['a message without a channel', piece(1, 1, Buffer.alloc(1), WHOLE, 0, ''), 'peer.malformed'],
    ['a channel with a long name', piece(1, 1, Buffer.alloc(1), WHOLE, 0, 'x'.repeat(129)), 'peer.oversized'],
    ['a message longer than it said', piece(1, 1, Buffer.alloc(2), WHOLE), 'peer.malformed'],
    ['a message shorter than it said', piece(1, 3, Buffer.alloc(2), WHOLE), 'peer.malformed'],
    ['a message that is too long', piece(1, MAX_MESSAGE + 1, Buffer.alloc(1), FLAG.first), 'peer.oversized'],
    ['a ping of a wrong length', raw(FRAME.ping, 0, 0, Buffer.alloc(5)), 'peer.malformed'],
    ['a confirmation of a wrong length', raw(FRAME.confirm, 0, 0, Buffer.alloc(5)), 'peer.malformed'],
    ['a confirmation of what was never sent', raw(FRAME.confirm, 0, 0, Buffer.alloc(6, 1)), 'peer.malformed'],
    ['half an acknowledgement', raw(FRAME.acknowledge, 0, 0, Buffer.alloc(8)), 'peer.malformed'],
    ['an acknowledgement cut off', raw(FRAME.acknowledge, 0, 0, Buffer.alloc(9, 9)), 'peer.malformed'],
    ['control that is none', control(Buffer.from('hello')), 'peer.malformed'],
  ])('by %s loses the session', (_, frame, code) => {
    expect(verdict(frame)).toBe(code)
  })

  it('by two messages of one number loses the session', () => {
    expect(verdict(piece(1, 1, Buffer.alloc(1), WHOLE), piece(1, 1, Buffer.alloc(1), WHOLE))).toBe('peer.malformed')
  })

  it('by more messages than the windows allow loses the session', () => {
    const messages = Array.from({ length: 16_385 }, (_, id) => piece(id, 0, Buffer.alloc(0), WHOLE))
    expect(verdict(...messages.slice(1))).toBeUndefined()
    expect(verdict(...messages)).toBe('peer.oversized')
  })

  it('by beginning more bytes than the windows allow loses the session', () => {
    const begun = Array.from({ length: 33 }, (_, id) => piece(id, MAX_MESSAGE, Buffer.alloc(1), FLAG.first))
    expect(verdict(...begun.slice(1))).toBeUndefined()
    expect(verdict(...begun)).toBe('peer.oversized')
  })

  it('by asking for answers that it does not read loses the session', () => {
    const host = new Host()
    const pings = Buffer.concat(Array.from({ length: 1000 }, () => raw(FRAME.ping, 0, 0, Buffer.alloc(10))))
    for (let i = 0; i < 200; i++) host.core.receive(pings, 0)
    expect(host.ends).toMatchObject([{ code: 'peer.oversized' }])
    expect(host.core.takeOutput(0, 0).length).toBeLessThan(2 * 1024 * 1024)
  })

  it('by sending messages and never reading their refusals loses the session', () => {
    const host = new Host()
    for (let id = 0; id < 100_000; id++) {
      host.core.receive(piece(id, 0, Buffer.alloc(0), WHOLE), 0)
      for (const message of host.messages.splice(0))
        host.core.settle(message, 0, id % 2 === 0 ? 'peer.no-listener' : 'peer.busy')
    }
    expect(host.ends).toMatchObject([{ code: 'peer.oversized' }])
  })

  it('by acknowledging what was never sent, or twice, loses the session', () => {
    const acknowledgement = (first: number, count: number): Buffer => {
      const payload = Buffer.alloc(9)
      payload.writeUIntBE(first, 0, 6)
      payload.writeUInt16BE(count, 6)
      return raw(FRAME.acknowledge, 0, 0, payload)
    }
    expect(verdict(acknowledgement(1, 65_535))).toBe('peer.malformed')
    const host = new Host()
    const told = host.send('c', 'x')
    host.core.takeOutput(1000, 0)
    host.core.receive(acknowledgement(1, 1), 0)
    expect(told).toEqual(['delivered'])
    host.core.receive(acknowledgement(1, 1), 0)
    expect(host.ends).toMatchObject([{ code: 'peer.malformed' }])
  })

  it('never makes the core throw, whatever its frames hold', () => {
    const frame = fc
      .record({
        type: fc.integer({ min: 0, max: 9 }),
        flags: fc.integer({ min: 0, max: 8 }),
        lane: fc.integer({ min: 0, max: 20 }),
        payload: fc.uint8Array({ maxLength: 60 }),
      })
      .map(({ type, flags, lane, payload }) => raw(type, flags, lane, payload))
    fc.assert(
      fc.property(fc.array(fc.oneof(frame, fc.uint8Array({ maxLength: 40 })), { maxLength: 30 }), (chunks) => {
        const host = new Host()
        host.send('c', 'x')
        for (const chunk of chunks) {
          host.core.receive(Buffer.from(chunk), 0)
          for (const message of host.messages.splice(0)) host.core.settle(message, 0)
          host.core.takeOutput(1000, 0)
        }
        expect(host.ends.length).toBeLessThanOrEqual(1)
      }),
      { numRuns: 500 },
    )
  })
})
