import type { Lab, LabOptions } from '../../lab/lab.ts'
import { KIND_NAMES, KINDS, type KindName } from './kinds.ts'
import { behind, type Expectation, expectation } from './theory.ts'

/** Delay of every home's way to the internet, in ms: two homes are four of them apart, there and back. */
const DELAY = 5

/** Two hosts, and what is between them. */
export interface Cell {
  /** `eim-sym`, or the name of a cell that is not about two kinds. */
  readonly id: string
  readonly about: string
  /** Cells of one network are measured one after the other in one lab. */
  readonly network: NetworkName
  readonly hosts: readonly [string, string]
  /** Kinds of the routers. */
  readonly routers: Readonly<Record<string, KindName>>
  readonly expected: Expectation
}

interface Network {
  readonly topology: Parameters<typeof Lab.up>[0]
  readonly options: LabOptions
  /** Addresses under which the routers of the homes know each other, for holes to be forgotten. */
  readonly outside: readonly string[]
}

const wire = [`ra:delay=${DELAY}`, `rb:delay=${DELAY}`]
const OUTSIDE = ['10.99.0.1', '10.99.0.2', '192.168.1.11', '192.168.2.11']

export const NETWORKS = {
  homes: { topology: 'nat-pair', options: { wire }, outside: OUTSIDE },
  'homes alike': { topology: 'nat-pair', options: { wire, samePrefix: true }, outside: OUTSIDE },
  'homes with IPv6': {
    topology: 'nat-pair',
    options: { wire, ip: '46' },
    outside: [...OUTSIDE, 'fd00:1::11', 'fd00:2::11'],
  },
  carrier: { topology: 'cgnat', options: { wire }, outside: ['10.99.0.3'] },
} as const satisfies Record<string, Network>

export type NetworkName = keyof typeof NETWORKS

/** A kind with each other kind, and with itself. */
const pairs: readonly Cell[] = KIND_NAMES.flatMap((a, i) =>
  KIND_NAMES.slice(i).map((b) => ({
    id: `${a}-${b}`,
    about: `${a} with ${b}`,
    network: 'homes' as const,
    hosts: ['a1', 'b1'] as const,
    routers: { ra: a, rb: b },
    expected: expectation(KINDS[a], KINDS[b]),
  })),
)

const NO_HAIRPIN: Expectation = { way: 'none', obstacle: 'hairpin' }

/** Two homes behind the NAT of one carrier. */
function carrier(cgn: KindName, expected: Expectation): Cell {
  return {
    id: `carrier-${cgn}`,
    about: `two homes (eim) behind one carrier's NAT (${cgn})`,
    network: 'carrier',
    hosts: ['a1', 'b1'],
    routers: { ra: 'eim', rb: 'eim', cgn },
    expected,
  }
}

const doubled = (cgn: KindName): Expectation => {
  const home = behind(KINDS.eim, KINDS[cgn])
  return expectation(home, home)
}

const others: readonly Cell[] = [
  carrier('eim', NO_HAIRPIN),
  carrier('cone', doubled('cone')),
  carrier('sym', doubled('sym')),
  {
    id: 'carrier-public',
    about: 'a home (eim) behind a symmetric carrier, with a host that has an address of the internet',
    network: 'carrier',
    hosts: ['a1', 'pub'],
    routers: { ra: 'eim', rb: 'eim', cgn: 'sym' },
    expected: expectation(behind(KINDS.eim, KINDS.sym), KINDS.none),
  },
  {
    id: 'same-prefix',
    about: 'both homes (eim) use the same private addresses, and both hosts have the same one',
    network: 'homes alike',
    hosts: ['a1', 'b1'],
    routers: { ra: 'eim', rb: 'eim' },
    expected: expectation(KINDS.eim, KINDS.eim),
  },
  {
    id: 'ipv6',
    about: 'symmetric NAT on both sides for IPv4; IPv6 through a firewall on each side that lets in answers only',
    network: 'homes with IPv6',
    hosts: ['a1', 'b1'],
    routers: { ra: 'sym', rb: 'sym' },
    expected: { way: 'direct' },
  },
  {
    id: 'one-home',
    about: 'both hosts in one home (sym)',
    network: 'homes',
    hosts: ['a1', 'a2'],
    routers: { ra: 'sym', rb: 'eim' },
    expected: { way: 'lan' },
  },
]

export const CELLS: readonly Cell[] = [...pairs, ...others]

/** Cells that are not about a pair of kinds. */
export const OTHER_CELLS = others

/** The cells of these names; a kind stands for all of its cells. Throws for a name of neither. */
export function cellsNamed(names: readonly string[]): readonly Cell[] {
  for (const name of names)
    if (!(name in KINDS) && !CELLS.some(({ id }) => id === name)) throw new Error(`no cell and no kind of NAT: ${name}`)
  const isNamed = (cell: Cell): boolean =>
    names.includes(cell.id) ||
    (pairs.includes(cell) && Object.values(cell.routers).some((kind) => names.includes(kind)))
  return names.length === 0 ? CELLS : CELLS.filter(isNamed)
}
