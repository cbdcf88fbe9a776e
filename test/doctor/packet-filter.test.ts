import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { droppedPackets, type StrangerPacket } from '../../daemon/doctor/packet-filter.ts'

const TCP: StrangerPacket = { transport: 'tcp', port: 47_800, interface: 'eth0', to: '192.168.50.1' }
const UDP: StrangerPacket = { ...TCP, transport: 'udp', port: 5353 }
const SIX: StrangerPacket = { ...TCP, to: 'fd00:50::1' }

type Expression = Readonly<Record<string, unknown>>
const ACCEPT = { accept: null }
const DROP = { drop: null }

/** An input chain with these rules, as `nft -j list ruleset` prints it, and chains beside it. */
function ruleset(
  policy: string,
  rules: readonly (readonly Expression[])[],
  { family = 'inet', others = {}, sets = {} }: Options = {},
): unknown {
  const place = { family, table: 'filter' }
  const chain = { ...place, name: 'input', type: 'filter', hook: 'input', prio: 0, policy }
  const rulesOf = (name: string, list: readonly (readonly Expression[])[]) =>
    list.map((expr, handle) => ({ rule: { ...place, chain: name, handle, expr } }))
  return {
    nftables: [
      { metainfo: { json_schema_version: 1 } },
      { chain },
      ...Object.entries(sets).map(([name, elem]) => ({ set: { ...place, name, type: 'inet_service', elem } })),
      ...rulesOf('input', rules),
      ...Object.entries(others).flatMap(([name, list]) => rulesOf(name, list)),
    ],
  }
}

interface Options {
  readonly family?: string
  readonly others?: Readonly<Record<string, readonly (readonly Expression[])[]>>
  readonly sets?: Readonly<Record<string, readonly unknown[]>>
}

const match = (left: Expression, right: unknown, op = '=='): Expression => ({ match: { op, left, right } })
const dport = (protocol: string, right: unknown, op?: string): Expression =>
  match({ payload: { protocol, field: 'dport' } }, right, op)
const meta = (key: string, right: unknown, op?: string): Expression => match({ meta: { key } }, right, op)
const ESTABLISHED = match({ ct: { key: 'state' } }, { set: ['established', 'related'] }, 'in')
const STRANGE = match({ socket: { key: 'wildcard' } }, 1)

const isDropped = (listing: unknown, packet: StrangerPacket): boolean => droppedPackets(listing, [packet]).length > 0

