import { describe, expect, it } from 'vitest'
import { Counts } from '../../daemon/session/histogram.ts'
import { SessionMeter } from '../../daemon/session/meter.ts'

const nothing = { wall: 1_800_000_000_000, lanes: [], queued: 0, unacknowledged: 0, datagrams: undefined, fake: null }

describe('a meter', () => {
  it('tells latest, least, smoothed round trip and jitter, and how often each length came', () => {
    const meter = new SessionMeter()
    for (const sample of [80, 16, 40, 24, 24]) meter.roundTrip(sample)
    const { rtt, ping, jitter } = meter.snapshot({ now: 0, ...nothing })
    expect(rtt).toMatchObject({ latest: 24, minimum: 16, smoothed: 17 })
    // Differences 64, 24, 16, 0 from 64, each taken in by a sixteenth (RFC 3550).
    expect(rtt.jitter).toBeCloseTo([64, 24, 16, 0].reduce((sum, d) => sum + (d - sum) / 16, 0))
    expect(ping.buckets.filter(({ count }) => count > 0)).toEqual([
      { upTo: 20, count: 1 },
      { upTo: 35, count: 2 },
      { upTo: 50, count: 1 },
      { upTo: 100, count: 1 },
    ])
    expect(jitter.buckets.at(-1)).toEqual({ upTo: null, count: 2 })
  })

  it('knows nothing before anything was measured', () => {
    expect(new SessionMeter().snapshot({ now: 0, ...nothing })).toMatchObject({
      rtt: { latest: null, smoothed: null, minimum: null, jitter: null },
      out: { rate: 0, messages: 0, packets: 0, loss: null, quality: null },
      capacity: null,
      datagrams: { state: 'none', remote: '', mtu: 0 },
      stall: null,
    })
  })

  it('tells rates over the last two seconds, and totals', () => {
    const meter = new SessionMeter()
    for (let now = 0; now < 10_000; now += 10) meter.messageOut(125, now)
    const during = meter.snapshot({ now: 10_000, ...nothing })
    expect(during.out.messages).toBeCloseTo(100, 0)
    expect(during.out.rate).toBeCloseTo(100_000, -3)
    expect(during.totals).toMatchObject({ messagesOut: 1000, bytesOut: 125_000 })
    expect(meter.snapshot({ now: 14_000, ...nothing }).out.messages).toBe(0)
  })

  it('tells the rate of datagrams from their count, also when a new path counts from nothing', () => {
    const meter = new SessionMeter()
    const datagrams = (out: number, incoming: number) => ({
      state: 'open' as const,
      remote: { address: 'fe80::1%eth0', port: 47800 },
      mtu: 1400,
      rtt: 1,
      minimum: 1,
      jitter: 0,
      loss: { in: 0.1, out: undefined },
      quality: { in: 0.8, out: undefined },
      capacity: 1e6,
      packets: { out, in: incoming },
      bytes: { out: 0, in: 0 },
      queued: 7,
      dropped: 0,
    })
    meter.snapshot({ now: 1000, ...nothing, datagrams: datagrams(100, 50) })
    const later = meter.snapshot({ now: 3000, ...nothing, queued: 10, datagrams: datagrams(300, 150) })
    expect(later).toMatchObject({
      out: { packets: 100, loss: null, quality: null },
      in: { packets: 50, loss: 0.1, quality: 0.8 },
      capacity: 1e6,
      queued: 17,
      datagrams: { state: 'open', remote: '[fe80::1%eth0]:47800', mtu: 1400 },
    })
    expect(meter.snapshot({ now: 4000, ...nothing, datagrams: datagrams(20, 10) }).out.packets).toBe(20)
  })

  it('remembers the last routes, and counts resumptions', () => {
    const meter = new SessionMeter()
    meter.route({ at: 0, from: null, to: 'lan', reason: 'opened' })
    for (let at = 1; at <= 20; at++) {
      meter.route({ at, from: 'lan', to: null, reason: 'lost' })
      meter.route({ at, from: null, to: 'lan', reason: 'resumed' }, true)
    }
    meter.dropped()
    const { routes, totals } = meter.snapshot({ now: 0, ...nothing })
    expect(routes).toHaveLength(32)
    expect(routes.at(-1)).toEqual({ at: 20, from: null, to: 'lan', reason: 'resumed' })
    expect(totals).toMatchObject({ resumes: 20, dropped: 1 })
  })
})

it('a histogram counts a sample on a bound below it', () => {
  const counts = new Counts([1, 2])
  for (const sample of [0, 1, 1.5, 2, 2.1, 1e9]) counts.add(sample)
  expect(counts.buckets).toEqual([
    { upTo: 1, count: 2 },
    { upTo: 2, count: 2 },
    { upTo: null, count: 2 },
  ])
})
