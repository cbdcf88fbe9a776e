import {
  array,
  assert,
  constant,
  constantFrom,
  integer,
  ipV4,
  ipV6,
  oneof,
  property,
  record,
  string,
  uint8Array,
} from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../../daemon/errors.ts'
import { MAX_REMOTE_CANDIDATES } from '../../../daemon/nat/candidate.ts'
import {
  decodeRendezvous,
  encodeRendezvous,
  type RendezvousSignal,
} from '../../../daemon/nat/rendezvous/description.ts'
import { MAX_SIGNAL } from '../../../daemon/signaling/signaller.ts'

const hex = string({ unit: constantFrom(...'0123456789abcdef'), minLength: 16, maxLength: 16 })
const iceChars = (minLength: number, maxLength: number) =>
  string({ unit: constantFrom(...'abcXYZ019+/'), minLength, maxLength })
const edition = { instance: hex, attempt: integer({ min: 0 }), version: integer({ min: 0 }) }
const u32 = integer({ min: 0, max: 0xffff_ffff })
const candidate = record({
  kind: constantFrom('host' as const, 'mapped' as const, 'srflx' as const, 'relay' as const),
  address: oneof(ipV4(), ipV6()),
  port: integer({ min: 1, max: 65535 }),
  priority: u32,
  foundation: iceChars(1, 32),
})
const signals = oneof(
  record({
    kind: constant('describe' as const),
    ...edition,
    ufrag: iceChars(4, 32),
    pwd: iceChars(22, 64),
    candidates: array(candidate, { maxLength: MAX_REMOTE_CANDIDATES }),
    link: u32,
    calls: u32,
    network: record({
      udp: constantFrom(true, false, null),
      mapping: constantFrom('none' as const, 'same' as const, 'each' as const, 'unknown' as const),
      relay: constantFrom(true, false),
    }),
    seen: oneof(constant(null), record(edition)),
  }),
  record({ kind: constant('seen' as const), seen: record(edition) }),
  record({ kind: constant('leave' as const), ...edition }),
)

describe('a description', () => {
  test('arrives as it was sent, and fits a signal', () => {
    assert(
      property(signals, (signal) => {
        const bytes = encodeRendezvous(signal)
        expect(bytes.length).toBeLessThanOrEqual(MAX_SIGNAL)
        expect(decodeRendezvous(bytes)).toEqual(signal)
      }),
    )
  })

  test('is refused where it is anything else, with one error', () => {
    const refused = (bytes: Uint8Array): void => {
      try {
        decodeRendezvous(bytes)
      } catch (error) {
        expect(error).toBeInstanceOf(PartylineError)
        expect((error as PartylineError).code).toBe('peer.malformed')
      }
    }
    assert(property(uint8Array({ maxLength: 512 }), refused))
    assert(
      property(signals, integer({ min: 0 }), integer({ min: 0, max: 255 }), (signal, at, value) => {
        const bytes = Buffer.from(encodeRendezvous(signal))
        bytes[at % bytes.length] = value
        refused(bytes)
      }),
    )
  })

  test.each([
    ['a name instead of an address', { address: 'example.org' }],
    ['an address with a zone', { address: 'fe80::1%eth0' }],
    ['port 0', { port: 0 }],
    ['a foundation with other characters', { foundation: 'ä' }],
  ])('is refused with %s', (_, change) => {
    const good = { kind: 'host', address: '192.0.2.1', port: 1, priority: 1, foundation: 'f' } as const
    const signal = (one: typeof good): RendezvousSignal => ({
      kind: 'describe',
      instance: '0'.repeat(16),
      attempt: 1,
      version: 1,
      ufrag: 'abcd',
      pwd: 'a'.repeat(22),
      candidates: [one],
      link: 0,
      calls: 0,
      network: { udp: null, mapping: 'unknown', relay: false },
      seen: null,
    })
    expect(decodeRendezvous(encodeRendezvous(signal(good)))).toEqual(signal(good))
    expect(() => decodeRendezvous(encodeRendezvous(signal({ ...good, ...change } as typeof good)))).toThrow(
      'not a description',
    )
  })

  test('has only as many candidates as a peer looks at', () => {
    const many = Array.from({ length: 100 }, (_, port) => ({
      kind: 'host' as const,
      address: '192.0.2.1',
      port: port + 1,
      priority: 1,
      foundation: 'f',
    }))
    const bytes = encodeRendezvous({
      kind: 'describe',
      instance: '0'.repeat(16),
      attempt: 1,
      version: 1,
      ufrag: 'abcd',
      pwd: 'a'.repeat(22),
      candidates: many,
      link: 0,
      calls: 0,
      network: { udp: null, mapping: 'unknown', relay: false },
      seen: null,
    })
    const decoded = decodeRendezvous(bytes)
    expect(decoded.kind === 'describe' && decoded.candidates.length).toBe(MAX_REMOTE_CANDIDATES)
  })
})
