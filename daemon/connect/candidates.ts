import { isIPv6 } from 'node:net'
import { isOwnAddress, sameSubnet, scopeOf } from '../network/addresses.ts'
import { type NetworkInterface, scopedAddress } from '../network/network.ts'
import type { KnownAddress } from '../peers/peer-book.ts'
import type { HostPort } from '../types.ts'

/** Most addresses of a peer that one attempt dials. */
export const MAX_CANDIDATES = 16

const KIND_RANK = { cable: 0, wifi: 1, other: 2, loopback: 3, vpn: 4, container: 5 } as const

/**
 * The order in which a peer's addresses are dialled: those on a network of ours first, by cable before Wi-Fi, the one that worked last
 * first among equals; the two families in turn (RFC 8305 section 4), beginning with the best one's.
 */
export function sortCandidates(known: readonly KnownAddress[], interfaces: readonly NetworkInterface[]): HostPort[] {
  const ranked = known
    .filter((candidate) => isUsable(candidate, interfaces))
    .map((candidate, position) => ({ candidate, rank: rankOf(candidate, interfaces), position }))
    .sort((a, b) => a.rank - b.rank || a.position - b.position)
    .map(({ candidate }) => ({ address: scopedAddress(candidate.address, candidate.interface), port: candidate.port }))
  return interleave(ranked).slice(0, MAX_CANDIDATES)
}

/** A link-local address without an interface cannot be dialled; loopback reaches a peer only if it was seen there. */
function isUsable({ address, interface: seenOn }: KnownAddress, interfaces: readonly NetworkInterface[]): boolean {
  const scope = scopeOf(address)
  if (scope === 'link-local' && isIPv6(address.split('%')[0] ?? '')) return address.includes('%') || seenOn !== ''
  if (scope !== 'loopback') return true
  return seenOn === '' || interfaces.some(({ name, kind }) => name === seenOn && kind === 'loopback')
}

/** Lower is better. */
function rankOf(candidate: KnownAddress, interfaces: readonly NetworkInterface[]): number {
  if (isOwnAddress(candidate.address, interfaces)) return 0
  const near = interfaces.find(({ name, participating, addresses }) => {
    if (!participating) return false
    if (name === candidate.interface) return true
    return addresses.some((own) => own.scope !== 'link-local' && sameSubnet(candidate.address, own))
  })
  return (near ? 10 + KIND_RANK[near.kind] * 2 : 40) + (candidate.lastGood ? 0 : 1)
}

/** One of each family in turn, order kept within each, beginning with the first one's family. */
function interleave(addresses: readonly HostPort[]): HostPort[] {
  const isV6 = ({ address }: HostPort): boolean => address.includes(':')
  const [first] = addresses
  if (!first) return []
  const lead = addresses.filter((one) => isV6(one) === isV6(first))
  const rest = addresses.filter((one) => isV6(one) !== isV6(first))
  return lead.flatMap((one, i) => [one, ...(rest[i] ? [rest[i]] : [])]).concat(rest.slice(lead.length))
}
