import { createCipheriv, createDecipheriv, hkdfSync } from 'node:crypto'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { packetKeys } from '../../daemon/datagram/packet-key.ts'
import {
  connectionKey,
  HEADER,
  isSealed,
  KEY_LIMITS,
  Opener,
  OVERHEAD,
  Sealer,
  TAG,
} from '../../daemon/datagram/seal.ts'

const SECRET = Buffer.alloc(64, 0x5a)
const ID = Buffer.from('0102030405060708', 'hex')

function pair(limits = KEY_LIMITS): { sealer: Sealer; opener: Opener } {
  const sealer = new Sealer(packetKeys(SECRET, true).out, limits, 0)
  sealer.address(ID)
  return { sealer, opener: new Opener(packetKeys(SECRET, false).in, ID) }
}

function sealed(sealer: Sealer, content: Uint8Array, now = 0): Buffer {
  const packet = Buffer.alloc(OVERHEAD + content.length)
  packet.set(content, HEADER)
  sealer.seal(packet, now)
  return packet
}

function contentOf(packet: Buffer): Buffer {
  return packet.subarray(HEADER, packet.length - TAG)
}

function hkdf(secret: Buffer, label: string, length: number): Buffer {
  return Buffer.from(hkdfSync('sha256', secret, '', `partyline datagram ${label}`, length))
}

/** The dialler's keys of a phase, derived beside the code under test. */
function reference(phase: number): { key: Buffer; iv: Buffer } {
  let secret = hkdf(SECRET, 'dialler', 32)
  for (let i = 0; i < phase; i++) secret = hkdf(secret, 'next', 32)
  return { key: hkdf(secret, 'key', 32), iv: hkdf(secret, 'iv', 12) }
}

function nonceOf(iv: Buffer, header: Buffer): Buffer {
  const nonce = Buffer.from(iv)
  for (let i = 0; i < 8; i++) nonce[4 + i] = (nonce[4 + i] ?? 0) ^ (header[9 + i] ?? 0)
  return nonce
}

describe('the packet codec', () => {
  test('writes the bytes it always wrote', () => {
    const { sealer } = pair()
    expect(sealed(sealer, Buffer.from('hello')).toString('hex')).toBe(
      'd001020304050607080000000000000000faf3dc3dce033316b74ed6911e6406e3e1d94ef1d5',
    )
    expect(sealed(sealer, Buffer.from('hello')).toString('hex')).toBe(
      'd001020304050607080000000000000001e81881f4259c8f9c645cfea283de308b92c341b10f',
    )
  })

  test('what it seals node:crypto opens, in every phase', () => {
    const { sealer } = pair({ packets: 3, age: 1e9 })
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 2000 }), (content) => {
        const packet = sealed(sealer, content)
        sealer.confirmed(sealer.next - 1)
        const { key, iv } = reference(sealer.generation)
        const header = packet.subarray(0, HEADER)
        const cipher = createDecipheriv('chacha20-poly1305', key, nonceOf(iv, header), { authTagLength: TAG })
        cipher.setAAD(header, { plaintextLength: content.length })
        cipher.setAuthTag(packet.subarray(-TAG))
        expect(Buffer.concat([cipher.update(contentOf(packet)), cipher.final()])).toEqual(Buffer.from(content))
      }),
    )
    expect(sealer.generation).toBeGreaterThan(10)
  })

  test('what node:crypto seals it opens, up to the highest number', () => {
    const { opener } = pair()
    const { key, iv } = reference(0)
    for (const number of [0n, 1n, 0xffffffffn, 0x100000000n, 0x1fffffffffffffn]) {
      const header = Buffer.concat([Buffer.from([0xd0]), ID, Buffer.alloc(8)])
      header.writeBigUInt64BE(number, 9)
      const cipher = createCipheriv('chacha20-poly1305', key, nonceOf(iv, header), { authTagLength: TAG })
      cipher.setAAD(header, { plaintextLength: 3 })
      const packet = Buffer.concat([header, cipher.update('abc'), cipher.final(), cipher.getAuthTag()])
      expect(opener.open(packet, 0)).toBe(Number(number))
      expect(contentOf(packet).toString()).toBe('abc')
    }
  })

  test('refuses numbers that are not exact as floating point', () => {
    const { opener } = pair()
    const packet = Buffer.concat([Buffer.from([0xd0]), ID, Buffer.from('0020000000000000', 'hex'), Buffer.alloc(20)])
    expect(opener.open(packet, 0)).toBe('forged')
  })

  test('refuses every packet with one bit changed, and a packet that was there', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 100 }), fc.nat(), (content, at) => {
        const { sealer, opener } = pair()
        const packet = sealed(sealer, content)
        const bit = at % (packet.length * 8)
        const forged = Buffer.from(packet)
        forged[bit >> 3] = (forged[bit >> 3] ?? 0) ^ (1 << (bit & 7))
        expect(opener.open(forged, 0)).toBeTypeOf('string')
        expect(opener.open(Buffer.from(packet), 0)).toBe(0)
        expect(opener.open(Buffer.from(packet), 0)).toBe('replayed')
      }),
    )
  })

  test('refuses what is cut short or lengthened, and any bytes', () => {
    const { sealer, opener } = pair()
    const packet = sealed(sealer, Buffer.alloc(40, 1))
    for (let length = 0; length < packet.length; length++)
      expect(opener.open(Buffer.from(packet.subarray(0, length)), 0)).toBeTypeOf('string')
    expect(opener.open(Buffer.concat([packet, Buffer.alloc(1)]), 0)).toBe('forged')
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 2000 }), fc.boolean(), (bytes, isAddressed) => {
        const junk = Buffer.from(bytes)
        if (isAddressed) packet.copy(junk, 0, 0, 9)
        expect(opener.open(junk, 0)).toBeTypeOf('string')
      }),
    )
  })

  test('refuses what comes back to its sender', () => {
    const { sealer } = pair()
    const own = new Opener(packetKeys(SECRET, true).in, ID)
    expect(own.open(sealed(sealer, Buffer.from('hello')), 0)).toBe('forged')
  })

  test('is told from others by its first byte, and its receiver by the connection id', () => {
    const packet = sealed(pair().sealer, Buffer.from('x'))
    expect(isSealed(packet)).toBe(true)
    expect([0, 3, 64, 79, 0xcf, 0xe0, 0xff].map((first) => isSealed(Uint8Array.of(first)))).not.toContain(true)
    expect(isSealed(new Uint8Array())).toBe(false)
    expect(connectionKey(packet, 1)).toBe(connectionKey(ID))
  })

  test('takes no secret that is too short', () => {
    expect(() => packetKeys(Buffer.alloc(63), true)).toThrow(RangeError)
  })
})

