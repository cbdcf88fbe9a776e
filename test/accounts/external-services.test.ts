import fc from 'fast-check'
import { parse } from 'ltx'
import { describe, expect, test } from 'vitest'
import { MAX_SERVICES, readServices } from '../../daemon/accounts/external-services.ts'

const NS = 'urn:xmpp:extdisco:2'
const NOW = Date.parse('2026-11-23T18:00:00Z')
const services = (...each: readonly string[]) =>
  parse(`<services xmlns='${NS}'>${each.join('')}</services>`) ?? undefined

const STUN = `<service host='turn.example.org' type='stun' transport='udp' port='3478'/>`
const login = `username='1795486827' password='gY5+ZX=' expires='2026-11-24T18:00:00Z' restricted='1'`
const TURN = `<service host='turn.example.org' type='turn' transport='udp' port='3478' ${login}/>`
/** As mod_turn_external of Prosody 0.12 hands it out. */
const TURNS = `<service host='turn.example.org' type='turns' transport='tcp' port='5349'/>`

describe('STUN and TURN servers that an XMPP server names (XEP-0215)', () => {
  test('are read with their logins, also where only one service of a host has one', () => {
    const { stun, turn } = readServices(services(STUN, TURN, TURNS), NOW, false)
    expect(stun).toEqual([{ host: 'turn.example.org', port: 3478 }])
    expect(turn.map(({ transport, port, username }) => [transport, port, username])).toEqual([
      ['udp', 3478, '1795486827'],
      ['tls', 5349, '1795486827'],
    ])
  })

  test('are asked for anew when a quarter of their time is left, and some time anyway', () => {
    const within = (expires: string) =>
      readServices(services(TURN.replace('2026-11-24T18:00:00Z', expires)), NOW, false).renewIn
    expect(within('2026-11-23T19:00:00Z')).toBe(45 * 60_000)
    expect(within('2026-11-30T18:00:00Z')).toBe(6 * 3_600_000)
    expect(within('2026-11-23T18:00:10Z')).toBe(30_000)
    expect(readServices(undefined, NOW, false)).toEqual({ stun: [], turn: [], renewIn: 6 * 3_600_000 })
  })

  test.each([
    ['without a login', TURNS],
    ['whose time is over', TURN.replace('2026-11-24', '2026-11-22')],
    ['whose end cannot be read', TURN.replace('2026-11-24T18:00:00Z', 'soon')],
    ['at a private address', TURN.replace('turn.example.org', '192.168.1.1')],
    ['at a private IPv6 address', TURN.replace('turn.example.org', 'fd00::1')],
    ['on this machine', TURN.replace('turn.example.org', 'localhost')],
    ['on this machine, by its address', TURN.replace('turn.example.org', '127.0.0.1')],
    ['on this network, by name', TURN.replace('turn.example.org', 'printer.local')],
    ['with a host that is none', TURN.replace('turn.example.org', 'a b')],
    ['with a port that is none', TURN.replace('3478', '99999')],
    ['of another kind', TURN.replace("'turn'", "'ftp'")],
    ['over what is not known here', TURN.replace("'udp'", "'sctp'")],
  ])('are left out %s', (_, service) => {
    expect(readServices(services(service), NOW, false)).toMatchObject({ stun: [], turn: [] })
  })

  test('may be on a private network where the server itself is, but never on this machine', () => {
    const at = (host: string) => readServices(services(TURN.replace('turn.example.org', host)), NOW, true).turn
    expect(at('192.168.1.1')).toHaveLength(1)
    expect(at('127.0.0.1')).toEqual([])
    expect(at('169.254.1.1')).toEqual([])
  })

  test('are looked at up to a bound', () => {
    const many = Array.from({ length: 100 }, (_, i) => STUN.replace('turn.', `turn${i}.`))
    expect(readServices(services(...many), NOW, false).stun).toHaveLength(MAX_SERVICES)
  })

  test('are never read wrong, whatever the attributes', () => {
    const value = fc.string({ maxLength: 40 })
    const attrs = fc.record({
      type: value,
      host: value,
      port: value,
      transport: value,
      username: value,
      expires: value,
    })
    fc.assert(
      fc.property(fc.array(attrs, { maxLength: 5 }), (all) => {
        const element = services()
        for (const one of all) element?.c('service', one)
        for (const { port } of readServices(element, NOW, true).stun) expect(port).toBeGreaterThan(0)
      }),
    )
  })
})
