import type { Milliseconds } from '../types.ts'
import { BlackHoleDetector } from './black-hole.ts'
import { Arrivals, DeliveryShares, Departures, type ReportedSpan, ReportReader } from './delivery.ts'
import type { Report } from './frames.ts'
import { BASE_PAYLOAD } from './mtu.ts'
import { Reporter } from './reporter.ts'

/** What a report of the other end tells. */
export interface Reported {
  /** What became of what left since the report before. */
  readonly span: ReportedSpan | undefined
  /** Packets above the base vanish. */
  readonly isBlackHole: boolean
}

/** Counts both directions of a path, writes reports and reads those of the other end. */
export class Traffic {
  readonly #departures = new Departures()
  readonly #arrivals = new Arrivals()
  readonly #reader = new ReportReader()
  readonly #reporter = new Reporter()
  readonly #blackHole = new BlackHoleDetector(BASE_PAYLOAD)
  readonly #packets = { in: 0, out: 0 }
  readonly #bytes = { in: 0, out: 0 }
  #shares: { in: DeliveryShares; out: DeliveryShares }

  constructor(now: Milliseconds) {
    this.#shares = { in: new DeliveryShares(now), out: new DeliveryShares(now) }
  }

  /** When the next report is due. */
  get deadline(): Milliseconds {
    return this.#reporter.deadline
  }

  left(number: number, size: number, aside: boolean): void {
    this.#packets.out++
    this.#bytes.out += size
    this.#departures.left(number, aside)
    if (!aside) this.#blackHole.left(number, size)
  }

  /** A packet was opened, and its frames were read. */
  arrived(number: number, size: number, aside: boolean): void {
    this.#packets.in++
    this.#bytes.in += size
    if (!aside) this.#arrivals.arrived(number, size)
  }

  messageLeft(now: Milliseconds): void {
    this.#reporter.sent(now)
  }

  messageArrived(now: Milliseconds): void {
    this.#reporter.received(now)
  }

  /** The report to send now. */
  report(now: Milliseconds): Report {
    const { highest, received, ordered, bytes, largest } = this.#arrivals
    this.#arrivals.largest = 0
    return { asks: this.#reporter.report(now), sent: this.#departures.sent, highest, received, ordered, bytes, largest }
  }

  /** A report of the other end; undefined for one that tells of packets never sent. */
  reported(report: Report, now: Milliseconds): Reported | undefined {
    if (!this.#departures.has(report.highest)) return undefined
    const span = this.#reader.out(report, this.#departures, now)
    const theirs = this.#reader.in(report, this.#arrivals)
    if (span) this.#shares.out.add(span.sent, span.received, span.ordered, now)
    if (theirs) this.#shares.in.add(theirs.sent, theirs.received, theirs.ordered, now)
    if (report.asks) this.#reporter.asked(now)
    return { span, isBlackHole: this.#blackHole.reported(report.highest, report.largest) }
  }

  /** Another path: its shares are its own. */
  restart(now: Milliseconds): void {
    this.#shares = { in: new DeliveryShares(now), out: new DeliveryShares(now) }
    this.#blackHole.reset()
  }

  get statistics(): {
    loss: { in: number | undefined; out: number | undefined }
    quality: { in: number | undefined; out: number | undefined }
    packets: { in: number; out: number }
    bytes: { in: number; out: number }
  } {
    const { in: incoming, out } = this.#shares
    return {
      loss: { in: incoming.loss, out: out.loss },
      quality: { in: incoming.quality, out: out.quality },
      packets: { ...this.#packets },
      bytes: { ...this.#bytes },
    }
  }
}
