import { formatHostPort } from '../network/network.ts'
import type { HostPort } from '../types.ts'

/**
 * Where datagrams go to, or came from: an address, straight from the UDP port or through a relay of ours. As there is one socket for each
 * family, it is all that tells one pair of candidates from another.
 */
export interface TransportAddress extends HostPort {
  /** The TURN allocation that they go through; absent: none. */
  readonly relay?: string | undefined
}

export function isSameTransport(a: TransportAddress | undefined, b: TransportAddress | undefined): boolean {
  return a !== undefined && b !== undefined && a.port === b.port && a.address === b.address && a.relay === b.relay
}

/** To be told apart by, and read in logs: `192.0.2.1:47800`, `192.0.2.1:47800 via relay-1`. */
export function formatTransport(to: TransportAddress): string {
  return to.relay === undefined ? formatHostPort(to) : `${formatHostPort(to)} via ${to.relay}`
}
