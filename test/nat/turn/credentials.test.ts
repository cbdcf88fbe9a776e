import { describe, expect, test } from 'vitest'
import { encodeError, longTermKey, userhash } from '../../../daemon/nat/stun/attributes.ts'
import { StunMessage, StunWriter } from '../../../daemon/nat/stun/message.ts'
import { ATTRIBUTE, METHOD } from '../../../daemon/nat/stun/registry.ts'
import { LongTermCredentials } from '../../../daemon/nat/turn/credentials.ts'

const TRANSACTION = Buffer.alloc(12, 7)
/** Features of the nonce cookie: password algorithms, and names hashed. */
const BOTH = 'obMatJos2wAAA'
const ALGORITHMS = 'obMatJos2gAAA'

function challenge({
  realm = 'lab.test',
  nonce = 'n1',
  algorithms = '',
}: {
  realm?: string
  nonce?: string
  algorithms?: string
}) {
  const writer = new StunWriter('error', METHOD.allocate, TRANSACTION)
  writer
    .add(ATTRIBUTE.errorCode, encodeError({ code: 401, reason: '' }))
    .add(ATTRIBUTE.realm, realm)
    .add(ATTRIBUTE.nonce, nonce)
  if (algorithms) writer.add(ATTRIBUTE.passwordAlgorithms, Buffer.from(algorithms, 'hex'))
  return StunMessage.decode(writer.finish())
}

function signed(credentials: LongTermCredentials): StunMessage {
  return StunMessage.decode(credentials.sign(new StunWriter('request', METHOD.refresh, TRANSACTION)))
}

describe('long-term credentials', () => {
  test('go unprotected until the server asks, then as RFC 5389 has them', () => {
    const credentials = new LongTermCredentials('alice', 'wonder')
    expect(signed(credentials).integrity).toBeUndefined()
    expect(credentials.challenged(challenge({}))).toEqual({ kind: 'answer' })
    const request = signed(credentials)
    expect(request.get(ATTRIBUTE.username)?.toString()).toBe('alice')
    expect(request.get(ATTRIBUTE.nonce)?.toString()).toBe('n1')
    expect(request.integrity).toBe('sha1')
    expect(request.isAuthentic(longTermKey('md5', 'alice', 'lab.test', 'wonder'), 'sha1')).toBe(true)
  })

  test('take SHA-256 where it is offered, and hash the name where that is wanted', () => {
    const credentials = new LongTermCredentials('alice', 'wonder')
    credentials.challenged(challenge({ nonce: BOTH, algorithms: '0001000000020000' }))
    const request = signed(credentials)
    expect(request.has(ATTRIBUTE.username)).toBe(false)
    expect(request.get(ATTRIBUTE.userhash)).toEqual(userhash('alice', 'lab.test'))
    expect(request.get(ATTRIBUTE.passwordAlgorithms)?.toString('hex')).toBe('0001000000020000')
    expect(request.get(ATTRIBUTE.passwordAlgorithm)?.toString('hex')).toBe('00020000')
    expect(request.has(ATTRIBUTE.messageIntegrity)).toBe(false)
    expect(request.isAuthentic(longTermKey('sha256', 'alice', 'lab.test', 'wonder'), 'sha256')).toBe(true)
  })

  test('take MD5 where nothing else is offered that is known', () => {
    const credentials = new LongTermCredentials('alice', 'wonder')
    credentials.challenged(challenge({ nonce: ALGORITHMS, algorithms: '0009000401020304' + '00010000' }))
    const request = signed(credentials)
    expect(request.get(ATTRIBUTE.passwordAlgorithm)?.toString('hex')).toBe('00010000')
    expect(request.isAuthentic(longTermKey('md5', 'alice', 'lab.test', 'wonder'), 'sha256')).toBe(true)
    expect(request.get(ATTRIBUTE.username)?.toString()).toBe('alice')
  })

  test.each([
    ['algorithms that were taken out on the way', { nonce: ALGORITHMS }, /tampered/],
    ['algorithms that nobody knows', { nonce: ALGORITHMS, algorithms: '00090000' }, /not known/],
    ['algorithms that are cut off', { nonce: ALGORITHMS, algorithms: '0009' }, /not known/],
  ])('are not given for %s', (_, how, reason) => {
    const credentials = new LongTermCredentials('alice', 'wonder')
    expect(credentials.challenged(challenge(how))).toMatchObject({
      kind: 'refused',
      reason: expect.stringMatching(reason),
    })
    expect(credentials.isReady).toBe(false)
  })

  test('are given to one realm only', () => {
    const credentials = new LongTermCredentials('alice', 'wonder')
    credentials.challenged(challenge({}))
    expect(credentials.challenged(challenge({ realm: 'elsewhere', nonce: 'n2' }))).toMatchObject({ kind: 'refused' })
    expect(signed(credentials).get(ATTRIBUTE.nonce)?.toString()).toBe('n1')
  })

  test('of nobody are not given', () => {
    const credentials = new LongTermCredentials('', '')
    expect(credentials.challenged(challenge({}))).toMatchObject({
      kind: 'refused',
      reason: expect.stringMatching(/none are set/),
    })
  })
})
