import { array, assert, constantFrom, integer, property, record, tuple, uint8Array } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../../daemon/errors.ts'
import {
  decodeAddress,
  decodeError,
  decodeUnknownAttributes,
  decodeXorAddress,
  encodeAddress,
  encodeError,
  encodeUnknownAttributes,
  encodeXorAddress,
  longTermKey,
  unknownAttributes,
  userhash,
} from '../../../daemon/nat/stun/attributes.ts'
import { HEADER, StunMessage, StunWriter } from '../../../daemon/nat/stun/message.ts'
import { ATTRIBUTE, METHOD } from '../../../daemon/nat/stun/registry.ts'

const hex = (text: string): Buffer => Buffer.from(text.replaceAll(/\s/g, ''), 'hex')

/** RFC 5769 section 2: the password, and the three messages that it protects. */
const PASSWORD = Buffer.from('VOkJxbRl1RmTxUk/WvJxBt')
const REQUEST = hex(`000100582112a442b7e7a701bc34d686fa87dfae 802200105354554e207465737420636c69656e74 002400046e0001ff
  80290008932ff9b151263b36 000600096576746a3a68367659202020 000800149aeaa70cbfd8cb56781ef2b5b2d3f249c1b571a2 80280004e57a3bcf`)
const RESPONSE_4 =
  hex(`0101003c2112a442b7e7a701bc34d686fa87dfae 8022000b7465737420766563746f7220 002000080001a147e112a643
  000800142b91f599fd9e90c38c7489f92af9ba53f06be7d7 80280004c07d4c96`)
const RESPONSE_6 = hex(`010100482112a442b7e7a701bc34d686fa87dfae 8022000b7465737420766563746f7220
  002000140002a1470113a9faa5d3f179bc25f4b5bed2b9d9 00080014a382954e4be67bf11784c97c8292c275bfe3ed41 80280004c8fb0b4c`)
/** RFC 5769 section 2.4, and RFC 8489 appendix B.1 with erratum 6268: long-term credentials. */
const USERNAME = 'マトリックス'
const LONG_TERM = hex(`000100602112a44278ad3433c6ad72c029da412e 00060012e3839ee38388e383aae38383e382afe382b90000
  0015001c662f2f3439396b39353464364f4c33346f4c39465354767936347341 0014000b6578616d706c652e6f726700
  00080014f67024656dd64a3e02b8e0712e85c9a28ca89666`)
const SHA256 = hex(`000100902112a44278ad3433c6ad72c029da412e
  001e00204a3cf38fef6992bda952c6780417da0f24819415569e60b205c46e41407f1704
  001500296f624d61744a6f7332414141 43662f2f3439396b39353464364f4c33346f4c39465354767936347341000000
  0014000b6578616d706c652e6f726700 001d000400020000
  001c0020b5c7bf005b6c52a21c51c5e892f81924136296cb927c43149309278cc6518e65`)

