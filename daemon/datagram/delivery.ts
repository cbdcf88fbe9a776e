/** What became of the packets: counted where they leave and where they arrive, told to each other in reports. */
import type { Milliseconds } from '../types.ts'
import type { Report } from './frames.ts'

/** Asides whose number no report has covered yet; more than a path sends between reports. */
const MAX_ASIDES = 256
/** After this long a packet counts e times less in shares. */
const MEMORY: Milliseconds = 5000
/** Fewer packets than this tell no share. */
const ENOUGH = 10

/** Counts what leaves, so that a report of the highest number received tells how many were sent until then. */
export class Departures {
  #asides: number[] = []
  /** Asides below all in the list. */
  #before = 0
  #next = 0

  /** Packets sent that are no asides. */
  get sent(): number {
    return this.#next - this.#before - this.#asides.length
  }

  left(number: number, aside: boolean): void {
    this.#next = number + 1
    if (!aside) return
    this.#asides.push(number)
    if (this.#asides.length <= MAX_ASIDES) return
    this.#asides.shift()
    this.#before++
  }

  /** True for the number of a packet that was sent, and for -1. */
  has(number: number): boolean {
    return number < this.#next
  }

  /** How many were sent up to packet `number`, asides excepted. Asked with growing numbers. */
  upTo(number: number): number {
    const covered = this.#asides.filter((aside) => aside <= number).length
    this.#asides.splice(0, covered)
    this.#before += covered
    return Math.max(0, number + 1 - this.#before)
  }
}

/** Counts what arrives. */
export class Arrivals {
  received = 0
  ordered = 0
  bytes = 0
  highest = -1
  largest = 0

  arrived(number: number, size: number): void {
    this.received++
    this.bytes += size
    if (size > this.largest) this.largest = size
    if (number < this.highest) return
    this.ordered++
    this.highest = number
  }
}

/** Shares lost and delivered in order, of the last seconds. */
export class DeliveryShares {
  #sent = 0
  #received = 0
  #ordered = 0
  #at: Milliseconds

  constructor(now: Milliseconds) {
    this.#at = now
  }

  /** Between two reports. */
  add(sent: number, received: number, ordered: number, now: Milliseconds): void {
    const kept = Math.exp((this.#at - now) / MEMORY)
    this.#at = now
    this.#sent = this.#sent * kept + sent
    this.#received = this.#received * kept + received
    this.#ordered = this.#ordered * kept + ordered
  }

  /** 0 to 1; undefined while too few were sent to tell. */
  get loss(): number | undefined {
    return this.#sent < ENOUGH ? undefined : share(1 - this.#received / this.#sent)
  }

  /** The share delivered in order, which GameNetworkingSockets calls quality: what is lost is missing, what comes late counts as missing. */
  get quality(): number | undefined {
    return this.#sent < ENOUGH ? undefined : share(this.#ordered / this.#sent)
  }
}

/** What two reports say of the time between them. */
export interface ReportedSpan {
  readonly sent: number
  readonly received: number
  readonly ordered: number
  readonly bytes: number
  readonly elapsed: Milliseconds
}

/** Reads the other end's reports, whose order and honesty are not given. */
export class ReportReader {
  #last: { report: Report; sent: number; at: Milliseconds } | undefined
  #theirs: { sent: number; received: number; ordered: number } | undefined

  /** What became of what this end sent; undefined for the first report, and for one that came late. */
  out(report: Report, departures: Departures, now: Milliseconds): ReportedSpan | undefined {
    const last = this.#last
    if (last && (report.received < last.report.received || report.highest < last.report.highest)) return undefined
    const sent = departures.upTo(report.highest)
    this.#last = { report, sent, at: now }
    if (!last) return undefined
    return {
      sent: Math.max(0, sent - last.sent),
      received: report.received - last.report.received,
      ordered: Math.max(0, report.ordered - last.report.ordered),
      bytes: Math.max(0, report.bytes - last.report.bytes),
      elapsed: now - last.at,
    }
  }

  /** What became of what the other end sent before its report. */
  in(report: Report, arrivals: Arrivals): { sent: number; received: number; ordered: number } | undefined {
    const last = this.#theirs
    if (last && report.sent < last.sent) return undefined
    const { received, ordered } = arrivals
    this.#theirs = { sent: report.sent, received, ordered }
    if (!last) return { sent: report.sent, received, ordered }
    return { sent: report.sent - last.sent, received: received - last.received, ordered: ordered - last.ordered }
  }
}

function share(value: number): number {
  return Math.min(1, Math.max(0, value))
}
