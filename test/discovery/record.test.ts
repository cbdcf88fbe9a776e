import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { instanceName, readRecord, txtOf } from '../../daemon/discovery/mdns/record.ts'
import { instanceLabel, serviceName } from '../../daemon/discovery/mdns/service-name.ts'
import { cleanName } from '../../daemon/identity/host-name.ts'
import { identityOf } from '../../daemon/identity/key.ts'

const { peer } = identityOf(generateKeyPairSync('ed25519').privateKey)

describe("a host's DNS-SD records", () => {
  test('say what the host told', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'binary' }).map(cleanName), fc.integer({ min: 1, max: 65535 }), (name, port) => {
        expect(readRecord({ port, txt: txtOf(peer, name) })).toEqual({ peer, name, port })
      }),
    )
  })

  test('are taken or refused, and never throw, whatever they hold', () => {
    fc.assert(
      fc.property(fc.anything(), fc.anything(), (port, txt) => {
        expect(readRecord({ port, txt })).toBeUndefined()
      }),
    )
    const value = fc.oneof(fc.constant('1'), fc.constant(peer), fc.anything())
    fc.assert(
      fc.property(fc.record({ v: value, id: value, name: value }, { requiredKeys: [] }), fc.anything(), (txt, port) => {
        const record = readRecord({ port, txt })
        if (record) expect(record.name).toBe(cleanName(record.name))
      }),
    )
  })

  test.for([
    ['no port', { txt: txtOf(peer, 'x') }],
    ['port 0', { port: 0, txt: txtOf(peer, 'x') }],
    ['a port beyond 65535', { port: 65536, txt: txtOf(peer, 'x') }],
    ['another version', { port: 1, txt: { ...txtOf(peer, 'x'), v: '2' } }],
    ['an id of the wrong length', { port: 1, txt: { ...txtOf(peer, 'x'), id: peer.slice(1) } }],
    ['an id in capitals', { port: 1, txt: { ...txtOf(peer, 'x'), id: peer.toUpperCase() } }],
    ['no TXT', { port: 1 }],
  ] as const)('are none of a host with %s', ([, service]) => {
    expect(readRecord(service)).toBeUndefined()
  })

  test('carry an instance name that is one label, readable, at most 63 bytes, unique by the id', () => {
    fc.assert(
      fc.property(fc.string({ unit: 'grapheme', maxLength: 100 }).map(cleanName), (name) => {
        const instance = instanceName(peer, name)
        expect(Buffer.byteLength(instance)).toBeLessThanOrEqual(63)
        expect(instance).toContain(peer.slice(0, 8))
        expect(instance).not.toContain('.')
        expect(instanceLabel(`${instance}._partyline._tcp.local`, serviceName('partyline'))).toBe(instance)
      }),
    )
  })

  test.for([
    '',
    '_partyline._tcp.local',
    '._partyline._tcp.local',
    'a._other._tcp.local',
    `${'a'.repeat(64)}._partyline._tcp.local`,
    'a\n._partyline._tcp.local',
    'a\uFFFD._partyline._tcp.local',
  ])('are asked for only under a name of our service, not "%s"', (name) => {
    expect(instanceLabel(name, serviceName('partyline'))).toBeUndefined()
  })
})
