import type { DatagramState } from '../datagram/path-statistics.ts'
import type { ErrorCode } from '../errors.ts'
import type { LinkPath } from '../link/link.ts'
import type { Carrier, HostPort, Milliseconds, PeerId, Route } from '../types.ts'
import type { FakeNetworkSettings } from './fake-network.ts'
import type { SessionStatistics } from './statistics.ts'

/** Largest message, in bytes. */
export const MAX_MESSAGE = 512 * 1024
/** Channels and services: 1 to 128 bytes of UTF-8. Names that begin with `partyline.` belong to the daemon. */
export const MAX_NAME = 128
/** Lanes are numbered from 0. */
export const MAX_LANE = 15
/** How long a now-or-never message may wait. */
export const NOW_OR_NEVER: Milliseconds = 5
/** What an opener may say of a stream, in bytes of UTF-8. */
export const MAX_STREAM_META = 1024

/** Why a session ended, as both sides see it. */
export interface CloseReason {
  readonly code: ErrorCode | 'done'
  readonly message: string
  /** Whose doing it was. */
  readonly by: 'local' | 'peer' | 'network'
}

/** An app's lane. A lane of a lower priority number goes first, whatever waits in others; those of one priority share by weight. */
export interface LaneConfig {
  /** 0 to 255; lower goes first. */
  readonly priority: number
  /** 1 to 65,535: the lane's share of the bytes among lanes of its priority. */
  readonly weight: number
}

/** How a message is to be sent. */
export interface SendOptions {
  /** Default true. Unreliable messages may be lost, doubled never; they are dropped rather than queued for long. */
  readonly reliable?: boolean
  /** 0 to 15, default 0. Order is kept within a lane and promised nowhere else. */
  readonly lane?: number
  /** Whose lanes: a number for each connection of an app; 0 is the daemon's own. */
  readonly app?: number
  /** Unreliable only: now or never. Dropped when it cannot leave within `NOW_OR_NEVER`. */
  readonly now?: boolean
  /** Leaves at once, with what was gathered before it. */
  readonly nodelay?: boolean
}

/** What became of a message: unreliable ones may be dropped before they leave. */
export interface Sent {
  readonly sent: boolean
  /** Number in its lane, from 1; 0 when it was dropped. */
  readonly number: number
  readonly via: 'link' | 'datagram'
}

/** `open`: on a link. `resuming`: its link is lost, nothing else is; what is sent waits. */
export type SessionState = 'open' | 'resuming'

/** How a session is doing. */
export interface SessionFacts {
  readonly id: string
  readonly peer: PeerId
  readonly route: Route
  readonly carrier: Carrier
  readonly cipher: string
  readonly group: string
  readonly local: HostPort
  readonly remote: HostPort
  /** The path below a link whose carrier can move. */
  readonly path?: Pick<LinkPath, 'to'>
  readonly state: SessionState
  /** The path of unreliable messages. */
  readonly datagrams: DatagramState
  /** True while a fake network makes it worse than it is. */
  readonly fake: boolean
  /** True when this host dialled the link. */
  readonly dialled: boolean
  /** Smoothed round trip; undefined before the first measurement. */
  readonly rtt: Milliseconds | undefined
  /** Since the session began. */
  readonly age: Milliseconds
  readonly streams: number
  /** Bytes of messages, sent and not yet acknowledged. */
  readonly unacknowledged: number
}

/** A message as it arrives. `accept` tells the sender it was delivered; not calling it holds the sender's window. */
export interface IncomingMessage {
  readonly peer: PeerId
  readonly channel: string
  readonly data: Uint8Array
  readonly reliable: boolean
  readonly lane: number
  /** Number in its lane, from 1. */
  readonly number: number
  /** How it travelled: unreliable ones go by datagram where that path is open. */
  readonly via: 'link' | 'datagram'
  /** Acknowledges: an app has it. */
  accept(): void
  /** Tells the sender it was not delivered, and why. */
  refuse(code: ErrorCode): void
}

/** A stream opened by the peer. Exactly one of `accept` and `refuse` is called. */
export interface IncomingStream {
  readonly peer: PeerId
  readonly id: string
  readonly service: string
  readonly meta: string
  accept(): Promise<SessionStream>
  refuse(code: ErrorCode): void
}

/** How a stream ended: `clean` when each side got every byte that the other wrote. */
export interface StreamOutcome {
  readonly clean: boolean
  readonly sent: number
  readonly received: number
  /** Bytes sent that the peer may not have. */
  readonly unconfirmed: number
  readonly error?: ErrorCode
}

/** Takes what a stream brings. */
export interface StreamSink {
  /** False asks for a pause, until `resume`. */
  data(chunk: Buffer): boolean
  /** All that the peer wrote has been handed over. */
  end(): void
  /** There is room to write again. */
  drain(): void
}

/** A byte stream between two apps: each direction ends by itself, and bytes outlive the link they travel on. */
export interface SessionStream {
  readonly id: string
  readonly peer: PeerId
  readonly service: string
  readonly outcome: Promise<StreamOutcome>
  /** How the peer's side of it ended, which may be long before the stream does. */
  readonly incoming: Promise<StreamOutcome>
  /** Begins to read; called once. */
  read(sink: StreamSink): void
  /** False asks the writer to wait for `drain`. The chunk must not change any more: it is kept until the peer has it. */
  write(chunk: Buffer): boolean
  pause(): void
  resume(): void
  /** The local side has written everything. */
  end(): void
  /** Ends it at once, both ways; the peer is told why. */
  reset(code: ErrorCode): void
}

/** The lasting conversation between two hosts. */
export interface Session {
  readonly facts: SessionFacts
  /**
   * Resolves when an app at the peer has the message; rejects with why not. Waits while the window of its channel is full, and keeps the
   * order of its lane among the messages of one channel. Unreliable ones resolve when they are handed over or dropped.
   */
  send(channel: string, data: Uint8Array, options?: SendOptions): Promise<Sent>
  /** Sets the lanes of an app, by index; those not named have priority 0 and weight 1. `gather`: how long small messages wait for others. */
  configure(app: number, lanes: readonly LaneConfig[], gather?: Milliseconds): void
  /** Sends what was gathered now. */
  flush(): void
  /** The app is gone: what it still has queued is dropped, its lanes are forgotten. */
  forget(app: number): void
  /** Measurements since the session began. */
  statistics(): SessionStatistics
  /** Pretends that the network is worse than it is; undefined takes that back. */
  fake(network: FakeNetworkSettings | undefined): void
  /** Opens a byte stream to a service of the peer. */
  openStream(service: string, meta?: string): Promise<SessionStream>
  /** Measures one round trip, through the peer's daemon. */
  ping(): Promise<Milliseconds>
  /** Ends it; the peer sees the reason. Resolves when the goodbye has left, after a second at most. */
  close(reason?: { code: ErrorCode | 'done'; message: string }): Promise<void>
  readonly closed: Promise<CloseReason>
}
