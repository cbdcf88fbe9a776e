import { createHmac, timingSafeEqual } from 'node:crypto'
import { crc32 } from 'node:zlib'
import { PartylineError } from '../../errors.ts'
import { ATTRIBUTE } from './registry.ts'

export const HEADER = 20
export const TRANSACTION = 12
const MAGIC_COOKIE = 0x2112a442
/** XORed onto the CRC-32 of FINGERPRINT (RFC 8489 section 14.7). */
const FINGERPRINT_XOR = 0x5354554e
const FINGERPRINT_SIZE = 8
/** Attributes that a message may have; no message of any RFC comes near. */
const MAX_ATTRIBUTES = 64

export type StunClass = 'request' | 'indication' | 'success' | 'error'
const CLASSES: readonly StunClass[] = ['request', 'indication', 'success', 'error']

/** How integrity is protected: MESSAGE-INTEGRITY (HMAC-SHA1) or MESSAGE-INTEGRITY-SHA256. */
export type IntegrityAlgorithm = 'sha1' | 'sha256'
const INTEGRITY = {
  sha1: { type: ATTRIBUTE.messageIntegrity, size: 20, least: 20 },
  sha256: { type: ATTRIBUTE.messageIntegritySha256, size: 32, least: 16 },
} as const

interface Attribute {
  readonly type: number
  readonly value: Buffer
  /** Where its header begins in the message. */
  readonly at: number
}

/** A STUN message as it arrived (RFC 8489 section 5). Values are views of the packet. */
export class StunMessage {
  readonly class: StunClass
  /** 12 bits. */
  readonly method: number
  /** 12 bytes. */
  readonly transaction: Buffer
  /** What counts: attributes behind an integrity attribute, but for a stronger one and FINGERPRINT, are left out (section 14.5). */
  readonly attributes: readonly Attribute[]
  readonly #packet: Buffer

  private constructor(packet: Buffer, attributes: readonly Attribute[]) {
    const type = packet.readUInt16BE(0)
    this.class = CLASSES[((type >> 7) & 2) | ((type >> 4) & 1)] as StunClass
    this.method = (type & 0xf) | ((type >> 1) & 0x70) | ((type >> 2) & 0xf80)
    this.transaction = packet.subarray(8, HEADER)
    this.attributes = attributes
    this.#packet = packet
  }

  /** Throws `peer.malformed` for what is no STUN message, or has a FINGERPRINT that is wrong. */
  static decode(packet: Buffer): StunMessage {
    if (packet.length < HEADER || (packet[0] as number) > 3 || packet.readUInt32BE(4) !== MAGIC_COOKIE)
      throw new PartylineError('peer.malformed', 'not a STUN message')
    const length = packet.readUInt16BE(2)
    if (length % 4 !== 0 || HEADER + length !== packet.length)
      throw new PartylineError('peer.malformed', 'a STUN message of another length than it says')
    return new StunMessage(packet, readAttributes(packet))
  }

  /** The value of the first attribute of a type. */
  get(type: number): Buffer | undefined {
    return this.attributes.find((one) => one.type === type)?.value
  }

  all(type: number): readonly Buffer[] {
    return this.attributes.filter((one) => one.type === type).map(({ value }) => value)
  }

  has(type: number): boolean {
    return this.get(type) !== undefined
  }

  /** The strongest protection it claims to have. */
  get integrity(): IntegrityAlgorithm | undefined {
    if (this.has(ATTRIBUTE.messageIntegritySha256)) return 'sha256'
    return this.has(ATTRIBUTE.messageIntegrity) ? 'sha1' : undefined
  }

