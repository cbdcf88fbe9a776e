import type { Milliseconds, UnixMilliseconds } from '../types.ts'
import type { FakeNetworkSettings } from './fake-network.ts'

/** One direction of a session, as measured over the last seconds. Rates are per second. */
interface DirectionStatistics {
  /** Bits per second of message content, streams not included. */
  readonly rate: number
  readonly messages: number
  readonly packets: number
  /** Datagrams lost, 0 to 1; null while too few travelled to tell. */
  readonly loss: number | null
  /** Share of datagrams delivered in order, 0 to 1, as GameNetworkingSockets defines quality; null while unknown. */
  readonly quality: number | null
}

/** One lane of one app. */
export interface LaneStatistics {
  readonly app: number
  readonly lane: number
  readonly priority: number
  readonly weight: number
  readonly queuedReliable: number
  readonly queuedUnreliable: number
  /** Bytes sent and not yet acknowledged. */
  readonly unacknowledged: number
  /** How long the first in the queue has waited. */
  readonly queueTime: Milliseconds
  /** Messages since the session began. */
  readonly sent: number
}

/** Buckets of a histogram: `count` samples at most `upTo`, and above the bucket before. The last has no bound. */
interface Histogram {
  readonly buckets: readonly { readonly upTo: number | null; readonly count: number }[]
}

/** A change of route. */
export interface RouteChange {
  readonly at: UnixMilliseconds
  /** Null when there was, or is, none. */
  readonly from: string | null
  readonly to: string | null
  readonly reason: string
}

/** Traffic that stops and bursts in a regular pattern, as a switch in the cable makes it. */
export interface Stall {
  readonly at: UnixMilliseconds
  /** Silences with a burst behind each, within the time looked at. */
  readonly silences: number
  readonly medianSilence: Milliseconds
  readonly medianInterval: Milliseconds
  /** Packets that came at once behind the silences, median. */
  readonly burst: number
}

/** How a session is doing, for `sessions.statistics`, `status PEER`, `top` and metrics. */
export interface SessionStatistics {
  readonly rtt: {
    readonly latest: Milliseconds | null
    readonly smoothed: Milliseconds | null
    readonly minimum: Milliseconds | null
    readonly jitter: Milliseconds | null
  }
  readonly out: DirectionStatistics
  readonly in: DirectionStatistics
  /** Estimated bits per second that the datagram path carries; null while unknown. */
  readonly capacity: number | null
  readonly queued: number
  readonly unacknowledged: number
  readonly queueTime: Milliseconds
  readonly lanes: readonly LaneStatistics[]
  readonly totals: {
    readonly messagesOut: number
    readonly messagesIn: number
    readonly bytesOut: number
    readonly bytesIn: number
    /** Unreliable messages that were dropped before they left. */
    readonly dropped: number
    readonly resumes: number
  }
  readonly datagrams: {
    readonly state: 'none' | 'probing' | 'open' | 'lost'
    readonly remote: string
    /** Largest UDP payload that is known to arrive, in bytes. */
    readonly mtu: number
  }
  readonly routes: readonly RouteChange[]
  readonly ping: Histogram
  readonly jitter: Histogram
  readonly stall: Stall | null
  readonly fake: FakeNetworkSettings | null
}
