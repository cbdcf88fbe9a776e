import { generateKeyPairSync, randomBytes } from 'node:crypto'
import { beforeEach, describe, expect, test } from 'vitest'
import { identityOf } from '../../daemon/identity/key.ts'
import { peerIdFromKey } from '../../daemon/identity/peer-id.ts'
import { Envelope } from '../../daemon/signaling/envelope.ts'
import { MAX_KEPT, MAX_KEPT_BYTES, RESENDABLE, SentSignals } from '../../daemon/signaling/sent-signals.ts'
import { MAX_SIGNAL } from '../../daemon/signaling/signaller.ts'
import type { PeerId } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { type SimulatedHost, simulatedHost, simulatedSealing, tell } from './simulated-host.ts'
import { SimulatedCarrier } from './simulated-signaller.ts'

const YEAR = 365 * 24 * 3600 * 1000
const identities = Array.from({ length: 2 }, () => identityOf(generateKeyPairSync('ed25519').privateKey))

let time: VirtualClock
let carrier: SimulatedCarrier

beforeEach(() => {
  time = new VirtualClock()
  carrier = new SimulatedCarrier(time, () => 0.5)
})

/** Two hosts, the second one's clock so far ahead. */
function two(offset = 0): [a: SimulatedHost, b: SimulatedHost] {
  return [simulatedHost(time, carrier), simulatedHost(time, carrier, { offset })]
}

function told(host: SimulatedHost): string[] {
  return host.delivered.map(({ content }) => content)
}

/** Brings what was sent once more, sealed differently, so that it has to be opened. */
function replay(index: number): void {
  const one = carrier.recorded[index]
  if (one) carrier.inject(one.to, Buffer.concat([randomBytes(32), one.sealed.subarray(32)]))
}

