import { isIPv4 } from 'node:net'
import { decodeXorAddress } from '../nat/stun/attributes.ts'
import type { HostPort } from '../types.ts'

/** Length of the value with an IPv4 address (RFC 8489 section 14.2). */
const IPV4_SIZE = 8

/** XOR-PEER-ADDRESS; undefined where it is none, or has an IPv4 address in IPv6 clothes. */
export function readPeer(value: Buffer | undefined, transaction: Uint8Array): HostPort | undefined {
  if (!value) return undefined
  try {
    const peer = decodeXorAddress(value, transaction)
    return isIPv4(peer.address) === (value.length === IPV4_SIZE) ? peer : undefined
  } catch {
    return undefined
  }
}
