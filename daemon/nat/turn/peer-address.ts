import { BlockList, isIP } from 'node:net'
import { plainAddress, scopeOf } from '../../network/addresses.ts'

const MULTICAST = new BlockList()
MULTICAST.addSubnet('224.0.0.0', 4, 'ipv4')
// Reserved (RFC 1112 section 4), the limited broadcast address included.
MULTICAST.addSubnet('240.0.0.0', 4, 'ipv4')
MULTICAST.addSubnet('ff00::', 8, 'ipv6')

export function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4
}

/**
 * True for an address to which a relay may send, and which a relay may have: one of a single host other than the relay itself. Private ones
 * count, as a relay may stand in the same network; loopback, unspecified, link-local, multicast and reserved ones do not.
 */
export function isRelayable(address: string): boolean {
  const family = isIP(address)
  if (family === 0 || plainAddress(address) !== address) return false
  if (MULTICAST.check(address, family === 4 ? 'ipv4' : 'ipv6')) return false
  const scope = scopeOf(address)
  return scope !== 'loopback' && scope !== 'link-local'
}