describe('signals', () => {
  test('go from one host to the handlers of their topic at the other, really sealed', () => {
    const [a, b] = identities.map((identity) => simulatedHost(time, carrier, { identity })) as [
      SimulatedHost,
      SimulatedHost,
    ]
    const other: string[] = []
    b.signals.handle('other', () => other.push('wrong topic'))
    expect(tell(a, b, 'hello')).toBe(true)
    time.advance(0)
    expect(b.delivered).toEqual([{ from: a.peer, content: 'hello' }])
    expect(other).toEqual([])
    expect(b.refusals.snapshot()).toEqual({})
  })

  test('go by every signaller that reaches the peer, and count once and for no replay', () => {
    const [a, b] = two()
    const hub = new SimulatedCarrier(time, () => 0.5)
    const stop = a.signals.add(hub.join(a.peer, 'hub'))
    b.signals.add(hub.join(b.peer, 'hub'))
    expect(a.signals.reaches(b.peer)).toEqual(['lan-stream', 'hub'])
    tell(a, b, 'both')
    time.advance(0)
    expect([carrier.recorded.length, hub.recorded.length]).toEqual([1, 1])
    expect(told(b)).toEqual(['both'])
    expect(b.refusals.snapshot()).toEqual({})
    carrier.cut(b.peer)
    expect(a.signals.reaches(b.peer)).toEqual(['hub'])
    expect(tell(a, b, 'by the hub')).toBe(true)
    stop()
    stop()
    expect(a.signals.reaches(b.peer)).toEqual([])
    expect(tell(a, b, 'lost')).toBe(false)
    time.advance(0)
    expect(told(b)).toEqual(['both', 'by the hub'])
  })

  test('are not sent to nobody, to oneself, to what is no key, too large or without a topic', () => {
    const [identity] = identities
    const a = simulatedHost(time, carrier, identity && { identity })
    const noKey = peerIdFromKey(Buffer.alloc(32))
    carrier.join(noKey)
    const none = Buffer.alloc(0)
    expect(a.signals.send(peerIdFromKey(randomBytes(32)), 'test', none)).toBe(false)
    expect(a.signals.send(a.peer, 'test', none)).toBe(false)
    expect(a.signals.send(noKey, 'test', none)).toBe(false)
    expect(() => a.signals.send(noKey, 'test', Buffer.alloc(MAX_SIGNAL + 1))).toThrow(
      expect.objectContaining({ code: 'usage.too-large' }),
    )
    for (const topic of ['', 'Test', 'clock']) {
      const invalid = expect.objectContaining({ code: 'usage.invalid-argument' })
      expect(() => a.signals.send(noKey, topic, none)).toThrow(invalid)
      expect(() => a.signals.handle(topic, () => {})).toThrow(invalid)
    }
  })

  test('reach all handlers of a topic, those that throw and those that were removed aside', () => {
    const [a, b] = two()
    const heard: string[] = []
    const removed = b.signals.handle('test', () => heard.push('removed'))
    b.signals.handle('test', () => {
      throw new Error('a fault in a handler')
    })
    b.signals.handle('test', () => heard.push('kept'))
    removed()
    removed()
    tell(a, b, 'hello')
    time.advance(0)
    expect(heard).toEqual(['kept'])
  })

  test('of a blocked peer are refused and counted, and not answered', () => {
    const [a, b] = two(YEAR)
    b.blocked.add(a.peer)
    tell(a, b, 'hello')
    time.advance(0)
    expect(b.delivered).toEqual([])
    expect(b.refusals.snapshot()).toEqual({ 'policy.blocked': 1 })
    expect(carrier.recorded).toHaveLength(1)
  })

  test('of our own that somebody brings back are refused', () => {
    const [a] = two()
    const signal = { time: time.wall(), round: 0, id: '00'.repeat(16), topic: 'test', content: Buffer.alloc(0) }
    carrier.inject(a.peer, simulatedSealing(a.peer).seal(a.peer, signal))
    expect(a.delivered).toEqual([])
    expect(a.refusals.snapshot()).toEqual({ 'peer.bad-signal': 1 })
  })

  test('that are noise are refused and counted', () => {
    const [identity] = identities
    const a = simulatedHost(time, carrier, identity && { identity })
    for (const size of [0, 1, 48, 300, 8000]) carrier.inject(a.peer, randomBytes(size))
    carrier.inject(a.peer, Buffer.alloc(9000))
    expect(a.refusals.snapshot()).toEqual({ 'peer.bad-signal': 5, 'peer.oversized': 1 })
  })

  test('that come again at once are doubles; later they are replays, and counted', () => {
    const [a, b] = two()
    tell(a, b, 'hello')
    time.advance(0)
    const [one] = carrier.recorded
    if (one) carrier.inject(one.to, one.sealed)
    replay(0)
    expect(b.refusals.snapshot()).toEqual({})
    time.advance(11_000)
    if (one) carrier.inject(one.to, one.sealed)
    replay(0)
    expect(b.refusals.snapshot()).toEqual({ 'peer.replayed': 2 })
    expect(told(b)).toEqual(['hello'])
  })
})

