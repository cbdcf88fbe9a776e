import { describe, expect, test } from 'vitest'
import { DatagramPath } from '../../daemon/datagram/datagram-path.ts'
import { MAX_DATAGRAM_MESSAGE } from '../../daemon/datagram/fragments.ts'
import { HEADER } from '../../daemon/datagram/seal.ts'
import { addressKey, DatagramPair, type Flight } from './datagram-pair.ts'

const hello = Buffer.from('hello')

describe('a datagram path', () => {
  test('opens between two that know each other, and carries messages both ways', () => {
    const pair = new DatagramPair()
    expect(pair.a.path.send(hello, 0)).toBe('no-path')
    pair.open()
    expect(pair.a.states).toEqual(['probing', 'open'])
    expect(pair.b.states).toEqual(['probing', 'open'])
    expect(pair.a.path.send(hello, pair.now)).toBe('sent')
    expect(pair.b.path.send(hello, pair.now)).toBe('sent')
    pair.advance(10)
    expect(pair.a.messages).toEqual([hello])
    expect(pair.b.messages).toEqual([hello])
    expect(pair.a.roundTrips[0]).toBe(2)
  })

  test('opens when only one knows where the other is', () => {
    const pair = new DatagramPair()
    pair.b.path.peer({ cid: pair.a.cid, candidates: [] }, 0)
    pair.a.path.peer({ cid: pair.b.cid, candidates: [pair.b.address] }, 0)
    pair.advance(50)
    expect([pair.a.path.state, pair.b.path.state]).toEqual(['open', 'open'])
  })

  test('answers a challenge that came before the link told whose it is', () => {
    const pair = new DatagramPair()
    pair.a.path.peer({ cid: pair.b.cid, candidates: [pair.b.address] }, 0)
    pair.advance(100)
    expect(pair.a.path.state).toBe('probing')
    pair.b.path.peer({ cid: pair.a.cid, candidates: [pair.a.address] }, pair.now)
    pair.advance(50)
    expect([pair.a.path.state, pair.b.path.state]).toEqual(['open', 'open'])
  })

  test('carries messages of every size up to the largest, and no larger one', () => {
    const pair = new DatagramPair().open()
    for (const length of [1, 1166, 1167, 1438, 1439, 1440, 2000, 70_000, MAX_DATAGRAM_MESSAGE]) {
      pair.b.messages.length = 0
      const message = Buffer.alloc(length, length & 255)
      expect(pair.a.path.send(message, pair.now)).not.toBe('dropped')
      pair.advance(200)
      expect(pair.b.messages).toEqual([message])
    }
    expect(pair.a.path.send(Buffer.alloc(MAX_DATAGRAM_MESSAGE + 1), pair.now)).toBe('dropped')
    expect(pair.a.path.send(Buffer.alloc(0), pair.now)).toBe('dropped')
    expect(pair.a.path.statistics().dropped).toBe(2)
  })

  test('drops what cannot begin to leave in time, and what finds no room', () => {
    const pair = new DatagramPair(1, { limits: { queue: { bytes: 600_000, messages: 3 } } }).open()
    const large = Buffer.alloc(500_000)
    expect(pair.a.path.send(large, pair.now)).toBe('queued')
    expect(pair.a.path.send(hello, pair.now, { deadline: pair.now + 5 })).toBe('dropped')
    expect(pair.a.path.send(hello, pair.now, { deadline: pair.now + 100 })).toBe('queued')
    expect(pair.a.path.send(large, pair.now)).toBe('dropped')
    expect(pair.a.path.send(hello, pair.now)).toBe('queued')
    expect(pair.a.path.send(hello, pair.now)).toBe('dropped')
    expect(pair.a.path.statistics()).toMatchObject({ dropped: 3 })
    pair.advance(200)
    expect(pair.b.messages).toEqual([large, hello, hello])
    expect(pair.a.path.statistics().queued).toBe(0)
  })

  test('finds the path MTU, notices a black hole, and finds the MTU again', () => {
    const pair = new DatagramPair().open()
    expect(pair.a.path.statistics().mtu).toBe(1472)
    pair.network.mtu = 1400
    for (let i = 0; i < 50; i++) {
      pair.a.path.send(Buffer.alloc(3000, i), pair.now)
      pair.advance(100)
    }
    expect(pair.a.path.state).toBe('open')
    expect(pair.a.path.statistics().mtu).toBeLessThanOrEqual(1400)
    const before = pair.b.messages.length
    pair.a.path.send(Buffer.alloc(3000), pair.now)
    pair.advance(60_000)
    expect(pair.b.messages.length).toBe(before + 1)
    expect(pair.a.path.statistics().mtu).toBeGreaterThan(1380)
  })

  test('lowers the MTU where the system says so', () => {
    const pair = new DatagramPair().open()
    pair.a.path.sendFailed(pair.b.address, 'EMSGSIZE', pair.now, 1472)
    expect(pair.a.path.statistics().mtu).toBe(1200)
    pair.a.path.sendFailed({ address: '10.0.0.9', port: 1 }, 'EMSGSIZE', pair.now, 1200)
    expect(pair.a.path.statistics().mtu).toBe(1200)
  })

  test('falls silent but for a ping every ten seconds while nobody uses it', () => {
    const pair = new DatagramPair().open()
    pair.a.path.send(hello, pair.now)
    pair.advance(60_000)
    const { packets } = pair.a.path.statistics()
    pair.advance(100_000)
    expect(pair.a.path.statistics().packets.out - packets.out).toBeLessThanOrEqual(2 * 11)
    expect(pair.a.path.state).toBe('open')
  })

  test('is lost when the peer is silent, soon when it is in use, and comes back', () => {
    const pair = new DatagramPair().open()
    pair.a.path.send(hello, pair.now)
    pair.network.cut = true
    pair.advance(4000)
    expect(pair.a.path.state).toBe('lost')
    expect(pair.a.path.send(hello, pair.now)).toBe('no-path')
    pair.advance(60_000)
    expect(pair.b.path.state).toBe('lost')
    pair.network.cut = false
    pair.advance(31_000)
    expect([pair.a.path.state, pair.b.path.state]).toEqual(['open', 'open'])
    expect(pair.a.states).toEqual(['probing', 'open', 'lost', 'open'])
  })

  test('is asked at once when the network has changed', () => {
    const pair = new DatagramPair().open()
    pair.advance(3000)
    pair.network.cut = true
    pair.a.path.candidates([pair.b.address], pair.now)
    pair.advance(2500)
    expect(pair.a.path.state).toBe('lost')
  })

  test('is asked at once when the system cannot send, and lost soon if that lasts', () => {
    const pair = new DatagramPair().open()
    pair.advance(3000)
    pair.network.cut = true
    pair.a.path.sendFailed(pair.b.address, 'ENETUNREACH', pair.now)
    expect(pair.a.path.deadline).toBe(pair.now)
    pair.advance(1100)
    expect(pair.a.path.state).toBe('lost')
  })

  test('stays open when a refusal of the system was of short duration', () => {
    const pair = new DatagramPair().open()
    for (let i = 0; i < 100; i++) {
      pair.a.path.sendFailed(pair.b.address, 'EPERM', pair.now)
      pair.advance(50)
    }
    expect(pair.a.states).toEqual(['probing', 'open'])
  })

  test('follows a peer that moves, without a word from the link', () => {
    const pair = new DatagramPair().open()
    pair.b.address = { address: '10.0.0.77', port: 4001 }
    pair.b.path.send(hello, pair.now)
    pair.advance(100)
    expect(pair.a.path.statistics().remote).toEqual(pair.b.address)
    expect(pair.a.messages).toEqual([hello])
    pair.a.path.send(hello, pair.now)
    pair.advance(10)
    expect(pair.b.messages).toEqual([hello])
    expect(pair.a.states).toEqual(['probing', 'open'])
  })

  test('moves to an address that the peer is to be reached at as well', () => {
    const pair = new DatagramPair().open()
    const to = { address: '10.0.0.2', port: 5000 }
    pair.a.path.migrate(to, pair.now)
    pair.advance(2000)
    expect(pair.a.path.remote).toEqual(pair.b.address)
    pair.b.address = to
    pair.advance(5000)
    expect(pair.a.path.remote).toEqual(to)
  })

  test('moves at once to where somebody who may be believed says, and nowhere else', () => {
    const pair = new DatagramPair(1, { isLed: true })
    for (const [one, other] of [
      [pair.a, pair.b],
      [pair.b, pair.a],
    ] as const) {
      one.path.peer({ cid: other.cid, candidates: [] }, 0)
      one.path.follow(other.address, 0, 1472)
    }
    expect(pair.a.states).toEqual(['probing', 'open'])
    expect(pair.a.path.send(hello, 0)).toBe('sent')
    pair.advance(50)
    expect(pair.b.messages).toEqual([hello])
    // Packets from elsewhere arrive, and move nobody.
    pair.a.address = { address: '10.0.0.77', port: 7 }
    expect(pair.a.path.send(hello, pair.now)).toBe('sent')
    pair.advance(50)
    expect(pair.b.messages).toEqual([hello, hello])
    expect(pair.b.path.remote).not.toEqual(pair.a.address)
    pair.b.path.follow(pair.a.address, pair.now, 1472)
    expect(pair.b.path.remote).toEqual(pair.a.address)
  })

  test('tells an address through a relay from the same one without', () => {
    const pair = new DatagramPair(1, { isLed: true })
    const relayed = { ...pair.b.address, relay: 'relay-1' }
    pair.a.path.peer({ cid: pair.b.cid, candidates: [] }, 0)
    pair.a.path.follow(pair.b.address, 0, 1472)
    pair.a.path.follow(relayed, 0, 1448)
    expect(pair.a.path.remote).toEqual(relayed)
  })

  test('does not follow an address that repeats a packet and cannot answer', () => {
    const pair = new DatagramPair().open()
    const stranger = { address: '192.0.2.66', port: 6 }
    let heard = 0
    pair.onPacket = (flight: Flight) => {
      if (flight.from !== pair.b.address) return
      heard += flight.packet.length
      pair.deliver({ ...flight, from: stranger })
    }
    for (let i = 0; i < 20; i++) {
      pair.b.path.send(hello, pair.now)
      pair.advance(300)
    }
    expect(pair.a.path.statistics().remote).toEqual(pair.b.address)
    expect(pair.a.messages.length).toBe(20)
    expect(pair.a.told.get(addressKey(stranger))).toBeGreaterThan(0)
    expect(pair.a.told.get(addressKey(stranger))).toBeLessThanOrEqual(3 * heard)
  })

  test('sends an address that the link named few challenges, and nothing else', () => {
    const pair = new DatagramPair()
    const nobody = Array.from({ length: 20 }, (_, i) => ({ address: `192.0.2.${i}`, port: 7 }))
    const kinds = new Set<number>()
    pair.onPacket = ({ packet }) => kinds.add(packet.length)
    pair.a.path.peer({ cid: pair.b.cid, candidates: nobody }, 0)
    pair.advance(2900)
    expect(pair.a.told.size).toBe(8)
    for (const bytes of pair.a.told.values()) expect(bytes).toBeLessThanOrEqual(3 * 1200)
    pair.advance(117_100)
    for (const bytes of pair.a.told.values()) expect(bytes).toBeLessThanOrEqual(10 * 1200)
    expect([...kinds]).toEqual([1200])
  })

  test('cannot be made to flood anybody by many lists of addresses', () => {
    const pair = new DatagramPair()
    pair.a.path.peer({ cid: pair.b.cid, candidates: [] }, 0)
    for (let i = 0; i < 1000; i++) {
      pair.a.path.candidates([{ address: `192.0.2.${i % 256}`, port: 1 + i }], pair.now)
      pair.advance(10)
    }
    const total = [...pair.a.told.values()].reduce((a, b) => a + b, 0)
    expect(total).toBeLessThanOrEqual((16 + 8 * 10 + 1) * 1200)
  })

  test('refuses replays, reflections and forgeries, and counts them', () => {
    const pair = new DatagramPair().open()
    const flights: Flight[] = []
    pair.onPacket = (flight) => flights.push(flight)
    pair.a.path.send(hello, pair.now)
    pair.onPacket = undefined
    pair.advance(10)
    const [flight] = flights
    if (!flight) throw new Error('nothing left')
    expect(pair.deliver(flight)).toBe(false)
    expect(pair.deliver({ ...flight, to: pair.a.address })).toBe(false)
    const forged = Buffer.from(flight.packet)
    forged.writeUInt32BE(99_999, HEADER - 4)
    expect(pair.deliver({ ...flight, packet: forged })).toBe(false)
    expect(pair.b.messages).toEqual([hello])
    expect(pair.b.refusals.snapshot()).toEqual({ 'peer.replayed': 1, 'peer.bad-signature': 1 })
  })

  test('changes keys while it is used', () => {
    const pair = new DatagramPair(1, { limits: { key: { packets: 50 } } }).open()
    const phases = new Set<number>()
    pair.onPacket = ({ packet }) => phases.add((packet[0] ?? 0) & 3)
    for (let i = 0; i < 2000; i++) {
      pair.a.path.send(hello, pair.now)
      pair.advance(5)
    }
    expect(pair.b.messages.length).toBe(2000)
    expect(phases.size).toBe(4)
  })

  test('measures round trip, jitter, loss and quality each way', () => {
    const pair = new DatagramPair(3, {}, { delay: [10, 14] }).open()
    pair.network.loss = 0.1
    for (let i = 0; i < 2000; i++) {
      pair.a.path.send(hello, pair.now)
      pair.advance(10)
    }
    const [a, b] = [pair.a.path.statistics(), pair.b.path.statistics()]
    expect(a.rtt).toBeGreaterThan(20)
    expect(a.rtt).toBeLessThan(28)
    expect(a.minimum).toBeLessThanOrEqual(a.rtt ?? 0)
    expect(a.jitter).toBeLessThan(8)
    for (const loss of [a.loss.out, b.loss.in]) {
      expect(loss).toBeGreaterThan(0.03)
      expect(loss).toBeLessThan(0.2)
    }
    expect(a.quality.out).toBeCloseTo(1 - (a.loss.out ?? 0), 1)
    expect(b.packets.in).toBeGreaterThan(1500)
  })

  test('tells what comes out of order apart from what is lost', () => {
    const pair = new DatagramPair(3, {}, { delay: [1, 40] }).open()
    pair.advance(200)
    for (let i = 0; i < 1000; i++) {
      pair.a.path.send(hello, pair.now)
      pair.advance(5)
    }
    pair.advance(500)
    const { loss, quality } = pair.a.path.statistics()
    expect(loss.out).toBeLessThan(0.05)
    expect(quality.out).toBeLessThan(0.8)
    expect(pair.b.messages.length).toBe(1000)
  })

  test('does not count challenges and probes that nobody answers as losses', () => {
    const pair = new DatagramPair(3, {}, { mtu: 1300 }).open()
    pair.a.path.migrate({ address: '192.0.2.1', port: 1 }, pair.now)
    for (let i = 0; i < 300; i++) {
      pair.a.path.send(hello, pair.now)
      pair.advance(50)
    }
    expect(pair.a.path.statistics().loss.out).toBe(0)
    expect(pair.b.path.statistics().loss.in).toBe(0)
  })

  test('slows down to what a slow path carries', () => {
    const pair = new DatagramPair(5, {}, { rate: 500_000, delay: [5, 5] }).open()
    const message = Buffer.alloc(1000)
    for (let i = 0; i < 5000; i++) {
      for (let j = 0; j < 2; j++) pair.a.path.send(message, pair.now, { deadline: pair.now + 20 })
      pair.advance(1)
    }
    const before = pair.b.messages.length
    const sent = pair.a.path.statistics().packets.out
    for (let i = 0; i < 3000; i++) {
      for (let j = 0; j < 2; j++) pair.a.path.send(message, pair.now, { deadline: pair.now + 20 })
      pair.advance(1)
    }
    const received = pair.b.messages.length - before
    expect(received).toBeGreaterThan(3 * 300)
    expect((pair.a.path.statistics().packets.out - sent) / received).toBeLessThan(1.3)
    expect(pair.a.path.statistics().capacity).toBeLessThan(8 * 1_000_000)
  })

  test('takes neither a short secret nor a connection id of another length', () => {
    const secret = Buffer.alloc(64)
    const options = { now: 0, dialled: true, secret, cid: Buffer.alloc(8), random: Buffer.alloc, maxPayload: 1472 }
    const events = { output: () => {}, message: () => {}, state: () => {}, roundTrip: () => {} }
    expect(new DatagramPath(options, events).state).toBe('none')
    expect(() => new DatagramPath({ ...options, secret: Buffer.alloc(63) }, events)).toThrow(RangeError)
    expect(() => new DatagramPath({ ...options, cid: Buffer.alloc(7) }, events)).toThrow(RangeError)
  })

  test('does nothing any more when it is closed', () => {
    const pair = new DatagramPair().open()
    const { packets } = pair.a.path.statistics()
    pair.a.path.close()
    pair.a.path.close()
    pair.a.path.candidates([pair.b.address], pair.now)
    pair.a.path.migrate({ address: '192.0.2.1', port: 1 }, pair.now)
    pair.a.path.peer({ cid: pair.b.cid, candidates: [pair.b.address] }, pair.now)
    expect(pair.a.path.send(hello, pair.now)).toBe('no-path')
    pair.advance(60_000)
    expect(pair.a.path.deadline).toBe(Number.POSITIVE_INFINITY)
    expect(pair.a.path.statistics().packets).toEqual(packets)
    expect(pair.a.path.state).toBe('none')
  })
})