describe('a key change', () => {
  test('happens after so many packets, and again, as long as the receiver confirms', () => {
    const { sealer, opener } = pair({ packets: 10, age: 1e9 })
    for (let i = 0; i < 100; i++) {
      expect(opener.open(sealed(sealer, Buffer.from('x')), i)).toBe(i)
      sealer.confirmed(i)
    }
    expect(sealer.generation).toBe(9)
    expect(opener.generation).toBe(9)
  })

  test('happens with time', () => {
    const { sealer, opener } = pair({ packets: 1e9, age: 1000 })
    expect(opener.open(sealed(sealer, Buffer.from('x'), 999), 999)).toBe(0)
    sealer.confirmed(0)
    expect(opener.open(sealed(sealer, Buffer.from('x'), 1000), 1000)).toBe(1)
    expect(opener.generation).toBe(1)
  })

  test('waits while nothing is confirmed, so that a receiver that hears nothing can still follow', () => {
    const { sealer, opener } = pair({ packets: 10, age: 1e9 })
    for (let i = 0; i < 100; i++) sealed(sealer, Buffer.from('x'))
    expect(sealer.generation).toBe(0)
    expect(opener.open(sealed(sealer, Buffer.from('x')), 0)).toBe(100)
    sealer.confirmed(1000)
    sealed(sealer, Buffer.from('x'))
    expect(sealer.generation).toBe(0)
  })

  test('leaves packets of the phase before valid for a while', () => {
    const { sealer, opener } = pair({ packets: 2, age: 1e9 })
    const first = sealed(sealer, Buffer.from('1'))
    const late = sealed(sealer, Buffer.from('2'))
    opener.open(first, 0)
    sealer.confirmed(0)
    const next = sealed(sealer, Buffer.from('3'))
    expect(sealer.generation).toBe(1)
    expect(opener.open(next, 0)).toBe(2)
    expect(opener.open(Buffer.from(late), 5000)).toBe('forged')
    expect(opener.open(Buffer.from(late), 1000)).toBe(1)
  })

  test('is not brought about by a forged phase', () => {
    const { sealer, opener } = pair()
    for (let phase = 1; phase < 4; phase++) {
      const forged = sealed(sealer, Buffer.from('x'))
      forged[0] = 0xd0 | phase
      expect(opener.open(forged, 0)).toBe('forged')
    }
    expect(opener.generation).toBe(0)
    expect(opener.open(sealed(sealer, Buffer.from('x')), 0)).toBe(3)
  })
})