describe('signals between hosts whose clocks disagree', () => {
  for (const [title, offset] of [
    ['years behind', -30 * YEAR],
    ['years ahead', 30 * YEAR],
    ['before 1970', -2_000_000_000_000],
    ['minutes behind', -180_000],
    ['minutes ahead', 180_000],
  ] as const)
    test(`arrive after one correction, and then at once: the receiver's is ${title}`, () => {
      const [a, b] = two(offset)
      tell(a, b, 'first')
      time.advance(0)
      expect(told(b)).toEqual(['first'])
      expect(carrier.recorded).toHaveLength(3)
      time.advance(3600_000)
      tell(a, b, 'second')
      time.advance(0)
      expect(told(b)).toEqual(['first', 'second'])
      expect(carrier.recorded).toHaveLength(4)
      expect(b.refusals.snapshot()).toEqual({ 'peer.old-signal': 1 })
    })

  test('arrive both ways, also in a burst, with real sealing', () => {
    const [a, b] = identities.map((identity, index) =>
      simulatedHost(time, carrier, { identity, offset: index * YEAR }),
    ) as [SimulatedHost, SimulatedHost]
    for (const text of ['1', '2', '3', '4']) tell(a, b, text)
    time.advance(0)
    tell(b, a, 'back')
    time.advance(0)
    expect(told(b)).toEqual(['1', '2', '3', '4'])
    expect(told(a)).toEqual(['back'])
  })

  test('arrive again after either clock was set, or either host slept', () => {
    const [a, b] = two(YEAR)
    let n = 0
    const arrives = () => {
      time.advance(20_000)
      tell(a, b, `${++n}`)
      time.advance(0)
      expect(told(b)).toHaveLength(n)
    }
    arrives()
    for (const host of [a, b])
      for (const by of [-YEAR / 3, YEAR / 2, -YEAR]) {
        host.clock.set(by)
        arrives()
      }
    for (const host of [a, b]) {
      time.advance(3600_000)
      host.clock.slept(3600_000)
      arrives()
    }
  })

  test('are answered eight times at once, and then every five seconds', () => {
    carrier = new SimulatedCarrier(time, () => 0.5, { loss: 1 })
    const [a, b] = two(YEAR)
    const b2a = () => carrier.recorded.filter(({ to }) => to === a.peer).length
    tell(a, b, 'old')
    for (let n = 0; n < 50; n++) replay(0)
    expect(b2a()).toBe(8)
    time.advance(5000)
    for (let n = 0; n < 50; n++) replay(0)
    expect(b2a()).toBe(9)
  })

  test('are answered a limited number of times in all', () => {
    const b = simulatedHost(time, carrier, { offset: YEAR })
    for (let n = 0; n < 100; n++) {
      const stranger = simulatedHost(time, carrier)
      for (let m = 0; m < 8; m++) tell(stranger, b, 'old')
      time.advance(0)
    }
    const answers = carrier.recorded.length - 100 * 8
    // Each answer brings one signal more.
    expect(answers).toBe(2 * 500)
  })

  test('a correction counts once, from the receiver only, and only lately', () => {
    const [a, b] = two(YEAR)
    tell(a, b, 'first')
    time.advance(0)
    const correction = 1
    const before = carrier.recorded.length
    replay(correction)
    time.advance(31_000)
    replay(correction)
    expect(carrier.recorded).toHaveLength(before)

    const mallory = simulatedHost(time, carrier)
    tell(a, b, 'second')
    const sealed = Buffer.from(carrier.recorded.at(-1)?.sealed ?? '')
    const { id } = JSON.parse(sealed.subarray(32).toString())
    const forged = (content: Buffer) =>
      carrier.inject(
        a.peer,
        simulatedSealing(mallory.peer).seal(a.peer, {
          time: 0,
          round: 0,
          id: randomBytes(16).toString('hex'),
          topic: 'clock',
          content,
        }),
      )
    forged(Buffer.concat([Buffer.from(id, 'hex'), Buffer.alloc(14)]))
    expect(carrier.recorded).toHaveLength(before + 1)
    expect(a.refusals.snapshot()).toEqual({})
    forged(Buffer.alloc(29))
    forged(Buffer.alloc(30, 255))
    expect(a.refusals.snapshot()).toEqual({ 'peer.bad-signal': 2 })
  })

  test('a correction that comes too late sends nothing', () => {
    carrier = new SimulatedCarrier(time, () => 0.5, { delay: 40_000 })
    const [a, b] = two(YEAR)
    tell(a, b, 'late')
    time.advance(100_000)
    expect(told(b)).toEqual([])
    expect(carrier.recorded).toHaveLength(2)
  })
})

