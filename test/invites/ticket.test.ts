import { createHash } from 'node:crypto'
import {
  type Arbitrary,
  array,
  assert,
  constantFrom,
  integer,
  ipV4,
  ipV6,
  nat,
  oneof,
  option,
  property,
  record,
  string,
  uint8Array,
} from 'fast-check'
import qrcode from 'qrcode'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { formatHubTicket } from '../../daemon/hub/ticket.ts'
import { decodeBase32, encodeBase32 } from '../../daemon/identity/base32.ts'
import { cleanName } from '../../daemon/identity/host-name.ts'
import { peerIdFromKey } from '../../daemon/identity/peer-id.ts'
import {
  type AnswerTicket,
  formatTicket,
  type InvitationTicket,
  type Meeting,
  type OfferTicket,
  parseTicket,
  type Ticket,
} from '../../daemon/invites/ticket.ts'
import { plainAddress } from '../../daemon/network/addresses.ts'
import { NO_WAYS, type Ways } from '../../daemon/peers/ways.ts'
import { newIdentity } from '../hub/hub-host.ts'

const anna = newIdentity()
const ben = newIdentity()
const carol = newIdentity()
const WALL = 1_795_000_000_000
const EXPIRES = WALL / 1000 + 3600
const ID = 'mfzwizlnn5xgk'

const MEETING: Meeting = {
  kind: 'describe',
  instance: '0123456789abcdef',
  attempt: 3,
  version: 1,
  ufrag: 'abcdefgh',
  pwd: 'abcdefghijklmnopqrstuvwx',
  candidates: [{ kind: 'srflx', address: '203.0.113.7', port: 47800, priority: 1_694_498_815, foundation: 'abcd1234' }],
  link: 7,
  calls: 1,
  network: { udp: true, mapping: 'same', relay: false },
  seen: null,
}

const invitation = (change: Partial<InvitationTicket> = {}): InvitationTicket => ({
  kind: 'invitation',
  peer: anna.peer,
  name: 'anna-laptop',
  ways: NO_WAYS,
  expires: EXPIRES,
  id: ID,
  secret: Buffer.alloc(16, 7),
  for: undefined,
  ...change,
})
const offer: OfferTicket = { ...invitation(), kind: 'offer', meeting: MEETING }
const answer: AnswerTicket = {
  kind: 'answer',
  peer: ben.peer,
  name: 'ben-pc',
  ways: NO_WAYS,
  expires: EXPIRES,
  id: ID,
  for: anna.peer,
  proof: Buffer.alloc(32, 9),
  meeting: MEETING,
}

const parse = (text: string, self = ben.peer, wall = WALL): Ticket => parseTicket(text, { self, wall })
const refusal = (text: string, self = ben.peer, wall = WALL): string => {
  try {
    parse(text, self, wall)
  } catch (error) {
    if (error instanceof PartylineError) return error.code
    throw error
  }
  return 'taken'
}
const bytesOf = (text: string): Buffer => Buffer.from(decodeBase32(text.slice('partyline:'.length)) as Uint8Array)
const textOf = (bytes: Uint8Array): string => `partyline:${encodeBase32(bytes)}`

const hostPort = record({
  address: oneof(ipV4(), ipV6()).map(plainAddress),
  port: integer({ min: 1, max: 65_535 }),
})
const hubTicket = record({
  peer: uint8Array({ minLength: 32, maxLength: 32 }).map(peerIdFromKey),
  addresses: array(hostPort, { minLength: 1, maxLength: 3 }),
  name: string({ maxLength: 20 }).map(cleanName),
}).map(formatHubTicket)
const anyWays: Arbitrary<Ways> = record({
  accounts: array(constantFrom('anna@example.org', 'jürgen@xn--mnchen-3ya.example', 'a@b'), { maxLength: 4 }),
  hubs: array(oneof(string({ minLength: 1, maxLength: 40, unit: 'grapheme' }), hubTicket), { maxLength: 4 }),
  addresses: array(hostPort, { maxLength: 8 }),
})

