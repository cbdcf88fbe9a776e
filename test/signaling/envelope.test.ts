import { generateKeyPairSync } from 'node:crypto'
import fc from 'fast-check'
import sodium from 'sodium-native'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { identityOf } from '../../daemon/identity/key.ts'
import { keyFromPeerId, peerIdFromKey } from '../../daemon/identity/peer-id.ts'
import { Envelope, MAX_SEALED, type Signal } from '../../daemon/signaling/envelope.ts'
import { MAX_SIGNAL } from '../../daemon/signaling/signaller.ts'

const [alice, bob, mallory] = Array.from({ length: 3 }, () => {
  const identity = identityOf(generateKeyPairSync('ed25519').privateKey)
  return { ...identity, envelope: new Envelope(identity) }
}) as [Host, Host, Host]
type Host = ReturnType<typeof identityOf> & { envelope: Envelope }

const ID = '000102030405060708090a0b0c0d0e0f'
const signal: Signal = {
  time: 1_800_000_000_000,
  round: 7,
  id: ID,
  topic: 'punch.1',
  content: Buffer.from('candidate'),
}

const signals = fc.record({
  time: fc.maxSafeNat(),
  round: fc.nat({ max: 2 ** 31 - 1 }).map((n) => n * 2 ** 17 + 1),
  id: fc.uint8Array({ minLength: 16, maxLength: 16 }).map((bytes) => Buffer.from(bytes).toString('hex')),
  topic: fc.stringMatching(/^[a-z0-9.-]{1,32}$/),
  content: fc.uint8Array({ maxLength: MAX_SIGNAL, size: 'max' }),
})

/** The body of a signal, as its receiver sees it. */
function unsealed(sealed: Uint8Array, host: Host): Buffer {
  const body = Buffer.alloc(sealed.length - sodium.crypto_box_SEALBYTES)
  const { publicKey, secretKey } = boxKeys(host)
  expect(sodium.crypto_box_seal_open(body, sealed, publicKey, secretKey)).toBe(true)
  return body
}

function sealedBody(body: Uint8Array, host: Host): Uint8Array {
  const sealed = Buffer.alloc(body.length + sodium.crypto_box_SEALBYTES)
  sodium.crypto_box_seal(sealed, body, boxKeys(host).publicKey)
  return sealed
}

function boxKeys({ privateKey, peer }: Host) {
  const [publicKey, secretKey, ed25519] = [32, 32, 64].map((size) => Buffer.alloc(size)) as [Buffer, Buffer, Buffer]
  const seed = Buffer.from(privateKey.export({ format: 'jwk' }).d ?? '', 'base64url')
  sodium.crypto_sign_seed_keypair(Buffer.alloc(32), ed25519, seed)
  sodium.crypto_sign_ed25519_sk_to_curve25519(secretKey, ed25519)
  sodium.crypto_sign_ed25519_pk_to_curve25519(publicKey, keyFromPeerId(peer))
  return { publicKey, secretKey }
}

/** Signs a body anew, as a sender who may put anything into it. */
function signed(body: Buffer, sender: Host): Buffer {
  const part = body.subarray(0, -64)
  return Buffer.concat([part, sender.sign(Buffer.concat([Buffer.from('partyline signal 1\0'), part]))])
}

function refusal(code: string) {
  return expect.objectContaining({ name: 'PartylineError', code })
}