describe('limits of signals', () => {
  test('200 at once of a sender and 50 a second, others aside', () => {
    const [a, b] = two()
    const c = simulatedHost(time, carrier)
    for (let n = 0; n < 300; n++) tell(a, b, `${n}`)
    tell(c, b, 'c')
    time.advance(0)
    expect(b.delivered).toHaveLength(201)
    expect(b.refusals.snapshot()).toEqual({ 'peer.rate-limited': 100 })
    time.advance(1000)
    for (let n = 0; n < 300; n++) tell(a, b, `later ${n}`)
    time.advance(0)
    expect(b.delivered).toHaveLength(251)
  })

  test('2,000 openings at once and 500 a second', () => {
    const [identity] = identities
    const a = simulatedHost(time, carrier, identity && { identity })
    const noise = () => {
      for (let n = 0; n < 2500; n++) carrier.inject(a.peer, Buffer.alloc(10))
    }
    noise()
    expect(a.refusals.snapshot()).toEqual({ 'peer.bad-signal': 2000, 'peer.rate-limited': 500 })
    time.advance(1000)
    noise()
    expect(a.refusals.snapshot()).toEqual({ 'peer.bad-signal': 2500, 'peer.rate-limited': 2500 })
  })

  test('doubles cost no opening', () => {
    const [a, b] = identities.map((identity) => simulatedHost(time, carrier, { identity })) as [
      SimulatedHost,
      SimulatedHost,
    ]
    tell(a, b, 'once')
    time.advance(0)
    const [one] = carrier.recorded
    for (let n = 0; n < 5000; n++) if (one) carrier.inject(one.to, one.sealed)
    tell(a, b, 'twice')
    time.advance(0)
    expect(told(b)).toEqual(['once', 'twice'])
  })

  test('256 signals and 1 MiB are kept to be sent once more', () => {
    const peer = 'peer' as PeerId
    const sent = new SentSignals()
    const add = (id: string, size: number, now = 0) =>
      sent.add({ peer, id, topic: 'test', content: Buffer.alloc(size) }, now, now)
    for (let n = 0; n <= MAX_KEPT; n++) add(`${n}`, 0)
    expect(sent.size).toBe(MAX_KEPT)
    expect(sent.take(peer, '0', 0, 0)).toBeUndefined()
    for (let n = 0; n < 200; n++) add(`large ${n}`, MAX_SIGNAL)
    expect(sent.bytes).toBe(MAX_KEPT_BYTES)
    expect(sent.take(peer, 'large 199', 0, 0)).toMatchObject({ id: 'large 199' })
    expect(sent.take(peer, 'large 199', 0, 0)).toBeUndefined()
    expect(sent.take('other' as PeerId, 'large 198', 0, 0)).toBeUndefined()
    expect(sent.take(peer, 'large 198', 0, RESENDABLE + 1)).toBeUndefined()
    expect(sent.take(peer, 'large 197', RESENDABLE + 1, 0)).toBeUndefined()
    add('last', 1, RESENDABLE + 1)
    expect([sent.size, sent.bytes]).toEqual([1, 1])
  })

  test('the time learned of a peer may be anything', () => {
    const [identity, other] = identities
    if (!identity || !other) return
    const a = simulatedHost(time, carrier, { identity })
    const mallory = new Envelope(other)
    carrier.join(other.peer)
    for (const claim of [0n, 8_640_000_000_000_000n]) {
      a.signals.send(other.peer, 'test', Buffer.from('x'))
      const { id } = mallory.open(carrier.recorded.at(-1)?.sealed ?? Buffer.alloc(0))
      const content = Buffer.alloc(30, 255)
      content.write(id, 'hex')
      content.writeBigUInt64BE(claim, 16)
      const signal = { time: 5, round: 0, id: randomBytes(16).toString('hex'), topic: 'clock', content }
      carrier.inject(a.peer, mallory.seal(a.peer, signal))
      expect(mallory.open(carrier.recorded.at(-1)?.sealed ?? Buffer.alloc(0)).time).toBe(Number(claim))
      time.advance(1000)
      a.signals.send(other.peer, 'test', Buffer.from('y'))
      expect(mallory.open(carrier.recorded.at(-1)?.sealed ?? Buffer.alloc(0)).time).toBe(Number(claim) + 1000)
    }
  })

  test('the clocks of 4,096 peers are remembered; one that was pushed out corrects us again', () => {
    const a = simulatedHost(time, carrier)
    const peers = Array.from({ length: 4097 }, () => peerIdFromKey(randomBytes(32)))
    const stampFor = (peer: PeerId) => {
      carrier.join(peer)
      a.signals.send(peer, 'test', Buffer.alloc(0))
      return simulatedSealing(peer).open(carrier.recorded.at(-1)?.sealed ?? Buffer.alloc(0))
    }
    for (const peer of peers) {
      const content = Buffer.alloc(30).fill(1, 24)
      content.write(stampFor(peer).id, 'hex')
      const id = randomBytes(16).toString('hex')
      carrier.inject(a.peer, simulatedSealing(peer).seal(a.peer, { time: 0, round: 0, id, topic: 'clock', content }))
      time.advance(10)
    }
    const [first, second] = peers as [PeerId, PeerId]
    expect(stampFor(first).round).toBe(0)
    expect(stampFor(second).round).not.toBe(0)
  })
})
