import type { Milliseconds } from '../../../../daemon/types.ts'
import { NAT_KINDS, type NatTraits } from './nat.ts'

/** A network that hosts may be plugged into, with a router of its own. */
export interface HomeSpec {
  readonly nat: NatTraits
  readonly timeout: Milliseconds
  /** The carrier whose NAT is in front of it; absent: it has a public address. */
  readonly carrier?: number
  readonly ip6: 'none' | 'firewall' | 'open'
  /** False: no UDP gets out. */
  readonly udp: boolean
  /** Its router forwards ports on request. */
  readonly forwards: boolean
  /** Hosts see the router, but not each other. */
  readonly isolated: boolean
  /** Third number of its addresses: homes may well have the same. */
  readonly octet: number
}

/** Where a host is plugged in: a home, or the internet itself with a public address. */
export type Place = number | 'internet'

export interface HostSpec {
  /** The first one that leads to the internet is the default route; none: no cable is in. */
  readonly places: readonly Place[]
  readonly families: readonly (4 | 6)[]
  /** It may use the relay. */
  readonly relay: boolean
}

/** What there is, as plain data: enough to build it, or a copy of it. */
export interface WorldSpec {
  readonly carriers: readonly NatTraits[]
  readonly homes: readonly HomeSpec[]
  readonly hosts: readonly HostSpec[]
  /** There is a relay, and it works. */
  readonly relay: boolean
}

export const PLAIN_HOME: HomeSpec = {
  nat: NAT_KINDS.eim,
  timeout: 120_000,
  ip6: 'none',
  udp: true,
  forwards: false,
  isolated: false,
  octet: 1,
}

export const PLAIN_HOST: HostSpec = { places: [], families: [4], relay: false }

/** Two homes with these, and a host in each. */
export function homesOf(
  a: Partial<HomeSpec>,
  b: Partial<HomeSpec>,
  world: Partial<WorldSpec> = {},
  host: Partial<HostSpec> = {},
): WorldSpec {
  return {
    carriers: [],
    homes: [
      { ...PLAIN_HOME, ...a },
      { ...PLAIN_HOME, octet: 2, ...b },
    ],
    hosts: [0, 1].map((place) => ({ ...PLAIN_HOST, ...host, places: [place] })),
    relay: false,
    ...world,
  }
}
