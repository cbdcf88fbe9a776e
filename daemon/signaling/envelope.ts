import type { KeyObject } from 'node:crypto'
import sodium from 'sodium-native'
import { PartylineError } from '../errors.ts'
import type { Identity } from '../identity/key.ts'
import { keyFromPeerId, peerIdFromKey } from '../identity/peer-id.ts'
import type { PeerId, UnixMilliseconds } from '../types.ts'
import { MAX_SIGNAL } from './signaller.ts'

/**
 * Layout of a signal before it is sealed, big endian: version 1, sender's key 32, receiver's key 32, time 8, round 6, id 16, length of
 * the topic 1, topic, content, Ed25519 signature 64. The receiver is signed too, or a receiver could seal the signal anew for somebody else.
 */
const VERSION = 1
const RECEIVER_AT = 33
const TIME_AT = 65
const ROUND_AT = 73
const ID_AT = 79
const TOPIC_AT = 96
const SIGNATURE = 64
const MAX_TOPIC = 32
const TOPIC = /^[a-z0-9.-]{1,32}$/
/** Signed before the signal, so that a signature made here means nothing anywhere else. */
const DOMAIN = Buffer.from('partyline signal 1\0')

/** Bytes of a signal's random id. */
export const ID_SIZE = 16
/** The largest sealed signal in bytes; carriers may refuse what is larger. */
export const MAX_SEALED = sodium.crypto_box_SEALBYTES + TOPIC_AT + MAX_TOPIC + MAX_SIGNAL + SIGNATURE

/** What a signal says. */
export interface Signal {
  readonly time: UnixMilliseconds
  /** The correction of the receiver's that `time` follows (`Rounds`); 0 for none. */
  readonly round: number
  /** Sixteen random bytes, hexadecimal. */
  readonly id: string
  /** 1 to 32 of a-z, 0-9, dot and hyphen. */
  readonly topic: string
  readonly content: Uint8Array
}

/** Seals signals for others and opens those for one host. */
export interface Sealing {
  /**
   * Signs and seals. Throws `usage.too-large` above `MAX_SIGNAL`, `usage.invalid-argument` for a malformed topic and for a receiver that is
   * no usable Ed25519 key.
   */
  seal(receiver: PeerId, signal: Signal): Uint8Array
  /**
   * Opens and checks. Throws `peer.oversized`, and `peer.bad-signal` for what is not for this host, not signed by its sender, damaged, or of
   * another version; nothing else, whatever the bytes.
   */
  open(sealed: Uint8Array): Signal & { readonly sender: PeerId }
}

/** Throws `usage.invalid-argument` where `topic` is none. */
export function checkTopic(topic: string): void {
  if (!TOPIC.test(topic)) throw new PartylineError('usage.invalid-argument', `${JSON.stringify(topic)} is no topic`)
}

/** Sealing with an identity: libsodium's sealed boxes to the X25519 keys that belong to the Ed25519 ones. */
export class Envelope implements Sealing {
  readonly #identity: Identity
  readonly #key: Uint8Array
  readonly #publicKey: Uint8Array
  readonly #secretKey: Uint8Array

