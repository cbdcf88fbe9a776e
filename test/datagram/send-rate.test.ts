import { describe, expect, test } from 'vitest'
import { SendRate } from '../../daemon/datagram/send-rate.ts'
import { seeded } from './random.ts'

const PACKET = 1200

/** Sends as fast as allowed for `ms`, tells what a link of `capacity` bytes a second delivers; returns bytes sent and received. */
function run(rate: SendRate, from: number, ms: number, link: { capacity: number; loss?: number }, offered = Infinity) {
  const random = seeded(7)
  let sent = 0
  let received = 0
  const total = { sent: 0, received: 0 }
  for (let now = from; now < from + ms; now++) {
    while (sent + total.sent < (offered * (now - from + 1)) / 1000 / PACKET && rate.ready(now)) {
      rate.spend(PACKET)
      sent++
    }
    if ((now + 1) % 100 !== 0) continue
    const through = Math.min(sent, (link.capacity * 0.1) / PACKET)
    for (let i = 0; i < Math.floor(through); i++) if (random() >= (link.loss ?? 0)) received++
    rate.report({ sent, received, bytes: received * PACKET, elapsed: 100 })
    total.sent += sent
    total.received += received
    sent = received = 0
  }
  return { sent: total.sent * PACKET, received: total.received * PACKET }
}

describe('the send rate', () => {
  test('stays where it is while it holds nobody back', () => {
    const rate = new SendRate(0)
    run(rate, 0, 5000, { capacity: Infinity }, 1_000_000)
    expect(rate.rate).toBe(16 * 1024 * 1024)
  })

  test('grows while it does and nothing is lost', () => {
    const rate = new SendRate(0)
    run(rate, 0, 600, { capacity: Infinity })
    expect(rate.rate).toBeGreaterThan(256 * 1024 * 1024)
  })

  test('comes down to what a slow path carries, and uses it', () => {
    const rate = new SendRate(0)
    run(rate, 0, 3000, { capacity: 1_000_000 })
    const { sent, received } = run(rate, 3000, 5000, { capacity: 1_000_000 })
    expect(received / 5).toBeGreaterThan(700_000)
    expect(sent / received).toBeLessThan(1.15)
  })

  test('never falls below its minimum', () => {
    const rate = new SendRate(0)
    run(rate, 0, 20_000, { capacity: 1000 })
    expect(rate.rate).toBe(128 * 1024)
  })

  test('does not starve a path that loses at random', () => {
    const rate = new SendRate(0)
    run(rate, 0, 20_000, { capacity: Infinity, loss: 0.2 }, 4_000_000)
    const { sent } = run(rate, 20_000, 5000, { capacity: Infinity, loss: 0.2 }, 4_000_000)
    expect(sent / 5).toBeGreaterThan(3_000_000)
  })

  test('lets a burst leave, then as much as time allows', () => {
    const rate = new SendRate(0)
    let burst = 0
    while (rate.ready(0)) {
      rate.spend(PACKET)
      burst += PACKET
    }
    expect(burst).toBeLessThan(200_000)
    const wait = rate.wait(0)
    expect(wait).toBeGreaterThan(0)
    expect(rate.ready(wait)).toBe(true)
    expect(rate.wait(wait, 16 * 1024 * 1024)).toBeCloseTo(1000, -1)
  })
})
