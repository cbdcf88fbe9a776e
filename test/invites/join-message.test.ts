import { encode } from '@msgpack/msgpack'
import { assert, property, uint8Array } from 'fast-check'
import { expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { decodeJoin, encodeJoin, type JoinMessage } from '../../daemon/invites/join-message.ts'
import { NO_WAYS } from '../../daemon/peers/ways.ts'

const ID = 'mfzwizlnn5xgk'
const ways = { accounts: ['anna@example.org'], hubs: ['10.0.0.1:5223'], addresses: [{ address: '::1', port: 1 }] }
const messages: readonly JoinMessage[] = [
  { kind: 'join', id: ID, proof: new Uint8Array(32).fill(7), name: 'anna', ways },
  { kind: 'accepted', id: ID, name: 'ben', ways: NO_WAYS },
  { kind: 'refused', id: ID, code: 'policy.ticket-used' },
]

test.each(messages)('$kind comes out as it went in', (message) => {
  expect(decodeJoin(encodeJoin(message))).toEqual(message)
})

test('what is none is refused, whatever its bytes', () => {
  const codeOf = (bytes: Uint8Array): string => {
    try {
      return decodeJoin(bytes).kind
    } catch (error) {
      return error instanceof PartylineError ? error.code : String(error)
    }
  }
  assert(
    property(uint8Array({ maxLength: 300 }), (bytes) => {
      expect(codeOf(bytes)).toBe('peer.malformed')
    }),
  )
  const [join] = messages
  const wrong = [
    { ...join, proof: new Uint8Array(31) },
    { ...join, proof: 'x'.repeat(32) },
    { ...join, id: ID.toUpperCase() },
    { ...join, ways: { ...ways, accounts: new Array(9).fill('a@b') } },
    { ...join, ways: { ...ways, addresses: [{ address: 'example.org', port: 1 }] } },
    { ...join, name: 'n'.repeat(1025) },
    { kind: 'other', id: ID },
    null,
  ]
  for (const one of wrong) expect(codeOf(encode(one))).toBe('peer.malformed')
})
