import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cleanName, defaultName } from '../../daemon/identity/host-name.ts'
import { peerIdFromKey } from '../../daemon/identity/peer-id.ts'
import { WORDS } from '../../daemon/identity/wordlist.ts'
import { fingerprintWords, verificationWords } from '../../daemon/identity/words.ts'

const peerId = fc.uint8Array({ minLength: 32, maxLength: 32 }).map(peerIdFromKey)

describe('a clean name', () => {
  test.each([
    ['anna', 'anna'],
    ['  Annas   Rechner \n', 'Annas Rechner'],
    ['two\nlines\tand\r\nmore', 'two lines and more'],
    ['\u001b[31mred\u0007', '[31mred'],
    ['\u202egnp.exe', 'gnp.exe'],
    ['zero\u200bwidth\u2060joined\ufeff', 'zerowidthjoined'],
    ['a \u200b b', 'a b'],
    ['blank\u3164\u115f\u2800', 'blank'],
    ['\ud800lone', 'lone'],
    ['A\u0308pfel', 'Äpfel'],
    ['\u200b\u202e\n', ''],
  ])('of %j is %j', (text, clean) => {
    expect(cleanName(text)).toBe(clean)
  })

  test('is cut between characters at 63 bytes', () => {
    expect(cleanName('é'.repeat(40))).toBe('é'.repeat(31))
    expect(cleanName('🎲'.repeat(20))).toBe('🎲'.repeat(15))
  })

  test('fits, is shown on one line, and stays the same when cleaned again, whatever the text', () => {
    const text = fc.string({ unit: 'binary', maxLength: 200 })
    fc.assert(
      fc.property(text, (dirty) => {
        const clean = cleanName(dirty)
        expect(Buffer.byteLength(clean)).toBeLessThanOrEqual(63)
        expect(clean).not.toMatch(/\p{C}|\p{Zl}|\p{Zp}|^ | $| {2}/u)
        expect(cleanName(clean)).toBe(clean)
      }),
      { numRuns: 1000 },
    )
  })
})

describe('the default name', () => {
  const peer = peerIdFromKey(new Uint8Array(32))

  test.each([
    ['anna-laptop', 'anna-laptop'],
    ['anna-laptop.local', 'anna-laptop'],
    ['anna.lan.example.org', 'anna'],
    ['localhost', 'host-aaaa'],
    ['localhost.localdomain', 'host-aaaa'],
    ['', 'host-aaaa'],
    ['.local', 'host-aaaa'],
  ])('of the machine "%s" is "%s"', (machine, name) => {
    expect(defaultName(machine, peer)).toBe(name)
  })
})

describe('words to compare', () => {
  test('come from 256 plain words that differ in their first four letters', () => {
    expect(WORDS).toHaveLength(256)
    expect(new Set(WORDS.map((word) => word.slice(0, 4))).size).toBe(256)
    for (const word of WORDS) expect(word).toMatch(/^[a-z]{4,8}$/)
  })

  test('are eight for a host, and stay what they are from version to version', () => {
    expect(fingerprintWords(peerIdFromKey(new Uint8Array(32)))).toMatchInlineSnapshot(`
      [
        "cinema",
        "pelican",
        "igloo",
        "carpet",
        "iceberg",
        "nugget",
        "hockey",
        "castle",
      ]
    `)
    expect(
      verificationWords(peerIdFromKey(new Uint8Array(32)), peerIdFromKey(new Uint8Array(32).fill(1))),
    ).toMatchInlineSnapshot(`
      [
        "magnet",
        "frost",
        "island",
        "mustard",
        "pelican",
        "bridge",
        "heron",
        "harbor",
      ]
    `)
  })

  test('are the same on both screens, and not the fingerprint of either', () => {
    fc.assert(
      fc.property(peerId, peerId, (a, b) => {
        const words = verificationWords(a, b)
        expect(words).toHaveLength(8)
        expect(words).toEqual(verificationWords(b, a))
        expect(words).not.toEqual(fingerprintWords(a))
      }),
    )
  })

  test('differ between hosts', () => {
    fc.assert(
      fc.property(peerId, peerId, peerId, (a, b, c) => {
        fc.pre(a !== b && b !== c && a !== c)
        expect(fingerprintWords(a)).not.toEqual(fingerprintWords(b))
        expect(verificationWords(a, b)).not.toEqual(verificationWords(a, c))
      }),
    )
  })
})
