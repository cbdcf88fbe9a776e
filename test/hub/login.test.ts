import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { parseAddress } from '../../daemon/hub/address.ts'
import { hubDomain } from '../../daemon/hub/hub-certificate.ts'
import { checkPinForm, isPin, parseNickname, randomPin } from '../../daemon/hub/login.ts'
import { LogInAttempts } from '../../daemon/hub/login-attempts.ts'
import type { PeerId } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'

describe('nicknames', () => {
  it.each([
    ['Anna', 'anna', 'Anna'],
    ['Zoë', 'zoë', 'Zoë'],
    ['Zoe\u0308', 'zoë', 'Zoë'],
    ['ＡＮＮＡ', 'anna', 'ＡＮＮＡ'],
    ['дима_2', 'дима_2', 'дима_2'],
    ['名前', '名前', '名前'],
    ['Anna\\20Maria', 'anna\\20maria', 'Anna\\20Maria'],
  ])('%s has the address %s and is shown as %s', (text, local, name) => {
    expect(parseNickname(text)).toEqual({ local, name })
  })

  it.each([
    '',
    ' ',
    'a b',
    'a@b',
    'a/b',
    'a:b',
    '<b>',
    'a"b',
    "a'b",
    'a&b',
    'a\u0000',
    'a\u202eb',
    '\u0308a',
    '😀',
    'x'.repeat(33),
    'an\u034fna',
    'anna\u{e0101}',
    'anna\u3164',
    'anna\ufe0f',
    'a\\b',
    'anna\\2',
    '\\\\5c',
  ])('%j is none', (text) => {
    expect(parseNickname(text)).toBeUndefined()
  })

  it('are stable: the address of a nickname is a nickname of that address, and parses as one', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary', maxLength: 20 }), (text) => {
        const nickname = parseNickname(text)
        if (!nickname) return
        expect(parseNickname(nickname.local)?.local).toBe(nickname.local)
        expect(parseAddress(`${nickname.local}@hub.local/r`)).toEqual({
          local: nickname.local,
          domain: 'hub.local',
          resource: 'r',
        })
      }),
      { numRuns: 200 },
    )
  })
})

describe('the PIN', () => {
  it('has six digits, zeros in front included', () => {
    expect(randomPin(() => 42)).toBe('000042')
    expect(randomPin((max) => max - 1)).toBe('999999')
  })

  it('is itself and nothing else', () => {
    expect(isPin('123456', '123456')).toBe(true)
    for (const other of ['', '12345', '1234567', '123457', '１２３４５６']) expect(isPin(other, '123456')).toBe(false)
  })

  it('may be chosen, of 6 to 12 digits', () => {
    expect(checkPinForm('0123456789')).toBe('0123456789')
    for (const pin of ['12345', '1234567890123', 'abcdef', '１２３４５６'])
      expect(() => checkPinForm(pin)).toThrow(expect.objectContaining({ code: 'usage.invalid-argument' }))
  })
})

describe('failed log-ins', () => {
  it('are five a minute from one address, and leave others alone', () => {
    const clock = new VirtualClock()
    const attempts = new LogInAttempts(clock)
    for (let i = 0; i < 5; i++) {
      expect(attempts.allows('192.0.2.1', true)).toBe(true)
      attempts.failed('192.0.2.1', true)
    }
    expect(attempts.allows('192.0.2.1', true)).toBe(false)
    expect(attempts.allows('192.0.2.2', true)).toBe(true)
    clock.advance(60_000)
    expect(attempts.allows('192.0.2.1', true)).toBe(true)
  })

  it('with a PIN are sixty a minute in all, which does not concern hosts', () => {
    const clock = new VirtualClock()
    const attempts = new LogInAttempts(clock)
    for (let i = 0; i < 60; i++) attempts.failed(`192.0.2.${i}`, true)
    expect(attempts.allows('192.0.2.200', true)).toBe(false)
    expect(attempts.allows('192.0.2.200', false)).toBe(true)
    clock.advance(60_000)
    expect(attempts.allows('192.0.2.200', true)).toBe(true)
  })

  it('of a thousand addresses are remembered', () => {
    const attempts = new LogInAttempts(new VirtualClock())
    const failFiveTimes = (address: string): void => {
      for (let i = 0; i < 5; i++) attempts.failed(address, false)
    }
    failFiveTimes('first')
    for (let i = 0; i < 1024; i++) failFiveTimes(`next ${i}`)
    expect(attempts.allows('first', false)).toBe(true)
    expect(attempts.allows('next 0', false)).toBe(false)
  })
})

it.each([
  ['lanparty', 'hub-lanparty.local'],
  ["Anna's Café №1", 'hub-anna-s-cafe-no1.local'],
  ['名前', 'hub-abcdefgh.local'],
  [`-${'x'.repeat(60)}`, `hub-${'x'.repeat(39)}.local`],
])('the hub %s has the domain %s', (name, domain) => {
  expect(hubDomain(name, 'abcdefghijkl' as PeerId)).toBe(domain)
})
