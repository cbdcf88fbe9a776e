import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { ScramMechanism } from '../../daemon/xmpp/scram.ts'

const USER = { username: 'user', password: 'pencil' }

describe('SCRAM', () => {
  test('SHA-1 is that of RFC 5802 section 5', async () => {
    const scram = new ScramMechanism('SCRAM-SHA-1', 'fyko+d2lbbFgONRv9qkxdawL')
    expect(await scram.response(USER)).toBe('n,,n=user,r=fyko+d2lbbFgONRv9qkxdawL')
    scram.challenge('r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,s=QSXCR+Q6sek8bf92,i=4096')
    expect(await scram.response(USER)).toBe(
      'c=biws,r=fyko+d2lbbFgONRv9qkxdawL3rfcNHYJY1ZVvWVs7j,p=v0X8v3Bz2T0CJGbJQyF0X+HI4Ts=',
    )
    expect(scram.isProof('v=rmF9pqV8S7suAoZWja4dJRkFsKQ=')).toBe(true)
    expect(scram.isProof('v=rmF9pqV8S7suAoZWja4dJRkFsAQ=')).toBe(false)
  })

  test('SHA-256 is that of RFC 7677 section 3', async () => {
    const scram = new ScramMechanism('SCRAM-SHA-256', 'rOprNGfwEbeRWgbNEkqO')
    expect(await scram.response(USER)).toBe('n,,n=user,r=rOprNGfwEbeRWgbNEkqO')
    scram.challenge('r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,s=W22ZaJ0SNY7soEsUEjb6gQ==,i=4096')
    expect(await scram.response(USER)).toBe(
      'c=biws,r=rOprNGfwEbeRWgbNEkqO%hvYDpWUa2RaTCAfuxFIlj)hNlF$k0,p=dHzbZapWIk4jUhN+Ute9ytag9zjfMHgsqmmiz7AndVQ=',
    )
    expect(scram.isProof('v=6rriTRBi23WpRR/wtup+mMhUZUn/dB5nLTJRsjl95G4=')).toBe(true)
    expect(scram.isProof('e=other-error')).toBe(false)
  })

  test('escapes what separates its parts', async () => {
    const scram = new ScramMechanism('SCRAM-SHA-256', 'nonce')
    expect(await scram.response({ username: 'a,b=c', password: 'x' })).toBe('n,,n=a=2Cb=3Dc,r=nonce')
  })

  test.each([
    ["somebody else's nonce", 'r=other,s=QSXCR+Q6sek8bf92,i=4096'],
    ['a nonce without anything of its own', 'r=nonce,s=QSXCR+Q6sek8bf92,i=4096'],
    ['fewer rounds than are safe', 'r=nonce1,s=QSXCR+Q6sek8bf92,i=1'],
    ['more rounds than there is time for', 'r=nonce1,s=QSXCR+Q6sek8bf92,i=2000000000'],
    ['nothing of the kind', 'hello'],
  ])('is refused with %s', async (_, challenge) => {
    const scram = new ScramMechanism('SCRAM-SHA-256', 'nonce')
    await scram.response(USER)
    const answer = async () => {
      scram.challenge(challenge)
      return await scram.response(USER)
    }
    await expect(answer()).rejects.toMatchObject({ code: 'peer.malformed' })
  })

  test('reads no challenge that is none, whatever the text', () => {
    fc.assert(
      fc.property(fc.string({ maxLength: 200 }), (text) => {
        expect(() => new ScramMechanism('SCRAM-SHA-256', 'nonce').challenge(text)).toThrow(PartylineError)
      }),
    )
  })
})