describe('the vectors of RFC 5769 and RFC 8489', () => {
  test('a request with a fingerprint', () => {
    const message = StunMessage.decode(REQUEST)
    expect(message).toMatchObject({ class: 'request', method: METHOD.binding, integrity: 'sha1' })
    expect(message.isAuthentic(PASSWORD, 'sha1')).toBe(true)
    expect(message.isAuthentic(Buffer.from('another'), 'sha1')).toBe(false)
    expect(message.isAuthentic(PASSWORD, 'sha256')).toBe(false)
    expect(message.get(ATTRIBUTE.username)?.toString()).toBe('evtj:h6vY')
    expect(message.get(ATTRIBUTE.priority)?.toString('hex')).toBe('6e0001ff')
  })

  test.each([
    ['IPv4', RESPONSE_4, '192.0.2.1'],
    ['IPv6', RESPONSE_6, '2001:db8:1234:5678:11:2233:4455:6677'],
  ])('a response with an %s address', (_, packet, address) => {
    const message = StunMessage.decode(packet)
    expect(message).toMatchObject({ class: 'success', method: METHOD.binding })
    expect(message.isAuthentic(PASSWORD, 'sha1')).toBe(true)
    const value = message.get(ATTRIBUTE.xorMappedAddress)
    expect(value && decodeXorAddress(value, message.transaction)).toEqual({ address, port: 32853 })
    expect(value && encodeXorAddress({ address, port: 32853 }, message.transaction)).toEqual(value)
  })

  test('a request with long-term credentials', () => {
    const message = StunMessage.decode(LONG_TERM)
    expect(message.get(ATTRIBUTE.username)?.toString()).toBe(USERNAME)
    expect(message.isAuthentic(longTermKey('md5', USERNAME, 'example.org', 'TheMatrIX'), 'sha1')).toBe(true)
  })

  test('a request with USERHASH and SHA-256, read and written', () => {
    const message = StunMessage.decode(SHA256)
    const key = longTermKey('sha256', USERNAME, 'example.org', 'TheMatrIX')
    expect(message.integrity).toBe('sha256')
    expect(message.isAuthentic(key, 'sha256')).toBe(true)
    expect(message.isAuthentic(longTermKey('md5', USERNAME, 'example.org', 'TheMatrIX'), 'sha256')).toBe(false)
    const written = new StunWriter('request', METHOD.binding, message.transaction)
      .add(ATTRIBUTE.userhash, userhash(USERNAME, 'example.org'))
      .add(ATTRIBUTE.nonce, 'obMatJos2AAACf//499k954d6OL34oL9FSTvy64sA')
      .add(ATTRIBUTE.realm, 'example.org')
      .add(ATTRIBUTE.passwordAlgorithm, Buffer.from([0, 2, 0, 0]))
      .finish({ integrity: { sha256: key }, fingerprint: false })
    expect(written).toEqual(SHA256)
  })
})

