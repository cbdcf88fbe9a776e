import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { scopeOf } from '../../daemon/network/addresses.ts'
import { Mask } from '../../daemon/report/mask.ts'

const PEER = 'ymcgzvlun34ghkenikaz6mdirlgpi26na3faertn4w4oog5jl4ba'
const OTHER = '4yxhcbombw6af7bcptz3r3brc7fp2sbka4anbbfmhi37jaapd5ca'

describe('what is masked', () => {
  test.each([
    ['peer ids', `peer=${PEER} and ${OTHER}, ${PEER}`, 'peer=<peer-1> and <peer-2>, <peer-1>'],
    ['IPv4 addresses, by how far they reach', '192.168.1.11:47800 > 203.0.113.7:4', '<private-1>:47800 > <global-1>:4'],
    ['IPv6 addresses, however they are written', '[2001:db8::1]:5 2001:DB8:0:0::1', '[<global-1>]:5 <global-1>'],
    ['zones stay, which name interfaces', 'fe80::1%eth0', '<link-local-1>%eth0'],
    ['IPv4 in IPv6', '::ffff:10.0.0.1 10.0.0.1', '<private-1> <private-1>'],
    ['accounts', 'account=anna@example.org/pl-1', 'account=<account-1>/pl-1'],
    ['hosts', 'turn.example.org:3478', '<host-1>:3478'],
    ['logins of servers', 'turn:alice:wonder@192.0.2.1', 'turn:<login>@<global-1>'],
    ['MAC addresses', 'at 52:54:00:12:34:56', 'at <mac-1>'],
    ['tickets', `ticket partyline:${PEER}${OTHER}`, 'ticket <ticket>'],
    ['keys and hashes', 'key 8f14e45fceea167a5a36dedd4bea2543', 'key <secret>'],
  ])('%s', (_, text, masked) => expect(new Mask([]).text(text)).toBe(masked))

  test('names that are known, as words of their own', () => {
    const mask = new Mask(
      [
        { kind: 'name', text: 'anna' },
        { kind: 'name', text: "anna's desk" },
      ],
      ['/home/anna'],
    )
    expect(mask.text("Anna's desk in /home/anna/party, not hannah, says anna: (anna)")).toBe(
      '<name-2> in <home>/party, not hannah, says <name-1>: (<name-1>)',
    )
  })

  test('everything within a value, and the names of its parts', () => {
    const mask = new Mask([{ kind: 'name', text: 'den' }])
    expect(mask.value({ list: [{ 'anna@example.org': ['den', 5, null, true] }], '10.0.0.1': 'x' })).toEqual({
      list: [{ '<account-1>': ['<name-1>', 5, null, true] }],
      '<private-1>': 'x',
    })
  })
})

test.each([
  '127.0.0.1:47800 [::1]:5 0.0.0.0',
  '224.0.0.251 ff02::fb%eth0 255.255.255.255',
  '2026-11-23T20:03:16.221Z info  daemon: ready port=47800 socket=partyline.sock',
  'setting nat.stun, method peers.list, code network.no-path, file accounts.json',
  'TLS_AES_128_GCM_SHA256 X25519MLKEM768 _presence._tcp.local version 1.2.3.4.5',
])('left as it is, since it is the same for everybody: %s', (text) => expect(new Mask([]).text(text)).toBe(text))

describe('of anything at all', () => {
  const address = fc.oneof(fc.ipV4(), fc.ipV6())
  const around = fc.constantFrom(' ', ', ', '(', ')', '"', '=', '\n', ' to ')
  const isTold = (one: string) =>
    scopeOf(one) !== 'loopback' && !/^(?:22[4-9]|23\d)\.|^255\.255\.255\.255$|^ff0/i.test(one)

  test('no address is left, in whatever company', () => {
    fc.assert(
      fc.property(fc.array(fc.tuple(around, address), { maxLength: 6 }), around, (parts, end) => {
        const addresses = parts.map(([, one]) => one).filter(isTold)
        const masked = new Mask([]).text(`${parts.flat().join('')}${end}`)
        return addresses.every((one) => !new RegExp(`(?<![0-9a-f:.])${one}(?![0-9a-f:.])`, 'i').test(masked))
      }),
    )
  })

  test('no known name is left', () => {
    fc.assert(
      fc.property(fc.stringMatching(/^[a-z][a-z '-]{1,20}[a-z]$/), around, around, (name, before, after) => {
        const masked = new Mask([{ kind: 'name', text: name }]).text(`x${before}${name}${after}y`)
        return masked === `x${before}<name-1>${after}y`
      }),
    )
  })

  test('it ends, and masking twice changes nothing more', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 300 }), (text) => {
        const once = new Mask([]).text(text)
        return new Mask([]).text(once) === once
      }),
    )
    expect(
      new Mask([]).text(`${'1.'.repeat(20_000)} ${':'.repeat(20_000)} ${'a@'.repeat(20_000)}`).length,
    ).toBeGreaterThan(0)
  })
})