describe('a ticket', () => {
  test('comes out as it went in, whatever it holds', () => {
    const host = { ways: anyWays, name: string({ maxLength: 30, unit: 'binary' }).map(cleanName) }
    const secret = uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes))
    const later = nat(1_000_000).map((more) => EXPIRES + more)
    const id = uint8Array({ minLength: 8, maxLength: 8 }).map(encodeBase32)
    const fields = { ...host, secret, expires: later, id, for: option(constantFrom(ben.peer), { nil: undefined }) }
    assert(
      property(record(fields), (some) => {
        const ticket = invitation(some)
        expect(parse(formatTicket(ticket, anna))).toEqual(ticket)
      }),
    )
    expect(parse(formatTicket(offer, anna))).toEqual(offer)
    expect(parse(formatTicket(answer, ben), anna.peer)).toEqual(answer)
  })

  test('is small enough for a code that a phone reads, hub and account included', () => {
    const hub = formatHubTicket({ peer: anna.peer, addresses: [{ address: '203.0.113.9', port: 5223 }], name: 'lan' })
    const ways = {
      accounts: ['anna@example.org'],
      hubs: [hub],
      addresses: [{ address: '203.0.113.7', port: 47_800 }],
    }
    const text = formatTicket(invitation({ ways }), anna)
    expect(text.toUpperCase()).toMatch(/^PARTYLINE:[A-Z2-7]+$/)
    // 53 modules of a side, where the same in small letters takes 61.
    const versionOf = (code: string): number => qrcode.create(code, { errorCorrectionLevel: 'L' }).version
    expect([versionOf(text.toUpperCase()), versionOf(text)]).toEqual([9, 11])
    // A terminal takes 1023 characters of a line on macOS.
    expect(formatTicket(answer, ben).length).toBeLessThan(900)
  })

  test('is read in capitals, without its scheme, broken into lines, and as a link', () => {
    const text = formatTicket(invitation(), anna)
    const bare = text.slice('partyline:'.length)
    const broken = `  ${text.replace(/(.{60})/g, '$1\r\n  ')}\n`
    for (const one of [text.toUpperCase(), bare, broken, `partyline://${bare}`])
      expect(parse(one)).toEqual(invitation())
  })

  test('that was damaged is told apart from one that was forged', () => {
    const bytes = bytesOf(formatTicket(invitation(), anna))
    for (let at = 0; at < bytes.length; at++) {
      const damaged = Buffer.from(bytes)
      damaged.writeUInt8((bytes[at] ?? 0) ^ 1, at)
      expect(refusal(textOf(damaged))).toBe('usage.bad-ticket')
    }
    for (let length = 0; length < bytes.length; length++)
      expect(refusal(textOf(bytes.subarray(0, length)))).toBe('usage.bad-ticket')
    expect(refusal(formatTicket(invitation(), carol))).toBe('peer.bad-signature')
    expect(refusal(formatTicket(invitation({ peer: peerIdFromKey(Buffer.alloc(32)) }), carol))).toBe(
      'peer.bad-signature',
    )
  })

  test('too late, for another host, or of this host itself is refused with its reason', () => {
    const text = formatTicket(invitation(), anna)
    expect(refusal(text, ben.peer, EXPIRES * 1000 - 1)).toBe('taken')
    expect(refusal(text, ben.peer, EXPIRES * 1000)).toBe('policy.ticket-expired')
    expect(refusal(text, anna.peer)).toBe('usage.invalid-argument')
    const forBen = formatTicket(invitation({ for: ben.peer }), anna)
    expect([refusal(forBen), refusal(forBen, carol.peer)]).toEqual(['taken', 'policy.ticket-not-for-you'])
    expect(refusal(formatTicket(answer, ben), carol.peer)).toBe('policy.ticket-not-for-you')
  })

  test('of another kind of thing says what it is', () => {
    const hub = formatHubTicket({ peer: anna.peer, addresses: [{ address: '192.168.50.2', port: 5223 }], name: 'lan' })
    expect(() => parse(hub)).toThrow(expect.objectContaining({ hint: expect.stringContaining('partyline hub join') }))
    for (const text of ['', 'hello', 'partyline:', 'https://example.org', 'a'.repeat(100_000)])
      expect(refusal(text)).toBe('usage.bad-ticket')
  })

  test('that cannot be read is refused, whatever its bytes and whoever signed them', () => {
    const codes = [
      'usage.bad-ticket',
      'usage.invalid-argument',
      'peer.bad-signature',
      'policy.ticket-expired',
      'policy.ticket-not-for-you',
    ]
    const isRefused = (text: string): void => {
      expect(codes).toContain(refusal(text))
    }
    assert(property(string({ unit: 'binary', maxLength: 400 }), isRefused))
    assert(property(uint8Array({ maxLength: 400 }).map(textOf), isRefused))
    // Behind a valid signature and checksum.
    const head = bytesOf(formatTicket(invitation(), anna)).subarray(0, 34)
    assert(
      property(uint8Array({ maxLength: 300 }), (rest) => {
        const body = Buffer.concat([head, rest])
        const signed = Buffer.concat([body, anna.sign(Buffer.concat([Buffer.from('partyline ticket 1\0'), body]))])
        expect([...codes, 'taken']).toContain(refusal(textOf(Buffer.concat([signed, checksum(signed)]))))
      }),
    )
  })

  test('that would be too large is not made', () => {
    const hubs = Array.from({ length: 5 }, () => 'h'.repeat(1000))
    expect(() => formatTicket(invitation({ ways: { ...NO_WAYS, hubs } }), anna)).toThrow(
      expect.objectContaining({ code: 'usage.too-large' }),
    )
  })
})

const checksum = (bytes: Uint8Array): Buffer => createHash('sha256').update(bytes).digest().subarray(0, 4)
