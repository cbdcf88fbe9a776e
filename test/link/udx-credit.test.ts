import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ASK_MESSAGE, parseCredit, readMessage, UdxCredit, WINDOW } from '../../daemon/link/udx-credit.ts'

describe('the credit of a writer', () => {
  test('is one window, and grows by what the reader tells that it read', () => {
    const credit = new UdxCredit()
    expect(credit.room).toBe(WINDOW)
    credit.wrote(WINDOW)
    expect(credit.room).toBe(0)
    expect(credit.readThere(1000)).toBe(true)
    expect(credit.room).toBe(1000)
  })

  test('does not shrink by what comes late, nor grow by what cannot be', () => {
    const credit = new UdxCredit()
    credit.wrote(5000)
    credit.readThere(4000)
    credit.readThere(3000)
    expect(credit.readThere(5001)).toBe(false)
    expect(credit.room).toBe(WINDOW - 1000)
  })

  test('is told in steps, and when it is asked for', () => {
    const credit = new UdxCredit()
    credit.came(1000, 0)
    expect(credit.report(0)).toBeUndefined()
    expect(credit.report(200, true)).toBe(800)
    credit.came(WINDOW / 16, 1000)
    expect(credit.report(0)).toBe(1000 + WINDOW / 16)
    expect(credit.report(0)).toBeUndefined()
  })

  test('is broken by a peer that sends another window on top', () => {
    const credit = new UdxCredit()
    expect(credit.came(1200, 2 * WINDOW)).toBe(true)
    expect(credit.came(1200, 2 * WINDOW + 1)).toBe(false)
  })
})

describe('a credit message', () => {
  test('is read as it was written', () => {
    fc.assert(
      fc.property(fc.nat(2 ** 31), (total) => {
        expect(parseCredit(readMessage(total))).toEqual({ kind: 'read', total })
      }),
    )
    expect(parseCredit(readMessage(2 ** 48 - 1))).toEqual({ kind: 'read', total: 2 ** 48 - 1 })
    expect(parseCredit(ASK_MESSAGE)).toEqual({ kind: 'ask' })
  })

  test('of another form is none', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 20 }), (bytes) => {
        const credit = parseCredit(Buffer.from(bytes))
        if (bytes.length === 7 && bytes[0] === 1) expect(credit?.kind).toBe('read')
        else if (bytes.length === 1 && bytes[0] === 2) expect(credit?.kind).toBe('ask')
        else expect(credit).toBeUndefined()
      }),
    )
  })
})
