import { isRelayKind, type LocalCandidate } from '../nat/candidate.ts'
import type { TransportAddress } from '../nat/transport-address.ts'
import { scopeOf } from '../network/addresses.ts'
import type { Share } from '../peers/peer-policy.ts'

/** Networks of this host that it shares with a peer: an address there tells the peer nothing that it cannot see. */
export type IsShared = (address: string) => boolean

/** True for an address that means something on the internet. */
const isPublic = (address: string): boolean => scopeOf(address) === 'global'

/** The candidates that a peer may be told of. */
export function tellable(
  candidates: readonly LocalCandidate[],
  share: Share,
  isShared: IsShared,
): readonly LocalCandidate[] {
  if (share === 'all') return candidates
  if (share === 'none') return []
  return candidates.filter(
    ({ kind, address }) => isRelayKind(kind) || (share === 'public' && (isPublic(address) || isShared(address))),
  )
}

/** The addresses of interfaces that a peer may be told of. */
export function tellableAddresses(addresses: readonly string[], share: Share, isShared: IsShared): readonly string[] {
  if (share === 'all') return addresses
  return addresses.filter((address) => isShared(address) || (share === 'public' && isPublic(address)))
}

/**
 * True where a packet for a peer may leave towards an address. What arrives straight shows the address that it left from: at a private address
 * that is one of our own inner ones.
 */
export function mayLeave({ address, relay }: TransportAddress, share: Share, isShared: IsShared): boolean {
  if (share === 'all' || relay !== undefined) return true
  return share === 'public' && (isPublic(address) || isShared(address))
}
