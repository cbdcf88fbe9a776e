/** What everything that is compared looks like to the benchmark: two processes, one serves, one dials. */
import type { Service } from './service.ts'

/** An ordered, reliable pipe. Whoever gets one sets `onData` at once. */
export interface Pipe {
  /** A good size for writes of bulk, in bytes. */
  readonly chunk: number
  /** True where every write is read as it was written; elsewhere messages carry their length. */
  readonly keepsMessages: boolean
  onData: (chunk: Uint8Array) => void
  onDrain: () => void
  /** False: wait for `onDrain`. */
  write(chunk: Uint8Array): boolean
  /** Between the two, writes may be gathered. */
  cork(): void
  uncork(): void
}

/** Reliable messages that the other end acknowledges. */
export interface Messages {
  /** The other end has so many more. */
  onDelivered: (count: number) => void
  send(data: Uint8Array): void
  cork(): void
  uncork(): void
}

/** Unreliable packets, and the serving process's words about them. */
export interface Packets {
  onReport: (report: Uint8Array) => void
  send(data: Uint8Array): void
}

/** A connection to the serving process. */
export interface Conversation {
  pipe(): Promise<Pipe>
  /** Own messages where the subject has them; elsewhere the benchmark frames and acknowledges over a pipe. */
  messages?(): Messages
  /** One message there and back; elsewhere over an echoing pipe. */
  trip?(payload: Uint8Array): Promise<void>
  packets?(): Packets
  close(): Promise<void>
}

/** Where the serving process is. */
export interface Reach {
  readonly host: string
  readonly port: number
  /** What else the subject needs: a peer id, a path. */
  readonly detail: string
}

/** How a process is set up. */
export interface Setup {
  /** Own address in the serving process. */
  readonly host: string
  /** Home of the daemon. */
  readonly home: string
  /** Unix socket. */
  readonly path: string
  /** A way of the subject, by its own name; `''` for the usual one. */
  readonly variant: string
}

export interface Transport {
  serve(service: Service, setup: Setup): Promise<Reach>
  /** What is there before anybody dials (keys, endpoints, a socket to the daemon); dialling is measured, this is not. */
  prepare(reach: Reach, setup: Setup): Promise<() => Promise<Conversation>>
}