/** What becomes of TCP and UDP. */
const CASES: readonly (readonly [when: string, listing: unknown, dropped: readonly ('tcp' | 'udp' | 'six')[]])[] = [
  ['there are no rules', { nftables: [] }, []],
  ['the chain accepts', ruleset('accept', []), []],
  ['the chain drops', ruleset('drop', []), ['tcp', 'udp', 'six']],
  ['answers alone are let in', ruleset('drop', [[ESTABLISHED, ACCEPT]]), ['tcp', 'udp', 'six']],
  ['new ones are let in', ruleset('drop', [[match({ ct: { key: 'state' } }, 'new'), ACCEPT]]), []],
  ['our port is let in', ruleset('drop', [[dport('tcp', 47_800), { counter: {} }, ACCEPT]]), ['udp']],
  ['our port is dropped', ruleset('accept', [[dport('tcp', 47_800), DROP]]), ['tcp', 'six']],
  [
    'our port is rejected',
    ruleset('accept', [[dport('tcp', 47_800), { reject: { type: 'tcp reset' } }]]),
    ['tcp', 'six'],
  ],
  ['another port is dropped', ruleset('accept', [[dport('tcp', 22), DROP]]), []],
  ['a set has our port', ruleset('drop', [[dport('udp', { set: [5353, 53] }), ACCEPT]]), ['tcp', 'six']],
  ['a range has our port', ruleset('drop', [[dport('tcp', { range: [47_000, 48_000] }), ACCEPT]]), ['udp']],
  ['all ports but one are let in', ruleset('drop', [[dport('th', 22, '!='), ACCEPT]]), []],
  [
    'a named set has our port',
    ruleset('drop', [[dport('udp', '@open'), ACCEPT]], { sets: { open: [{ elem: { val: 5353, expires: 9 } }] } }),
    ['tcp', 'six'],
  ],
  ['a named set is empty', ruleset('drop', [[dport('udp', '@open'), ACCEPT]]), ['tcp', 'udp', 'six']],
  ['one protocol is let in', ruleset('drop', [[meta('l4proto', 'udp'), ACCEPT]]), ['tcp', 'six']],
  ['another interface is let in', ruleset('drop', [[meta('iifname', 'lo'), ACCEPT]]), ['tcp', 'udp', 'six']],
  ['our kind of interface is let in', ruleset('drop', [[meta('iifname', 'eth*'), ACCEPT]]), []],
  [
    'our network is let in',
    ruleset('drop', [
      [match({ payload: { protocol: 'ip', field: 'saddr' } }, { prefix: { addr: '192.168.0.0', len: 16 } }), ACCEPT],
    ]),
    [],
  ],
  ['a chain of IPv4 drops', ruleset('drop', [], { family: 'ip' }), ['tcp', 'udp']],
  ['a chain of IPv6 drops', ruleset('drop', [], { family: 'ip6' }), ['six']],
  [
    'a chain that is jumped to lets in',
    ruleset('drop', [[{ jump: { target: 'ours' } }]], { others: { ours: [[dport('tcp', 47_800), ACCEPT]] } }),
    ['udp'],
  ],
  [
    'a chain that is jumped to returns',
    ruleset('accept', [[{ jump: { target: 'ours' } }], [DROP]], { others: { ours: [[{ return: null }], [ACCEPT]] } }),
    ['tcp', 'udp', 'six'],
  ],
  [
    'a chain that is gone to does not come back',
    ruleset('accept', [[{ goto: { target: 'ours' } }], [DROP]], { others: { ours: [] } }),
    [],
  ],
  [
    'a map of verdicts decides',
    ruleset('accept', [
      [
        {
          vmap: {
            key: { meta: { key: 'l4proto' } },
            data: {
              set: [
                ['tcp', DROP],
                ['icmp', ACCEPT],
              ],
            },
          },
        },
      ],
    ]),
    ['tcp', 'six'],
  ],
  ['a rule that is not understood may let in', ruleset('drop', [[STRANGE, ACCEPT]]), []],
  ['a rule that is not understood may drop', ruleset('accept', [[STRANGE, DROP]]), []],
  ['a rule of another kind may let in', ruleset('drop', [[{ xt: { type: 'match', name: 'addrtype' } }, ACCEPT]]), []],
  [
    'a rule is not understood and ours is for certain',
    ruleset('accept', [[STRANGE, { counter: {} }], [DROP]]),
    ['tcp', 'udp', 'six'],
  ],
]

describe('what nftables drops', () => {
  for (const [when, listing, dropped] of CASES)
    test(`when ${when}`, () => {
      const found = { tcp: isDropped(listing, TCP), udp: isDropped(listing, UDP), six: isDropped(listing, SIX) }
      expect(Object.entries(found).flatMap(([name, is]) => (is ? [name] : []))).toEqual(dropped)
    })

  test('says where', () => {
    expect(droppedPackets(ruleset('drop', []), [TCP])).toEqual([
      { ...TCP, family: 'inet', table: 'filter', chain: 'input' },
    ])
  })

  test('chains that lead to each other, and more rules than are looked at, come to an end without a verdict', () => {
    const circle = { others: { a: [[{ jump: { target: 'a' } }], [{ jump: { target: 'a' } }]] } }
    expect(droppedPackets(ruleset('drop', [[{ jump: { target: 'a' } }]], circle), [TCP])).toEqual([])
    const many = Array.from({ length: 20_001 }, () => [dport('tcp', 22), ACCEPT])
    expect(droppedPackets(ruleset('drop', many), [TCP])).toEqual([])
  })

  test('anything else is no rule', () => {
    fc.assert(
      fc.property(fc.jsonValue(), (junk) => {
        droppedPackets(junk, [TCP])
        droppedPackets({ nftables: [junk, { rule: junk }, { chain: junk }, { set: junk }] }, [TCP])
        droppedPackets(
          ruleset(
            'drop',
            [[junk as Expression], [match(junk as Expression, junk), ACCEPT]].map((rule) => rule),
          ),
          [UDP],
        )
      }),
    )
  })
})