  /** True when it is protected with this key by this algorithm. */
  isAuthentic(key: Uint8Array, algorithm: IntegrityAlgorithm): boolean {
    const { type, size, least } = INTEGRITY[algorithm]
    const attribute = this.attributes.find((one) => one.type === type)
    if (!attribute) return false
    const { value, at } = attribute
    if (value.length < least || value.length > size || value.length % 4 !== 0) return false
    const hmac = integrityOf(this.#packet.subarray(0, at), key, algorithm, value.length)
    return timingSafeEqual(hmac, value)
  }
}

function readAttributes(packet: Buffer): Attribute[] {
  const attributes: Attribute[] = []
  let protectedBy: IntegrityAlgorithm | undefined
  for (let at = HEADER; at < packet.length; ) {
    const type = packet.readUInt16BE(at)
    const length = packet.readUInt16BE(at + 2)
    const end = at + 4 + length
    if (end > packet.length || attributes.length === MAX_ATTRIBUTES)
      throw new PartylineError('peer.malformed', 'a STUN message with too much in it')
    const value = packet.subarray(at + 4, end)
    const next = end + (-length & 3)
    if (type === ATTRIBUTE.fingerprint) checkFingerprint(packet, at, value, next)
    const counts =
      protectedBy === undefined ||
      type === ATTRIBUTE.fingerprint ||
      (protectedBy === 'sha1' && type === ATTRIBUTE.messageIntegritySha256)
    if (counts) attributes.push({ type, value, at })
    if (counts && type === ATTRIBUTE.messageIntegrity) protectedBy = 'sha1'
    if (counts && type === ATTRIBUTE.messageIntegritySha256) protectedBy = 'sha256'
    at = next
  }
  return attributes
}

function checkFingerprint(packet: Buffer, at: number, value: Buffer, next: number): void {
  const isRight = value.length === 4 && next === packet.length && value.readUInt32BE() === fingerprintOf(packet, at)
  if (!isRight) throw new PartylineError('peer.malformed', 'a STUN message with a wrong fingerprint')
}

/** The fingerprint of the first `end` bytes, whose header says already how long the message is with it. */
function fingerprintOf(packet: Buffer, end: number): number {
  return (crc32(packet.subarray(0, end)) ^ FINGERPRINT_XOR) >>> 0
}

/** HMAC of a message up to its integrity attribute, whose value has `size` bytes. */
function integrityOf(before: Buffer, key: Uint8Array, algorithm: IntegrityAlgorithm, size: number): Buffer {
  const header = Buffer.from(before.subarray(0, 4))
  // Counted as if the integrity attribute were the last one (RFC 8489 section 14.5).
  header.writeUInt16BE(before.length - HEADER + 4 + size, 2)
  return createHmac(algorithm, key).update(header).update(before.subarray(4)).digest().subarray(0, size)
}

/** How a message that is written is protected. */
interface Finish {
  /** One or both algorithms, each with its key; SHA-1 goes first. */
  readonly integrity?: Readonly<Partial<Record<IntegrityAlgorithm, Uint8Array>>>
  /** Default true. */
  readonly fingerprint?: boolean
}

/** Writes a STUN message, attribute by attribute. */
export class StunWriter {
  readonly #parts: Buffer[] = []
  readonly #header = Buffer.alloc(HEADER)
  #length = 0

  /** `transaction`: 12 random bytes, or those of the request that is answered. */
  constructor(kind: StunClass, method: number, transaction: Uint8Array) {
    if (transaction.length !== TRANSACTION) throw new RangeError(`a transaction id has ${TRANSACTION} bytes`)
    const index = CLASSES.indexOf(kind)
    const bits = (method & 0xf) | ((method & 0x70) << 1) | ((method & 0xf80) << 2)
    this.#header.writeUInt16BE(bits | ((index & 2) << 7) | ((index & 1) << 4), 0)
    this.#header.writeUInt32BE(MAGIC_COOKIE, 4)
    this.#header.set(transaction, 8)
  }

  /** Bytes so far, the header included. */
  get size(): number {
    return HEADER + this.#length
  }

  /** Adds an attribute; a number is written as 32 bits, text as UTF-8. */
  add(type: number, value: Uint8Array | string | number = NOTHING): this {
    const bytes = typeof value === 'number' ? uint32(value) : typeof value === 'string' ? Buffer.from(value) : value
    const attribute = Buffer.alloc(4 + bytes.length + (-bytes.length & 3))
    attribute.writeUInt16BE(type, 0)
    attribute.writeUInt16BE(bytes.length, 2)
    attribute.set(bytes, 4)
    this.#parts.push(attribute)
    this.#length += attribute.length
    return this
  }

  /** The whole message. */
  finish({ integrity = {}, fingerprint = true }: Finish = {}): Buffer {
    for (const algorithm of ['sha1', 'sha256'] as const) {
      const key = integrity[algorithm]
      if (!key) continue
      const { type, size } = INTEGRITY[algorithm]
      this.add(type, integrityOf(this.#bytes(), key, algorithm, size))
    }
    if (!fingerprint) return this.#bytes()
    this.#length += FINGERPRINT_SIZE
    const before = this.#bytes()
    this.#length -= FINGERPRINT_SIZE
    this.add(ATTRIBUTE.fingerprint, fingerprintOf(before, before.length))
    return this.#bytes()
  }

  #bytes(): Buffer {
    this.#header.writeUInt16BE(this.#length, 2)
    return Buffer.concat([this.#header, ...this.#parts])
  }
}

const NOTHING = Buffer.alloc(0)

function uint32(value: number): Buffer {
  const bytes = Buffer.alloc(4)
  bytes.writeUInt32BE(value)
  return bytes
}
