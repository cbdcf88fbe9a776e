import { assert, constantFrom, integer, ipV4, ipV6, property, record, uint8Array } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../../daemon/errors.ts'
import {
  ADDRESS_MISMATCH,
  decodePcp,
  encodePcpMap,
  MAX_LIFETIME,
  pcpProtocol,
  pcpReason,
  UNSUPPORTED_VERSION,
} from '../../../daemon/nat/mapping/pcp-message.ts'
import { plainAddress } from '../../../daemon/network/addresses.ts'
import { pcpAnswer } from './packets.ts'

const NONCE = Buffer.from('000102030405060708090a0b', 'hex')
const WISH = {
  nonce: NONCE,
  transport: 'tcp',
  client: '192.168.1.11',
  internalPort: 0x1234,
  external: { address: '0.0.0.0', port: 0x5678 },
  lifetime: 7200,
} as const

describe('a MAP request', () => {
  test('has the fields of RFC 6887 sections 7.1 and 11.1 where they belong', () => {
    expect(encodePcpMap(WISH).toString('hex')).toBe(
      [
        '02010000', // Version 2, request, MAP.
        '00001c20', // Two hours.
        '00000000000000000000ffffc0a8010b', // The client's address, as IPv4 in IPv6.
        '000102030405060708090a0b', // The nonce.
        '06000000', // TCP.
        '12345678', // The inner port, the wished outer one.
        '00000000000000000000ffff00000000', // Any IPv4 address.
      ].join(''),
    )
  })

  test('of an IPv6 host wishes for any IPv6 address, and shows no zone', () => {
    const packet = encodePcpMap({
      ...WISH,
      transport: 'udp',
      client: '2001:db8::11',
      external: { address: '::', port: 1 },
    })
    expect(packet.subarray(8, 24).toString('hex')).toBe('20010db8000000000000000000000011')
    expect(packet[36]).toBe(17)
    expect(packet.subarray(44).toString('hex')).toBe('0'.repeat(32))
    const scoped = encodePcpMap({ ...WISH, client: 'fe80::1%eth0' })
    expect(scoped.subarray(8, 24).toString('hex')).toBe('fe800000000000000000000000000001')
  })

  test('holds any address, and the longest lifetime', () => {
    assert(
      property(ipV4(), ipV6(), (four, six) => {
        for (const address of [four, six]) {
          const packet = encodePcpMap({
            ...WISH,
            client: address,
            external: { address, port: 0 },
            lifetime: MAX_LIFETIME,
          })
          expect(packet.readUInt32BE(4)).toBe(MAX_LIFETIME)
          expect(packet.subarray(8, 24)).toEqual(packet.subarray(44, 60))
        }
      }),
    )
  })
})

describe('an answer', () => {
  test('tells what was granted', () => {
    const answer = decodePcp(
      pcpAnswer({ nonce: NONCE, internalPort: 7, external: { address: '11.99.0.1', port: 9 }, lifetime: 60, epoch: 5 }),
    )
    expect(answer).toEqual({
      opcode: 1,
      result: 0,
      lifetime: 60,
      epoch: 5,
      mapping: { nonce: NONCE, transport: 17, internalPort: 7, external: { address: '11.99.0.1', port: 9 } },
    })
  })

  test('is read as it was written, whatever it says', () => {
    const answers = record({
      nonce: uint8Array({ minLength: 12, maxLength: 12 }),
      transport: constantFrom('udp' as const, 'tcp' as const),
      internalPort: integer({ min: 0, max: 65_535 }),
      external: record({ address: ipV6(), port: integer({ min: 0, max: 65_535 }) }),
      lifetime: integer({ min: 0, max: MAX_LIFETIME }),
      epoch: integer({ min: 0, max: MAX_LIFETIME }),
      result: integer({ min: 0, max: 255 }),
    })
    assert(
      property(answers, (fields) => {
        const { mapping, ...head } = decodePcp(pcpAnswer(fields))
        const { lifetime, epoch, result } = fields
        expect(head).toEqual({ opcode: 1, lifetime, epoch, result })
        expect(mapping).toEqual({
          nonce: Buffer.from(fields.nonce),
          transport: pcpProtocol(fields.transport),
          internalPort: fields.internalPort,
          external: { address: plainAddress(fields.external.address), port: fields.external.port },
        })
      }),
    )
  })

  test.each([
    ['NAT-PMP that knows no PCP (RFC 6886 section 3.5)', '000000010000000a'],
    ['NAT-PMP that repeats the opcode', '008100010000000a'],
    ['a draft of PCP (RFC 6887 section 9)', `0181000100000000${'0'.repeat(32)}`],
    ['a PCP to come', `0381000100000000${'0'.repeat(32)}`],
  ])('in another version, %s, says that it is another', (_name, hex) => {
    expect(decodePcp(Buffer.from(hex, 'hex'))).toMatchObject({ result: UNSUPPORTED_VERSION, mapping: undefined })
  })

  test.each([
    ['nothing', ''],
    ['a request', encodePcpMap(WISH).toString('hex')],
    ['an answer cut off', '02810000000000000000'],
    ['a length that is no multiple of four', `0281${'0'.repeat(46)}00`],
    ['another version that refuses nothing', `0381000000000000${'0'.repeat(32)}`],
    ['1104 bytes', `0281${'0'.repeat(2204)}`],
  ])('is not %s', (_name, hex) => {
    expect(() => decodePcp(Buffer.from(hex, 'hex'))).toThrow(expect.objectContaining({ code: 'peer.malformed' }))
  })

  test('of any bytes is one, or is malformed', () => {
    assert(
      property(uint8Array({ maxLength: 1200 }), integer({ min: 0, max: 3 }), (bytes, version) => {
        if (bytes.length > 1) bytes.set([version, (bytes[1] ?? 0) | 0x80])
        try {
          decodePcp(Buffer.from(bytes))
        } catch (error) {
          expect(error).toBeInstanceOf(PartylineError)
        }
      }),
    )
  })
})

test('refusals are told in words', () => {
  expect(pcpReason(ADDRESS_MISMATCH)).toContain('another NAT')
  expect(pcpReason(UNSUPPORTED_VERSION)).toContain('version')
  expect(pcpReason(200)).toBe('result 200')
})
