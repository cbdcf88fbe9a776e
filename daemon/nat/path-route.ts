import { isNear } from '../connect/route.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { Route } from '../types.ts'
import type { SelectedPath } from './ice/agent.ts'

/** What a path is called (ARCHITECTURE.md, "Order of preference for a route"). Where either end needs no hole, none was punched. */
export function routeOfPath({ to, local, remote }: SelectedPath, interfaces: readonly NetworkInterface[]): Route {
  if (local === 'relay' || remote === 'relay') return 'relay'
  if (to.relay !== undefined || remote === 'friend-relay') return 'friend-relay'
  if (isNear(to.address, interfaces)) return 'lan'
  if (local === 'mapped' || remote === 'mapped') return 'mapped'
  return local === 'host' || remote === 'host' ? 'direct' : 'punched'
}
