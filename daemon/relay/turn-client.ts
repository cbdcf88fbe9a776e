import type { HostPort } from '../types.ts'

/** How a client talks to the server. */
export type ClientTransport = 'udp' | 'tcp' | 'tls'

/** A 5-tuple (RFC 8656 section 3): who talks to the server, where and how. */
export interface TurnClient {
  /** Another one for each 5-tuple. */
  readonly key: string
  readonly transport: ClientTransport
  /** Where it sends from. */
  readonly from: HostPort
  /** Last number of a channel that it may have: what else comes that way is told apart by the first byte (RFC 7983). */
  readonly lastChannel: number
  /** Sends without waiting; what cannot be sent is lost. */
  send(packet: Buffer): void
}
