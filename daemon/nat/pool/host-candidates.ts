import type { NetworkInterface } from '../../network/network.ts'

/** An address of this host that may be told to peers, best first. */
export interface HostAddress {
  readonly address: string
  readonly family: 4 | 6
  readonly interface: string
}

const KIND_RANK = { cable: 0, wifi: 1, other: 2, vpn: 3, container: 4, loopback: 5 } as const
const SCOPE_RANK = { global: 0, private: 1, 'link-local': 2, loopback: 3 } as const

/**
 * The addresses of the interfaces that take part, by kind of interface and reach, the two families in turn (RFC 8421 section 4), IPv6 first.
 * Left out: loopback, and IPv6 link-local, which means nothing without a zone, that is on any other host.
 */
export function hostAddresses(interfaces: readonly NetworkInterface[]): readonly HostAddress[] {
  const ranked = interfaces
    .filter(({ participating, kind }) => participating && kind !== 'loopback')
    .flatMap(({ name, kind, addresses }) =>
      addresses
        .filter(({ family, scope }) => scope !== 'loopback' && !(family === 6 && scope === 'link-local'))
        .map(({ address, family, scope }) => ({
          address,
          family,
          interface: name,
          rank: KIND_RANK[kind] * 10 + SCOPE_RANK[scope],
        })),
    )
    .sort((a, b) => a.rank - b.rank)
  const of = (wanted: 4 | 6) => ranked.filter(({ family }) => family === wanted)
  const [six, four] = [of(6), of(4)]
  const longest = Math.max(six.length, four.length)
  return Array.from({ length: longest }, (_, index) => [six[index], four[index]])
    .flat()
    .filter((one) => one !== undefined)
    .map(({ address, family, interface: on }) => ({ address, family, interface: on }))
}
