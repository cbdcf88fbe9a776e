import { createHash } from 'node:crypto'
import type { PeerId } from '../types.ts'

/** Signed and derived values of one purpose mean nothing for another. */
const DOMAIN = 'partyline account resource 1\0'

/**
 * The last part of a host's address at an account: whoever knows the peer id can name it, and a server learns from it nothing but that it is the
 * same host each time. So several hosts of one account are told apart, and a host needs neither presence nor a roster to be reached.
 */
export function resourceOf(peer: PeerId): string {
  return `pl-${createHash('sha256').update(`${DOMAIN}${peer}`).digest('hex').slice(0, 20)}`
}

/** The full address (RFC 7622) of a peer at an account of its. */
export const addressAt = (jid: string, peer: PeerId): string => `${jid}/${resourceOf(peer)}`
