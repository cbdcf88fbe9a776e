import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { type Beacon, decodeBeacon, encodeBeacon, isSigned, PACKET_SIZE } from '../../daemon/discovery/beacon/packet.ts'
import { PartylineError } from '../../daemon/errors.ts'
import { cleanName } from '../../daemon/identity/host-name.ts'
import { identityOf } from '../../daemon/identity/key.ts'

const identity = identityOf(generateKeyPairSync('ed25519').privateKey)
const hex = (bytes: number) =>
  fc.uint8Array({ minLength: bytes, maxLength: bytes }).map((array) => Buffer.from(array).toString('hex'))

const beacons: fc.Arbitrary<Beacon> = fc.record({
  kind: fc.constantFrom('announce', 'answer', 'goodbye'),
  wantAnswer: fc.boolean(),
  port: fc.integer({ min: 1, max: 65535 }),
  instance: hex(8),
  sequence: fc.maxSafeNat(),
  nonce: hex(16),
  echo: hex(16),
  peer: fc.constant(identity.peer),
  name: fc.string({ unit: 'binary', maxLength: 200 }).map(cleanName),
})

const SAMPLE: Beacon = {
  kind: 'announce',
  wantAnswer: false,
  port: 47800,
  instance: '0123456789abcdef',
  sequence: 1,
  nonce: '11'.repeat(16),
  echo: '22'.repeat(16),
  peer: identity.peer,
  name: 'anna',
}

/** The code a packet is refused with, or undefined. */
function refusal(packet: Uint8Array): string | undefined {
  try {
    decodeBeacon(Buffer.from(packet))
    return undefined
  } catch (error) {
    if (error instanceof PartylineError) return error.code
    throw error
  }
}

describe('a beacon packet', () => {
  test('says after decoding what was encoded, in a packet of one size, signed', () => {
    fc.assert(
      fc.property(beacons, (beacon) => {
        const packet = encodeBeacon(beacon, identity)
        expect(packet.length).toBe(PACKET_SIZE)
        expect(decodeBeacon(packet)).toEqual(beacon)
        expect(isSigned(packet, beacon.peer)).toBe(true)
      }),
    )
  })

  test('is refused by a declared code, or decoded, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 400 }), (bytes) => {
        expect([undefined, 'peer.malformed', 'peer.oversized']).toContain(refusal(bytes))
      }),
    )
  })

  test('is refused by a declared code, or decoded, with any bytes behind a right beginning', () => {
    const head = encodeBeacon(SAMPLE, identity).subarray(0, 5)
    fc.assert(
      fc.property(fc.uint8Array({ minLength: PACKET_SIZE - 5, maxLength: PACKET_SIZE - 5 }), (bytes) => {
        expect([undefined, 'peer.malformed']).toContain(refusal(Buffer.concat([head, bytes])))
      }),
    )
  })

  test('does not pass for signed with any bit turned', () => {
    const packet = encodeBeacon(SAMPLE, identity)
    fc.assert(
      fc.property(fc.integer({ min: 0, max: PACKET_SIZE * 8 - 1 }), (bit) => {
        const turned = Buffer.from(packet)
        turned[bit >> 3] = (turned[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        const refused = refusal(turned)
        expect(refused !== undefined || !isSigned(turned, decodeBeacon(turned).peer)).toBe(true)
      }),
    )
  })

  test('is refused when it is shorter or longer, by a byte', () => {
    const packet = encodeBeacon(SAMPLE, identity)
    expect(refusal(packet.subarray(1))).toBe('peer.malformed')
    expect(refusal(packet.subarray(0, -1))).toBe('peer.malformed')
    expect(refusal(Buffer.concat([packet, Buffer.alloc(1)]))).toBe('peer.oversized')
  })

  test.for([
    ['another magic', 0, 0x51],
    ['an unknown version', 3, 0x32],
    ['an unknown kind', 4, 3],
    ['an unknown flag', 5, 2],
    ['a name longer than its field', 88, 64],
    ['something in the padding', 191, 1],
    ['something behind the name', 95, 65],
  ] as const)('is refused with %s', ([, at, value]) => {
    const packet = encodeBeacon(SAMPLE, identity)
    packet[at] = value
    expect(refusal(packet)).toBe('peer.malformed')
  })

  test('is refused with port 0, and with a sequence beyond exact numbers', () => {
    const noPort = encodeBeacon(SAMPLE, identity)
    noPort.writeUInt16BE(0, 6)
    expect(refusal(noPort)).toBe('peer.malformed')
    const beyond = encodeBeacon(SAMPLE, identity)
    beyond.writeBigUInt64BE(2n ** 53n, 16)
    expect(refusal(beyond)).toBe('peer.malformed')
  })

  test('carries no signature that is one over the same bytes elsewhere', () => {
    const packet = encodeBeacon(SAMPLE, identity)
    packet.set(identity.sign(packet.subarray(0, PACKET_SIZE - 64)), PACKET_SIZE - 64)
    expect(isSigned(packet, identity.peer)).toBe(false)
  })

  test('shows no name that a terminal would obey', () => {
    const packet = encodeBeacon(SAMPLE, identity)
    packet.write('\u001b[2', 89)
    expect(decodeBeacon(packet).name).toBe('[2a')
  })
})
