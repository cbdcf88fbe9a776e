import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { cleanChat, cleanLines, cleanPresenceText, cleanReason } from '../daemon/clean-text.ts'

const HOSTILE = ' \ud800a\u0000\u001b[2J\uffff\u2028\r\nb\tc\u202ed\u2066e \u009b31m '

describe('text of others', () => {
  test('of several lines is what XML may hold', () => {
    expect(cleanLines(HOSTILE)).toBe(' \ufffda[2J\u2028\nb\tc\u202ed\u2066e 31m ')
  })

  test('of a chat turns nothing that stands beside it', () => {
    expect(cleanChat(HOSTILE)).toBe('\ufffda[2J\u2028\nb cde 31m')
  })

  test('of a presence or a reason is one line without what a screen does not show', () => {
    expect(cleanPresenceText(HOSTILE)).toBe('a[2J b cde 31m')
    expect(cleanPresenceText('☕'.repeat(300))).toBe('☕'.repeat(255))
    expect(cleanReason(`${'🎂'.repeat(199)} x`)).toBe('🎂'.repeat(199))
  })

  test('stays the same when it is cleaned again', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 300 }), (text) => {
        for (const clean of [cleanLines, cleanChat, cleanPresenceText, cleanReason])
          expect(clean(clean(text))).toBe(clean(text))
        expect(cleanPresenceText(text)).not.toMatch(/\p{C}|\n/u)
      }),
    )
  })
})
