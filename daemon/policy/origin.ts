import type { Link, LinkPath } from '../link/link.ts'
import { isOwnAddress, sameSubnet, scopeOf } from '../network/addresses.ts'
import type { NetworkInterface } from '../network/network.ts'

/** Where a peer comes from: a network that this host takes part in, or anywhere else. */
export type Origin = 'lan' | 'internet'

/** What tells where a link comes from. */
export interface LinkEnds extends Pick<Link, 'local' | 'remote'> {
  readonly path?: Pick<LinkPath, 'to'>
}

/** True for an address on a network that takes part, which only somebody there can have. */
export function isOnLan(address: string, interfaces: readonly NetworkInterface[]): boolean {
  const scope = scopeOf(address)
  if (scope === 'loopback' || isOwnAddress(address, interfaces)) return true
  const participating = interfaces.filter((one) => one.participating)
  if (scope === 'link-local') return participating.length > 0
  return participating.some(({ addresses }) => addresses.some((own) => sameSubnet(address, own)))
}

/** What comes through a relay may come from anywhere, whatever address the relay has. */
export function originOf({ remote, path }: LinkEnds, interfaces: readonly NetworkInterface[]): Origin {
  const from = path ? path.to : remote
  return !('relay' in from && from.relay !== undefined) && isOnLan(from.address, interfaces) ? 'lan' : 'internet'
}
