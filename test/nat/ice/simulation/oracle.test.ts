import { describe, expect, test } from 'vitest'
import { type Dependence, NAT_KINDS, type NatTraits } from './nat.ts'
import { bestPath } from './oracle.ts'
import { homesOf, PLAIN_HOME, PLAIN_HOST } from './world-spec.ts'

/** The hole punching matrix that the namespace lab measured on real NATs: kinds in this order, `+` where it works. */
const MATRIX: readonly (readonly [keyof typeof NAT_KINDS, string])[] = [
  ['eim', '+++--+'],
  ['arc', '++++++'],
  ['cone', '++++++'],
  ['adm', '-++--+'],
  ['sym', '-++--+'],
  ['sym-cone', '++++++'],
]

describe('hole punching in the simulated internet comes out as in the namespace lab', () => {
  for (const [kind, row] of MATRIX)
    test(`${kind} with each kind of NAT`, () => {
      const found = MATRIX.map(([other]) =>
        bestPath(homesOf({ nat: NAT_KINDS[kind] }, { nat: NAT_KINDS[other] }), 0, 1),
      )
      expect(found.map((one) => (one === 'punched' ? '+' : '-')).join('')).toBe(row)
    })

  test('ports that are not kept do no harm', () => {
    const nat = NAT_KINDS['eim-rnd']
    expect(bestPath(homesOf({ nat }, { nat }), 0, 1)).toBe('punched')
  })

  test('homes with the same addresses', () => {
    expect(bestPath(homesOf({ octet: 1 }, { octet: 1 }), 0, 1)).toBe('punched')
  })

  test('no UDP out of one home', () => {
    expect(bestPath(homesOf({}, { udp: false }), 0, 1)).toBeUndefined()
    expect(bestPath(homesOf({}, { udp: false }, { relay: true }, { relay: true }), 0, 1)).toBe('relay')
  })

  test('two homes behind one carrier reach each other if its NAT does hairpin', () => {
    const behind = (kind: keyof typeof NAT_KINDS) =>
      bestPath(homesOf({ carrier: 0 }, { carrier: 0 }, { carriers: [NAT_KINDS[kind]] }), 0, 1)
    expect([behind('cone'), behind('eim'), behind('sym')]).toEqual(['punched', undefined, undefined])
  })

  test('a home behind any carrier to a public host', () => {
    for (const carrier of Object.values(NAT_KINDS)) {
      const spec = homesOf({ carrier: 0 }, {}, { carriers: [carrier] })
      const hosts = [spec.hosts[0] ?? PLAIN_HOST, { ...PLAIN_HOST, places: ['internet' as const] }]
      expect(bestPath({ ...spec, hosts }, 0, 1)).toBe('punched')
    }
  })
})

const DEPENDENCES: readonly Dependence[] = ['none', 'address', 'port']
const ALL: readonly NatTraits[] = DEPENDENCES.flatMap((mapping) =>
  DEPENDENCES.flatMap((filtering) =>
    [true, false].map((keepsPort) => ({ mapping, filtering, keepsPort, hairpin: false })),
  ),
)

/** Whether the first packet of `from`, to the address that a server saw of `to`, gets in, when `to` has written to what was seen of `from`. */
function getsIn(to: NatTraits, from: NatTraits): boolean {
  if (to.filtering === 'none') return true
  return to.mapping === 'none' && (to.filtering === 'address' || from.mapping === 'none')
}

describe('what can be, in the simulated internet', () => {
  test('all pairs of NAT behaviours: as theory has it', () => {
    for (const a of ALL)
      for (const b of ALL) {
        const found = bestPath(homesOf({ nat: a }, { nat: b }), 0, 1)
        expect([a, b, found]).toEqual([a, b, getsIn(a, b) || getsIn(b, a) ? 'punched' : undefined])
      }
  })

  test('where nothing else is possible, a relay of either end is a way', () => {
    const spec = homesOf({ nat: NAT_KINDS.sym }, { nat: NAT_KINDS.sym }, { relay: true })
    for (const relaying of [0, 1]) {
      const hosts = spec.hosts.map((host, index) => ({ ...host, relay: index === relaying }))
      expect(bestPath({ ...spec, hosts }, 0, 1)).toBe('relay')
    }
    expect(bestPath(spec, 0, 1)).toBeUndefined()
  })

  test('one LAN, with and without a guest network that keeps its hosts apart', () => {
    const hosts = [0, 1].map(() => ({ ...PLAIN_HOST, places: [0], relay: true }))
    const lan = (home: object) => ({ carriers: [], homes: [{ ...PLAIN_HOME, ...home }], hosts, relay: true })
    expect(bestPath(lan({}), 0, 1)).toBe('host')
    expect(bestPath(lan({ isolated: true }), 0, 1)).toBe('relay')
    expect(bestPath(lan({ isolated: true, nat: NAT_KINDS.cone }), 0, 1)).toBe('punched')
  })

  test('IPv6 through two firewalls is straight', () => {
    const sym = { nat: NAT_KINDS.sym, ip6: 'firewall' as const }
    expect(bestPath(homesOf(sym, sym, {}, { families: [4, 6] }), 0, 1)).toBe('host')
    expect(bestPath(homesOf(sym, { ...sym, ip6: 'none' }, {}, { families: [4, 6] }), 0, 1)).toBeUndefined()
    expect(bestPath(homesOf({ ...sym, carrier: 0 }, sym, { carriers: [NAT_KINDS.sym] }, { families: [6] }), 0, 1)).toBe(
      'host',
    )
  })

  test('a port that one router forwards is a way in', () => {
    const sym = { nat: NAT_KINDS.sym }
    expect(bestPath(homesOf(sym, { ...sym, forwards: true }), 0, 1)).toBe('punched')
  })
})
