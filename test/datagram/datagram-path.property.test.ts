import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { packetKeys } from '../../daemon/datagram/packet-key.ts'
import { HEADER, KEY_LIMITS, OVERHEAD, Sealer, TAG } from '../../daemon/datagram/seal.ts'
import { addressKey, DatagramPair, type End, GOOD } from './datagram-pair.ts'
import { seeded, seededBytes } from './random.ts'

/** A message that tells what it has to be: its number, and bytes that follow from it. */
function numbered(number: number, length: number): Buffer {
  const bytes = Buffer.alloc(Math.max(4, length), number & 255)
  bytes.writeUInt32BE(number)
  return bytes
}

function expectIntact(end: End, from: Set<string>): void {
  const seen = new Set<number>()
  for (const bytes of end.messages) {
    const number = bytes.readUInt32BE(0)
    expect(seen.has(number)).toBe(false)
    seen.add(number)
    expect(from.has(`${number}/${bytes.length}`)).toBe(true)
    expect(bytes.equals(numbered(number, bytes.length))).toBe(true)
  }
}

/** Everything that may happen to a network, in an order that the seed decides; then calm, in which the path has to come back. */
function storm(seed: number): void {
  const random = seeded(seed)
  const bytes = seededBytes(random)
  const pick = <T>(...choices: readonly T[]): T => choices[Math.floor(random() * choices.length)] as T
  const limits = { key: { packets: pick(20, 200, 1e6) } }
  const pair = new DatagramPair(seed, { maxPayload: pick(1452, 1472, 8972), limits, random: bytes })
  const sent = { a: new Set<string>(), b: new Set<string>() }
  const heardFrom = new Map<string, number>()
  const owned = new Set([addressKey(pair.a.address), addressKey(pair.b.address)])
  let number = 0
  const send = (from: 'a' | 'b', length: number): void => {
    const message = numbered(number++, length)
    sent[from].add(`${number - 1}/${message.length}`)
    pair[from].path.send(message, pair.now, random() < 0.3 ? { deadline: pair.now + 5 } : undefined)
  }
  const move = (end: End): void => {
    end.address = { address: `10.${Math.floor(random() * 200)}.0.1`, port: 1024 + Math.floor(random() * 60_000) }
    owned.add(addressKey(end.address))
  }
  const replays: { packet: Buffer; to: End }[] = []
  pair.onPacket = ({ packet, to }) => {
    const end = [pair.a, pair.b].find((one) => addressKey(one.address) === addressKey(to))
    if (!end || random() > 0.05) return
    replays.push({ packet: Buffer.from(packet), to: end })
    // Somebody on the path repeats it from an address of his own, before or after the true one.
    if (random() > 0.3) return
    const spoofed = { address: `192.0.2.${Math.floor(random() * 250)}`, port: 99 }
    heardFrom.set(addressKey(spoofed), (heardFrom.get(addressKey(spoofed)) ?? 0) + packet.length)
    end.path.receive(Buffer.from(packet), spoofed, pair.now)
  }
  pair.introduce()
  for (let step = 0; step < 60; step++) {
    const what = random()
    if (what < 0.45)
      for (let i = Math.floor(random() * 20); i >= 0; i--) send(pick('a', 'b'), Math.floor(random() * 3000))
    else if (what < 0.5) send(pick('a', 'b'), Math.floor(random() * 500_000))
    else if (what < 0.6) Object.assign(pair.network, { loss: random() * 0.5, duplicate: random() * 0.3 })
    else if (what < 0.66) pair.network.delay = [random() * 50, 50 + random() * 200]
    else if (what < 0.72) pair.network.mtu = pick(1200, 1300, 1472, 65_535)
    else if (what < 0.78) pair.network.cut = !pair.network.cut
    else if (what < 0.82) move(pick(pair.a, pair.b))
    else if (what < 0.86) pair.reintroduce()
    else if (what < 0.9) pair.network.rate = pick(0, 50_000, 1_000_000)
    else if (what < 0.95)
      pick(pair.a, pair.b).path.sendFailed(pick(pair.a, pair.b).address, pick('EMSGSIZE', 'EPERM', 'EIO'), pair.now)
    else for (const { packet, to } of replays.splice(0)) to.path.receive(packet, pair.a.address, pair.now)
    pair.advance(random() < 0.1 ? random() * 20_000 : random() * 200)
  }
  pair.onPacket = undefined
  expectIntact(pair.a, sent.b)
  expectIntact(pair.b, sent.a)

  Object.assign(pair.network, GOOD, { delay: [1, 2] })
  pair.reintroduce()
  pair.advance(45_000)
  expect([pair.a.path.state, pair.b.path.state]).toEqual(['open', 'open'])
  expect(pair.a.path.statistics().remote).toEqual(pair.b.address)
  expect(pair.b.path.statistics().remote).toEqual(pair.a.address)
  const before = [pair.a.messages.length, pair.b.messages.length]
  send('a', 3000)
  send('b', 3000)
  pair.advance(2000)
  expect([pair.a.messages.length, pair.b.messages.length]).toEqual(before.map((count) => count + 1))
  expectIntact(pair.a, sent.b)
  expectIntact(pair.b, sent.a)

  for (const end of [pair.a, pair.b])
    for (const [to, told] of end.told)
      if (!owned.has(to)) expect(told).toBeLessThanOrEqual(3 * (heardFrom.get(to) ?? 0))
}

describe('whatever the network does', () => {
  test('messages arrive at most once and intact, the path comes back, and strangers get little', () => {
    fc.assert(fc.property(fc.integer(), storm), { numRuns: 150 })
  })

  test('a path survives a peer that seals any content, and any bytes from anybody', () => {
    const frame = fc.oneof(
      fc.uint8Array({ minLength: 1, maxLength: 60 }),
      fc
        .tuple(fc.integer({ min: 0, max: 10 }), fc.uint8Array({ maxLength: 60 }))
        .map(([kind, rest]) => Uint8Array.of(kind, ...rest)),
    )
    fc.assert(
      fc.property(
        fc.integer(),
        fc.array(fc.tuple(frame, fc.boolean(), fc.nat({ max: 3 })), { maxLength: 40 }),
        (seed, contents) => {
          const secret = Buffer.alloc(64, 7)
          const pair = new DatagramPair(seed, { secret }).open()
          const sealer = new Sealer(packetKeys(secret, true).out, KEY_LIMITS, 0)
          sealer.address(pair.b.cid)
          for (let i = 0; i < 100; i++) sealer.seal(Buffer.alloc(OVERHEAD + 1), 0)
          let received = 0
          for (const [content, isSealed, port] of contents) {
            const packet = Buffer.alloc(HEADER + content.length + TAG)
            packet.set(content, HEADER)
            if (isSealed) sealer.seal(packet, pair.now)
            received += packet.length
            const from = { address: '10.0.0.1', port: 4000 + port }
            expect(pair.b.path.receive(packet, from, pair.now)).toBe(isSealed)
            pair.advance(port * 100)
          }
          for (let port = 4001; port < 4004; port++)
            expect(pair.b.told.get(`10.0.0.1:${port}`) ?? 0).toBeLessThanOrEqual(3 * received)
          const { capacity, loss, quality } = pair.b.path.statistics()
          for (const share of [loss.in, loss.out, quality.in, quality.out])
            if (share !== undefined) expect(share >= 0 && share <= 1).toBe(true)
          if (capacity !== undefined) expect(capacity).toBeGreaterThan(0)
        },
      ),
      { numRuns: 200 },
    )
  })
})