describe('a sealed signal', () => {
  test('is opened by its receiver as it was sealed', () => {
    fc.assert(
      fc.property(signals, (one) => {
        const { content, ...rest } = bob.envelope.open(alice.envelope.seal(bob.peer, one))
        expect(rest).toEqual({ sender: alice.peer, time: one.time, round: one.round, id: one.id, topic: one.topic })
        expect(Buffer.from(content).equals(one.content)).toBe(true)
      }),
    )
  })

  test('is refused by everyone else', () => {
    const sealed = alice.envelope.seal(bob.peer, signal)
    for (const other of [alice, mallory]) expect(() => other.envelope.open(sealed)).toThrow(refusal('peer.bad-signal'))
  })

  test('shows nobody its sender or content', () => {
    const sealed = Buffer.from(alice.envelope.seal(bob.peer, signal))
    for (const part of [keyFromPeerId(alice.peer), keyFromPeerId(bob.peer), signal.content])
      expect(sealed.includes(Buffer.from(part))).toBe(false)
    expect(sealed.equals(alice.envelope.seal(bob.peer, signal))).toBe(false)
  })

  test('is refused when one byte was changed, taken or added, anywhere', () => {
    const sealed = alice.envelope.seal(bob.peer, signal)
    for (let at = 0; at < sealed.length; at++) {
      const changed = Uint8Array.from(sealed)
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8))
      expect(() => bob.envelope.open(changed)).toThrow(refusal('peer.bad-signal'))
    }
    // The highest bit of an X25519 key is not looked at (RFC 7748 section 5), and must not give a second form.
    const twin = Uint8Array.from(sealed)
    twin[31] = (twin[31] ?? 0) ^ 0x80
    expect(() => bob.envelope.open(twin)).toThrow(refusal('peer.bad-signal'))
    expect(() => bob.envelope.open(sealed.subarray(1))).toThrow(refusal('peer.bad-signal'))
    expect(() => bob.envelope.open(sealed.subarray(0, -1))).toThrow(refusal('peer.bad-signal'))
    expect(() => bob.envelope.open(Buffer.concat([sealed, Buffer.alloc(1)]))).toThrow(refusal('peer.bad-signal'))
  })

  test('is refused when a byte of the body was changed and the body sealed again', () => {
    const body = unsealed(alice.envelope.seal(bob.peer, signal), bob)
    for (let at = 0; at < body.length; at++) {
      const changed = Buffer.from(body)
      changed[at] = (changed[at] ?? 0) ^ (1 << (at % 8))
      expect(() => bob.envelope.open(sealedBody(changed, bob))).toThrow(refusal('peer.bad-signal'))
    }
    const longer = Buffer.concat([body, Buffer.alloc(1)])
    expect(() => bob.envelope.open(sealedBody(longer, bob))).toThrow(refusal('peer.bad-signal'))
  })

  test('cannot be sealed again by its receiver for somebody else', () => {
    const body = unsealed(alice.envelope.seal(mallory.peer, signal), mallory)
    expect(() => bob.envelope.open(sealedBody(body, bob))).toThrow(refusal('peer.bad-signal'))
  })

  test('cannot be signed in the name of somebody else', () => {
    const body = unsealed(mallory.envelope.seal(bob.peer, signal), bob)
    body.set(keyFromPeerId(alice.peer), 1)
    expect(() => bob.envelope.open(sealedBody(signed(body, mallory), bob))).toThrow(refusal('peer.bad-signal'))
  })

  test('is refused when its sender is a key of small order, whose signatures anybody can make', () => {
    const body = unsealed(mallory.envelope.seal(bob.peer, signal), bob)
    const identityPoint = Buffer.alloc(32)
    identityPoint[0] = 1
    body.set(identityPoint, 1)
    body.fill(0, body.length - 64)
    body[body.length - 64] = 1
    expect(() => bob.envelope.open(sealedBody(body, bob))).toThrow(refusal('peer.bad-signal'))
  })

  test('is refused with another version, an impossible topic or time, though well signed', () => {
    const impossible: [at: number, bytes: number[]][] = [
      [0, [0]],
      [0, [2]],
      [65, [255]],
      [95, [0]],
      [95, [33]],
      [95, [255]],
      [96, [65]],
      [96, [0]],
    ]
    for (const [at, bytes] of impossible) {
      const body = unsealed(mallory.envelope.seal(bob.peer, signal), bob)
      body.set(bytes, at)
      expect(() => bob.envelope.open(sealedBody(signed(body, mallory), bob))).toThrow(refusal('peer.bad-signal'))
    }
  })

  test('holds 8 KiB and no more', () => {
    const full = { ...signal, topic: 't'.repeat(32), content: Buffer.alloc(MAX_SIGNAL, 7) }
    const sealed = alice.envelope.seal(bob.peer, full)
    expect(sealed.length).toBe(MAX_SEALED)
    expect(bob.envelope.open(sealed).content.length).toBe(MAX_SIGNAL)
    const larger = { ...signal, content: Buffer.alloc(MAX_SIGNAL + 1) }
    expect(() => alice.envelope.seal(bob.peer, larger)).toThrow(refusal('usage.too-large'))
    expect(() => bob.envelope.open(Buffer.alloc(MAX_SEALED + 1))).toThrow(refusal('peer.oversized'))

    const body = unsealed(mallory.envelope.seal(bob.peer, { ...full, topic: 'tt' }), bob)
    const stretched = Buffer.concat([body.subarray(0, -64), Buffer.alloc(1), body.subarray(-64)])
    expect(() => bob.envelope.open(sealedBody(signed(stretched, mallory), bob))).toThrow(refusal('peer.oversized'))
  })

  test('throws nothing but our errors, whatever the bytes', () => {
    const opens = (open: () => unknown) => {
      try {
        open()
      } catch (error) {
        expect(error).toBeInstanceOf(PartylineError)
        expect(['peer.bad-signal', 'peer.oversized']).toContain((error as PartylineError).code)
      }
    }
    const bytes = fc.uint8Array({ maxLength: 400 })
    fc.assert(fc.property(bytes, (sealed) => opens(() => bob.envelope.open(sealed))))
    fc.assert(fc.property(bytes, (body) => opens(() => bob.envelope.open(sealedBody(body, bob)))))
    const anyBody = fc.tuple(bytes, fc.subarray([0, 33, 65, 95]))
    fc.assert(
      fc.property(anyBody, ([noise, kept]) => {
        const body = unsealed(mallory.envelope.seal(bob.peer, signal), bob)
        const noisy = Buffer.from(body)
        noisy.set(noise.subarray(0, body.length))
        for (const at of kept) body.copy(noisy, at, at, at + 32)
        opens(() => bob.envelope.open(sealedBody(signed(noisy, mallory), bob)))
      }),
    )
  })

  test('is not made for a receiver that is no usable key, nor with a malformed topic', () => {
    const identityPoint = Buffer.alloc(32)
    identityPoint[0] = 1
    for (const key of [Buffer.alloc(32), identityPoint, Buffer.alloc(32, 255), Buffer.alloc(32, 2)])
      expect(() => alice.envelope.seal(peerIdFromKey(key), signal)).toThrow(refusal('usage.invalid-argument'))
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 32, maxLength: 32 }), (key) => {
        try {
          alice.envelope.seal(peerIdFromKey(key), signal)
        } catch (error) {
          expect(error).toEqual(refusal('usage.invalid-argument'))
        }
      }),
    )
    for (const topic of ['', 'Upper', 'a b', 'ü', 'a'.repeat(33), 'a\n'])
      expect(() => alice.envelope.seal(bob.peer, { ...signal, topic })).toThrow(refusal('usage.invalid-argument'))
  })
})
