import { describe, expect, test } from 'vitest'
import { givenPlaces, placesOf, type SrvRecord } from '../../daemon/accounts/server-places.ts'
import { PartylineError } from '../../daemon/errors.ts'

const dns = (records: Readonly<Record<string, readonly Partial<SrvRecord>[]>>) => async (name: string) =>
  (records[name] ?? []).map((one) => ({ name: 'x', port: 1, priority: 0, weight: 0, ...one }))
const DIRECT = '_xmpps-client._tcp.example.org'
const STARTTLS = '_xmpp-client._tcp.example.org'

describe('where the servers of a domain are', () => {
  test('is what DNS says, by priority; of the same priority TLS from the first byte goes first', async () => {
    const found = await placesOf(
      'example.org',
      dns({
        [STARTTLS]: [{ name: 'old', port: 5222, priority: 5 }],
        [DIRECT]: [
          { name: 'second', port: 443, priority: 10 },
          { name: 'first', port: 5223, priority: 5 },
        ],
      }),
    )
    expect(found).toEqual([
      { host: 'first', port: 5223, start: 'direct' },
      { host: 'old', port: 5222, start: 'starttls' },
      { host: 'second', port: 443, start: 'direct' },
    ])
  })

  test('is the domain itself where DNS says nothing, or cannot be asked', async () => {
    const itself = [
      { host: 'example.org', port: 5223, start: 'direct' },
      { host: 'example.org', port: 5222, start: 'starttls' },
    ]
    expect(await placesOf('example.org', dns({}))).toEqual(itself)
    expect(await placesOf('example.org', () => Promise.reject(new Error('ETIMEOUT')))).toEqual(itself)
  })

  test('is nowhere where the domain says that it has none, and bounded', async () => {
    expect(await placesOf('example.org', dns({ [STARTTLS]: [{ name: '.' }], [DIRECT]: [{ name: '' }] }))).toEqual([])
    const many = Array.from({ length: 50 }, (_, i) => ({ name: `s${i}`, port: 5222 }))
    expect(await placesOf('example.org', dns({ [STARTTLS]: many }))).toHaveLength(8)
  })

  test('may be given, with its port or without', () => {
    expect(givenPlaces('xmpp.example.org')).toEqual([
      { host: 'xmpp.example.org', port: 5223, start: 'direct' },
      { host: 'xmpp.example.org', port: 5222, start: 'starttls' },
    ])
    expect(givenPlaces('[2001:db8::1]:5222')[0]).toEqual({ host: '2001:db8::1', port: 5222, start: 'starttls' })
    expect(givenPlaces('10.0.0.1:443')[0]).toEqual({ host: '10.0.0.1', port: 443, start: 'direct' })
    for (const wrong of ['', 'a b', 'host:0', 'host:99999', '[nonsense]:1', 'a/b'])
      expect(() => givenPlaces(wrong)).toThrow(PartylineError)
  })
})
