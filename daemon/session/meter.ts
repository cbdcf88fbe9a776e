import type { DatagramStatistics } from '../datagram/path-statistics.ts'
import { formatHostPort } from '../network/network.ts'
import type { Milliseconds, UnixMilliseconds } from '../types.ts'
import type { FakeNetworkSettings } from './fake-network.ts'
import { Counts, JITTER_BOUNDS, PING_BOUNDS } from './histogram.ts'
import { RoundTrip } from './round-trip.ts'
import { StallDetector } from './stall.ts'
import type { LaneStatistics, RouteChange, SessionStatistics } from './statistics.ts'

/** Rates are taken over this time. */
const WINDOW: Milliseconds = 2000
/** Changes of route that are remembered. */
const MAX_ROUTES = 32

/** How much there is of something in a second, over the last two. */
class Rate {
  #window = 0
  #current = 0
  #before = 0

  add(amount: number, now: Milliseconds): void {
    this.#advance(now)
    this.#current += amount
  }

  perSecond(now: Milliseconds): number {
    this.#advance(now)
    const passed = (now - this.#window * WINDOW) / WINDOW
    return ((this.#current + this.#before * (1 - passed)) * 1000) / WINDOW
  }

  #advance(now: Milliseconds): void {
    const window = Math.floor(now / WINDOW)
    if (window === this.#window) return
    this.#before = window === this.#window + 1 ? this.#current : 0
    this.#current = 0
    this.#window = window
  }
}

/** One direction. */
class Direction {
  readonly bytes = new Rate()
  readonly messages = new Rate()
  totalBytes = 0
  totalMessages = 0

  add(bytes: number, now: Milliseconds): void {
    this.bytes.add(bytes, now)
    this.messages.add(1, now)
    this.totalBytes += bytes
    this.totalMessages++
  }
}

/** What the session knows besides what was measured. */
interface Present {
  readonly now: Milliseconds
  readonly wall: UnixMilliseconds
  readonly lanes: readonly LaneStatistics[]
  readonly queued: number
  readonly unacknowledged: number
  readonly datagrams: DatagramStatistics | undefined
  readonly fake: FakeNetworkSettings | null
}

/** Measures a session; free of I/O. */
export class SessionMeter {
  readonly #roundTrip = new RoundTrip()
  readonly #pings = new Counts(PING_BOUNDS)
  readonly #jitters = new Counts(JITTER_BOUNDS)
  readonly #out = new Direction()
  readonly #in = new Direction()
  readonly #stalls = new StallDetector()
  readonly #routes: RouteChange[] = []
  #latest: Milliseconds | null = null
  #minimum: Milliseconds | null = null
  #jitter: Milliseconds | null = null
  #dropped = 0
  #resumes = 0
  /** Datagrams and the time of the last look, for their rate. */
  #packets = { out: 0, in: 0, at: 0, outRate: 0, inRate: 0 }

  get smoothed(): Milliseconds | undefined {
    return this.#roundTrip.smoothed
  }

  roundTrip(sample: Milliseconds): void {
    if (this.#latest !== null) {
      const difference = Math.abs(sample - this.#latest)
      // RFC 3550 section 6.4.1, over round trips.
      this.#jitter = (this.#jitter ?? 0) + (difference - (this.#jitter ?? 0)) / 16
      this.#jitters.add(difference)
    }
    this.#latest = sample
    this.#minimum = Math.min(this.#minimum ?? sample, sample)
    this.#roundTrip.add(sample)
    this.#pings.add(sample)
  }

  messageOut(bytes: number, now: Milliseconds): void {
    this.#out.add(bytes, now)
  }

  /** True when the peer's messages have begun to stop and burst in a pattern. */
  messageIn(bytes: number, now: Milliseconds): boolean {
    this.#in.add(bytes, now)
    return this.#stalls.arrived(1, now)
  }

  dropped(): void {
    this.#dropped++
  }

  /** The route changed; `resumed`: the session goes on with another link. */
  route(change: RouteChange, resumed = false): void {
    if (resumed) this.#resumes++
    this.#routes.push(change)
    if (this.#routes.length > MAX_ROUTES) this.#routes.shift()
  }

  snapshot({ now, wall, lanes, queued, unacknowledged, datagrams, fake }: Present): SessionStatistics {
    const packets = this.#packetRates(datagrams, now)
    const direction = (one: Direction, way: 'in' | 'out') => ({
      rate: one.bytes.perSecond(now) * 8,
      messages: one.messages.perSecond(now),
      packets: packets[way],
      loss: datagrams?.loss[way] ?? null,
      quality: datagrams?.quality[way] ?? null,
    })
    return {
      rtt: {
        latest: this.#latest,
        smoothed: this.#roundTrip.smoothed ?? null,
        minimum: this.#minimum,
        jitter: this.#jitter,
      },
      out: direction(this.#out, 'out'),
      in: direction(this.#in, 'in'),
      capacity: datagrams?.capacity ?? null,
      queued: queued + (datagrams?.queued ?? 0),
      unacknowledged,
      queueTime: lanes.reduce((most, { queueTime }) => Math.max(most, queueTime), 0),
      lanes,
      totals: {
        messagesOut: this.#out.totalMessages,
        messagesIn: this.#in.totalMessages,
        bytesOut: this.#out.totalBytes,
        bytesIn: this.#in.totalBytes,
        dropped: this.#dropped,
        resumes: this.#resumes,
      },
      datagrams: {
        state: datagrams?.state ?? 'none',
        remote: datagrams?.remote ? formatHostPort(datagrams.remote) : '',
        mtu: datagrams?.mtu ?? 0,
      },
      routes: [...this.#routes],
      ping: { buckets: this.#pings.buckets },
      jitter: { buckets: this.#jitters.buckets },
      stall: this.#stalls.stall(now, wall),
      fake,
    }
  }

  #packetRates(datagrams: DatagramStatistics | undefined, now: Milliseconds): { out: number; in: number } {
    const { out, in: incoming } = datagrams?.packets ?? { out: 0, in: 0 }
    const last = this.#packets
    const passed = (now - last.at) / 1000
    // Looked at more than twice a second, the last rates are still good; a path that is new counts from zero.
    if (passed < 0.5) return { out: last.outRate, in: last.inRate }
    const rate = (count: number, before: number) => (count >= before ? (count - before) / passed : count / passed)
    const [outRate, inRate] = [rate(out, last.out), rate(incoming, last.in)]
    this.#packets = { out, in: incoming, at: now, outRate, inRate }
    return { out: outRate, in: inRate }
  }
}
