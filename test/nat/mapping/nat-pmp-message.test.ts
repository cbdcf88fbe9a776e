import { assert, constantFrom, integer, ipV4, property, record, uint8Array } from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeNatPmp,
  encodeAddressRequest,
  encodeMappingRequest,
  natPmpReason,
} from '../../../daemon/nat/mapping/nat-pmp-message.ts'
import { natPmpAddress, natPmpMapping } from './packets.ts'

const MAX = 0xffff_ffff
const port = integer({ min: 0, max: 65_535 })
const seconds = integer({ min: 0, max: MAX })

describe('a request', () => {
  test('for the address is two bytes (RFC 6886 section 3.2)', () => {
    expect(encodeAddressRequest().toString('hex')).toBe('0000')
  })

  test('for a mapping has the fields of section 3.3 where they belong', () => {
    expect(encodeMappingRequest('udp', 0x1234, 0x5678, 7200).toString('hex')).toBe('000100001234567800001c20')
    expect(encodeMappingRequest('tcp', 1, 0, MAX).toString('hex')).toBe('0002000000010000ffffffff')
  })
})

describe('an answer', () => {
  test('tells the address, as any of section 3.2', () => {
    assert(
      property(ipV4(), seconds, (address, epoch) => {
        expect(decodeNatPmp(natPmpAddress(address, epoch))).toEqual({ opcode: 0, result: 0, epoch, address })
      }),
    )
  })

  test('tells what was granted, as any of section 3.3', () => {
    const mappings = record({ internalPort: port, externalPort: port, lifetime: seconds })
    assert(
      property(constantFrom('udp' as const, 'tcp' as const), mappings, seconds, (transport, mapping, epoch) => {
        const answer = decodeNatPmp(natPmpMapping({ transport, ...mapping, epoch }))
        expect(answer).toEqual({ opcode: transport === 'udp' ? 1 : 2, result: 0, epoch, mapping })
      }),
    )
  })

  test('that refuses need not be whole (section 3.5)', () => {
    expect(decodeNatPmp(Buffer.from('0081000200000007', 'hex'))).toEqual({ opcode: 1, result: 2, epoch: 7 })
  })

  test.each([
    ['nothing', ''],
    ['a request', '000000000000000000000000'],
    ['one of PCP', '028100000000000000000000'],
    ['an address cut off', '00800000000000010b6300'],
    ['a mapping cut off', '008100000000000112341234000000'],
    ['a mapping of neither UDP nor TCP', '00830000000000011234123400000010'],
    ['longer than any', `0081${'0'.repeat(32)}`],
  ])('is not %s', (_name, hex) => {
    expect(decodeNatPmp(Buffer.from(hex, 'hex'))).toBeUndefined()
  })

  test('is read from any bytes, or is none', () => {
    assert(
      property(uint8Array({ maxLength: 20 }), (bytes) => {
        if (bytes.length > 1) bytes.set([0, 0x80 | (bytes[1] ?? 0)])
        expect(() => decodeNatPmp(Buffer.from(bytes))).not.toThrow()
      }),
    )
  })
})

test('refusals are told in words', () => {
  expect(natPmpReason(2)).toContain('allow')
  expect(natPmpReason(99)).toBe('result 99')
})
