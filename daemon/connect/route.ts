import type { Link } from '../link/link.ts'
import { isOwnAddress, sameSubnet, scopeOf } from '../network/addresses.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { Route } from '../types.ts'

/** Best first (see ARCHITECTURE.md, "Order of preference for a route"). */
const ORDER: readonly Route[] = ['lan', 'direct', 'mapped', 'punched', 'friend-relay', 'relay']

/** Lower is better. */
export function rankOf(route: Route): number {
  return ORDER.indexOf(route)
}

/**
 * How a link travels: TCP tells by where it goes to, other carriers know it of the path below. `isMapped`: the peer says that a router forwards
 * this address of it.
 */
export function routeOf(
  { path, remote, local, dialled }: Link,
  interfaces: readonly NetworkInterface[],
  isMapped: (address: string) => boolean,
): Route {
  if (path) return path.route
  if (isNear(remote.address, interfaces)) return 'lan'
  // Who comes from elsewhere to a private address was let in by a router.
  const isForwarded = dialled ? isMapped(remote.address) : scopeOf(local.address) === 'private'
  return isForwarded && scopeOf(remote.address) === 'global' ? 'mapped' : 'direct'
}

/** True for an address that is reached without a router. */
export function isNear(address: string, interfaces: readonly NetworkInterface[]): boolean {
  const scope = scopeOf(address)
  if (scope === 'loopback' || scope === 'link-local' || isOwnAddress(address, interfaces)) return true
  return interfaces.some(({ addresses }) => addresses.some((own) => sameSubnet(address, own)))
}