  constructor(identity: Identity) {
    this.#identity = identity
    this.#key = keyFromPeerId(identity.peer)
    this.#publicKey = new Uint8Array(sodium.crypto_box_PUBLICKEYBYTES)
    sodium.crypto_sign_ed25519_pk_to_curve25519(this.#publicKey, this.#key)
    this.#secretKey = x25519SecretKey(identity.privateKey)
  }

  seal(receiver: PeerId, { time, round, id, topic, content }: Signal): Uint8Array {
    if (content.length > MAX_SIGNAL)
      throw new PartylineError(
        'usage.too-large',
        `a signal of ${content.length} bytes is larger than ${MAX_SIGNAL} bytes`,
        { hint: 'Send less at a time.' },
      )
    checkTopic(topic)
    const receiverKey = keyFromPeerId(receiver)
    const body = Buffer.alloc(TOPIC_AT + topic.length + content.length + SIGNATURE)
    body[0] = VERSION
    body.set(this.#key, 1)
    body.set(receiverKey, RECEIVER_AT)
    body.writeBigUInt64BE(BigInt(Math.floor(time)), TIME_AT)
    body.writeUIntBE(round, ROUND_AT, 6)
    body.write(id, ID_AT, ID_SIZE, 'hex')
    body[TOPIC_AT - 1] = body.write(topic, TOPIC_AT, 'latin1')
    body.set(content, TOPIC_AT + topic.length)
    const signedPart = body.subarray(0, -SIGNATURE)
    body.set(this.#identity.sign(Buffer.concat([DOMAIN, signedPart])), signedPart.length)
    const sealed = new Uint8Array(body.length + sodium.crypto_box_SEALBYTES)
    sodium.crypto_box_seal(sealed, body, x25519Key(receiver, receiverKey))
    return sealed
  }

  open(sealed: Uint8Array): Signal & { readonly sender: PeerId } {
    if (sealed.length > MAX_SEALED) throw new PartylineError('peer.oversized', `a signal of ${sealed.length} bytes`)
    const body = Buffer.alloc(Math.max(0, sealed.length - sodium.crypto_box_SEALBYTES))
    if (body.length <= TOPIC_AT + SIGNATURE) throw bad('a signal that is too short')
    if (!sodium.crypto_box_seal_open(body, sealed, this.#publicKey, this.#secretKey))
      throw bad('a signal that is not for this host, or damaged')
    if (body[0] !== VERSION) throw bad(`a signal of version ${body[0]}`)
    if (!body.subarray(RECEIVER_AT, TIME_AT).equals(this.#key)) throw bad('a signal that was made for another host')
    const signedPart = body.subarray(0, -SIGNATURE)
    const contentAt = TOPIC_AT + (body[TOPIC_AT - 1] ?? 0)
    const topic = signedPart.toString('latin1', TOPIC_AT, contentAt)
    const time = body.readBigUInt64BE(TIME_AT)
    if (contentAt > signedPart.length || !TOPIC.test(topic) || time > BigInt(Number.MAX_SAFE_INTEGER))
      throw bad('a signal with impossible fields')
    const content = signedPart.subarray(contentAt)
    if (content.length > MAX_SIGNAL) throw new PartylineError('peer.oversized', `a signal of ${content.length} bytes`)
    const key = body.subarray(1, RECEIVER_AT)
    const signature = body.subarray(signedPart.length)
    if (!sodium.crypto_sign_verify_detached(signature, Buffer.concat([DOMAIN, signedPart]), key))
      throw bad('a signal without the signature of its sender')
    const id = body.toString('hex', ID_AT, ID_AT + ID_SIZE)
    const round = body.readUIntBE(ROUND_AT, 6)
    return { sender: peerIdFromKey(key), time: Number(time), round, id, topic, content }
  }
}

function bad(message: string): PartylineError {
  return new PartylineError('peer.bad-signal', message)
}

/** A peer id may be any 32 bytes; those that are no point of the curve, or one of small order, cannot be sealed for. */
function x25519Key(peer: PeerId, key: Uint8Array): Uint8Array {
  const converted = new Uint8Array(sodium.crypto_box_PUBLICKEYBYTES)
  try {
    sodium.crypto_sign_ed25519_pk_to_curve25519(converted, key)
  } catch (cause) {
    throw new PartylineError('usage.invalid-argument', `${peer} is no Ed25519 key`, { cause })
  }
  return converted
}

/** The X25519 secret key of an Ed25519 one; every copy made on the way is wiped. */
function x25519SecretKey(privateKey: KeyObject): Uint8Array {
  // In DER rather than as a JWK, whose text nobody can wipe. The seed is the end of it (RFC 8410 section 7).
  const der = privateKey.export({ format: 'der', type: 'pkcs8' })
  const ed25519 = new Uint8Array(sodium.crypto_sign_SECRETKEYBYTES)
  const x25519 = new Uint8Array(sodium.crypto_box_SECRETKEYBYTES)
  try {
    const publicKey = new Uint8Array(sodium.crypto_sign_PUBLICKEYBYTES)
    sodium.crypto_sign_seed_keypair(publicKey, ed25519, der.subarray(-32))
    sodium.crypto_sign_ed25519_sk_to_curve25519(x25519, ed25519)
  } finally {
    sodium.sodium_memzero(der)
    sodium.sodium_memzero(ed25519)
  }
  return x25519
}
