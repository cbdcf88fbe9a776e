import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { decodeBase32, encodeBase32 } from '../../daemon/identity/base32.ts'
import { isPeerId, keyFromPeerId, peerIdFromKey } from '../../daemon/identity/peer-id.ts'
import type { PeerId } from '../../daemon/types.ts'

const key32 = fc.uint8Array({ minLength: 32, maxLength: 32 })

describe('base32', () => {
  // RFC 4648 section 10, lower case, without padding.
  test.each([
    ['', ''],
    ['f', 'my'],
    ['fo', 'mzxq'],
    ['foo', 'mzxw6'],
    ['foob', 'mzxw6yq'],
    ['fooba', 'mzxw6ytb'],
    ['foobar', 'mzxw6ytboi'],
  ])('of "%s" is "%s", and back', (plain, coded) => {
    expect(encodeBase32(Buffer.from(plain))).toBe(coded)
    expect(decodeBase32(coded)).toEqual(new Uint8Array(Buffer.from(plain)))
  })

  test('gives back any bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array(), (bytes) => {
        expect(decodeBase32(encodeBase32(bytes))).toEqual(bytes)
      }),
    )
  })

  test('has one text for each content: any text that decodes is the one that encodes', () => {
    const letters = fc.string({ unit: fc.constantFrom(...'abcdefghijklmnopqrstuvwxyz234567'), maxLength: 12 })
    fc.assert(
      fc.property(fc.oneof(letters, fc.string()), (text) => {
        const bytes = decodeBase32(text)
        if (bytes) expect(encodeBase32(bytes)).toBe(text)
      }),
      { numRuns: 2000 },
    )
  })

  test.each(['a', 'mz', 'mzx', 'mzxw6y', 'MY', 'my======', 'm1', 'm y', 'mÿ'])('refuses "%s"', (text) => {
    expect(decodeBase32(text)).toBeUndefined()
  })
})

describe('a peer id', () => {
  test('is 52 characters for 32 bytes, and gives them back', () => {
    fc.assert(
      fc.property(key32, (key) => {
        const peer = peerIdFromKey(key)
        expect(peer).toHaveLength(52)
        expect(isPeerId(peer)).toBe(true)
        expect(keyFromPeerId(peer)).toEqual(key)
      }),
    )
  })

  test('has no second spelling: the four unused bits of its last character are zero', () => {
    const peer = peerIdFromKey(new Uint8Array(32))
    expect(isPeerId(`${peer.slice(0, 51)}b`)).toBe(false)
    expect(isPeerId(`${peer.slice(0, 51)}q`)).toBe(true)
    expect(isPeerId(peer.toUpperCase())).toBe(false)
    expect(isPeerId(`${peer}a`)).toBe(false)
    expect(isPeerId('')).toBe(false)
  })

  test('is made from 32 bytes only', () => {
    expect(() => peerIdFromKey(new Uint8Array(31))).toThrow(RangeError)
    expect(() => keyFromPeerId('short' as PeerId)).toThrow(RangeError)
  })
})
