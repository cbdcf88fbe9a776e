import type { Nat } from './kinds.ts'

/** Why two hosts cannot reach each other without somebody in between. */
export type Obstacle =
  /** UDP does not get out of at least one network, and TCP does not get into the other. */
  | 'udp'
  /** The mapping of one depends on the destination, and the other lets in only whom it expects. */
  | 'symmetric'
  /** Both are behind one carrier, whose NAT does not lead back in what its customers send to its own address. */
  | 'hairpin'

/** What the best that is possible looks like. */
export type Expectation =
  | { readonly way: 'lan' }
  | { readonly way: 'direct' }
  | { readonly way: 'none'; readonly obstacle: Obstacle }

/**
 * Whether there is a way between two hosts that nobody relays, if each learns from a STUN server how it looks from outside, and both send
 * to each other at the same time. TCP counts where one side accepts it; that both sides open it at once is not in reach of a program that
 * listens on the same port.
 */
export function expectation(a: Nat, b: Nat): Expectation {
  if (reaches(a, b) || reaches(b, a) || dials(a, b) || dials(b, a)) return { way: 'direct' }
  return { way: 'none', obstacle: a.udp && b.udp ? 'symmetric' : 'udp' }
}

/** Whether what `from` sends to the address that a server saw of `to` arrives: then `to` sees where it came from, and answers. */
function reaches(from: Nat, to: Nat): boolean {
  if (!from.udp || !to.udp) return false
  if (to.filtering === 'EIF') return true
  // To a port that was opened towards the server alone.
  if (!isForAll(to)) return false
  // `to` has sent to the address that the server saw of `from`. From there comes the packet if the port is the same for all.
  return to.filtering === 'ADF' || isForAll(from)
}

const isForAll = ({ mapping }: Nat): boolean => mapping === 'none' || mapping === 'EIM'

const dials = (from: Nat, to: Nat): boolean => to.tcpIn && from.tcpOut === 'all'

const DEPENDENCE = ['none', 'EIM', 'ADM', 'APDM'] as const
const STRICTNESS = ['EIF', 'ADF', 'APDF'] as const

/** One NAT behind another: the worse of both in everything. */
export function behind(home: Nat, carrier: Nat): Nat {
  const worse = <T>(order: readonly T[], one: T, other: T): T =>
    order.indexOf(one) > order.indexOf(other) ? one : other
  return {
    mapping: worse(DEPENDENCE, home.mapping, carrier.mapping),
    filtering: worse(STRICTNESS, home.filtering, carrier.filtering),
    udp: home.udp && carrier.udp,
    tcpOut: worse(['all', 'web'], home.tcpOut, carrier.tcpOut),
    tcpIn: home.tcpIn && carrier.tcpIn,
  }
}