describe('a message', () => {
  const kinds = constantFrom('request' as const, 'indication' as const, 'success' as const, 'error' as const)
  const attribute = tuple(
    constantFrom(ATTRIBUTE.username, ATTRIBUTE.software, ATTRIBUTE.data, 0x7abc, 0xffff),
    uint8Array({ maxLength: 40 }),
  )

  test('is read as it was written, protected either way or both', () => {
    assert(
      property(
        record({
          kind: kinds,
          method: integer({ min: 0, max: 0xff }),
          transaction: uint8Array({ minLength: 12, maxLength: 12 }),
          attributes: array(attribute, { maxLength: 10 }),
          key: uint8Array({ minLength: 1, maxLength: 40 }),
          protection: constantFrom(['sha1'] as const, ['sha256'] as const, ['sha1', 'sha256'] as const, [] as const),
        }),
        ({ kind, method, transaction, attributes, key, protection }) => {
          const writer = new StunWriter(kind, method, transaction)
          for (const [type, value] of attributes) writer.add(type, value)
          const integrity = Object.fromEntries(protection.map((algorithm) => [algorithm, key]))
          const message = StunMessage.decode(writer.finish({ integrity }))
          expect(message.class).toBe(kind)
          expect(message.method).toBe(method)
          expect(message.transaction).toEqual(Buffer.from(transaction))
          const read = message.attributes.slice(0, attributes.length).map(({ type, value }) => [type, [...value]])
          expect(read).toEqual(attributes.map(([type, value]) => [type, [...value]]))
          for (const algorithm of ['sha1', 'sha256'] as const)
            expect(message.isAuthentic(key, algorithm)).toBe(protection.includes(algorithm as never))
          expect(message.isAuthentic(Buffer.from([...key, 1]), 'sha256')).toBe(false)
        },
      ),
    )
  })

  test('is refused with one error where it is anything else, and no change of what is protected goes unnoticed', () => {
    const refused = (packet: Buffer): StunMessage | undefined => {
      try {
        return StunMessage.decode(packet)
      } catch (error) {
        expect((error as PartylineError).code).toBe('peer.malformed')
        return undefined
      }
    }
    assert(property(uint8Array({ maxLength: 600 }), (bytes) => void refused(Buffer.from(bytes))))
    const withHeader = uint8Array({ maxLength: 200 })
    assert(
      property(withHeader, (body) => {
        const packet = Buffer.concat([REQUEST.subarray(0, HEADER), body])
        packet.writeUInt16BE(body.length, 2)
        refused(packet)
      }),
    )
    assert(
      property(integer({ min: 0, max: (REQUEST.length - 8) * 8 - 1 }), (bit) => {
        const packet = Buffer.from(REQUEST)
        packet[bit >> 3] = (packet[bit >> 3] as number) ^ (1 << (bit & 7))
        expect(refused(packet)?.isAuthentic(PASSWORD, 'sha1') ?? false).toBe(false)
      }),
    )
  })

  test('counts nothing that follows its protection, but what protects it too', () => {
    const transaction = Buffer.alloc(12, 7)
    const key = Buffer.from('key')
    const begun = (length: number) => {
      const writer = new StunWriter('request', METHOD.binding, transaction).add(ATTRIBUTE.username, 'before')
      const packet = writer.finish({ integrity: { sha1: key }, fingerprint: false })
      packet.writeUInt16BE(packet.length - HEADER + length, 2)
      return packet
    }
    const late = new StunWriter('request', METHOD.binding, transaction).add(ATTRIBUTE.useCandidate)
    const attribute = late.finish({ fingerprint: false }).subarray(HEADER)
    const message = StunMessage.decode(Buffer.concat([begun(attribute.length), attribute]))
    expect(message.isAuthentic(key, 'sha1')).toBe(true)
    expect(message.has(ATTRIBUTE.useCandidate)).toBe(false)
  })

  test('may have no more attributes than any message has', () => {
    const writer = new StunWriter('request', METHOD.binding, Buffer.alloc(12))
    for (let i = 0; i < 64; i++) writer.add(ATTRIBUTE.software, '')
    expect(StunMessage.decode(writer.finish({ fingerprint: false })).attributes).toHaveLength(64)
    expect(() => StunMessage.decode(writer.finish())).toThrow(PartylineError)
  })

  test('tells what has to be understood and is not', () => {
    const writer = new StunWriter('request', METHOD.binding, Buffer.alloc(12))
      .add(0x7abc)
      .add(0xfabc)
      .add(0x7abd)
      .add(0x7abc)
    const message = StunMessage.decode(writer.finish())
    expect(unknownAttributes(message)).toEqual([0x7abc, 0x7abd])
    expect(decodeUnknownAttributes(encodeUnknownAttributes([0x7abc, 1]))).toEqual([0x7abc, 1])
  })
})

describe('values of attributes', () => {
  const addresses = constantFrom('0.0.0.0', '255.255.255.255', '192.0.2.7', '::', '::1', 'fe80::1', '2001:db8::ff:0:1')

  test('addresses and errors are read as they were written', () => {
    assert(
      property(
        addresses,
        integer({ min: 0, max: 65535 }),
        uint8Array({ minLength: 12, maxLength: 12 }),
        (address, port, id) => {
          expect(decodeAddress(encodeAddress({ address, port }))).toEqual({ address, port })
          expect(decodeXorAddress(encodeXorAddress({ address, port }, id), id)).toEqual({ address, port })
        },
      ),
    )
    for (const code of [300, 401, 438, 487, 699])
      expect(decodeError(encodeError({ code, reason: 'why ü' }))).toEqual({ code, reason: 'why ü' })
  })

  test('what is none is refused', () => {
    assert(
      property(uint8Array({ maxLength: 30 }), (bytes) => {
        for (const decode of [decodeAddress, decodeError])
          try {
            decode(Buffer.from(bytes))
          } catch (error) {
            expect((error as PartylineError).code).toBe('peer.malformed')
          }
      }),
    )
  })
})
