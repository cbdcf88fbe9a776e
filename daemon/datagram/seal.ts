/**
 * A sealed packet: 0xD0 with the key phase in the two lowest bits, the receiver's connection id (8 bytes), the packet's number
 * (8 bytes, big endian), and the content under ChaCha20-Poly1305 (RFC 8439) with what stands before it as additional data.
 * The nonce is the direction's iv xor the number, as in TLS 1.3 (RFC 8446 section 5.3).
 */
import sodium from 'sodium-native'
import { ReplayWindow } from '../replay-window.ts'
import type { Milliseconds } from '../types.ts'
import type { PacketKey } from './packet-key.ts'

/** First byte and mask that tell sealed packets from others on the port. */
const FIRST_BYTE = 0xd0
const PHASE_MASK = 0x03

export const CONNECTION_ID = 8
export const HEADER = 1 + CONNECTION_ID + 8
export const TAG = 16
/** What sealing adds to the content of a packet, in bytes. */
export const OVERHEAD = HEADER + TAG

/** Numbers stay exact as floating point: the high word of the highest one. */
const MAX_HIGH_WORD = 0x1fffff
/** How long packets of the phase before are still opened after a key change: reordering lasts no longer. */
const OLD_PHASE: Milliseconds = 3000

/** When a sender changes its key; far below what ChaCha20-Poly1305 allows (RFC 9001 section 6.6), forgeries that a receiver refuses included. */
export interface KeyLimits {
  readonly packets: number
  readonly age: Milliseconds
}
export const KEY_LIMITS: KeyLimits = { packets: 2 ** 30, age: 3_600_000 }

/** True for what may be a sealed packet, by its first byte. */
export function isSealed(packet: Uint8Array): boolean {
  return ((packet[0] ?? 0) & 0xf0) === FIRST_BYTE
}

/** The connection id of a packet (`at` 1) or one as bytes (`at` 0), as a key for a map. */
export function connectionKey(bytes: Buffer, at: 0 | 1 = 0): string {
  return bytes.toString('latin1', at, at + CONNECTION_ID)
}

/** Seals what one end sends. */
export class Sealer {
  readonly #limits: KeyLimits
  readonly #nonce = Buffer.alloc(12)
  #key: PacketKey
  #generation = 0
  /** First number under this key. */
  #first = 0
  #since: Milliseconds
  #number = 0
  #confirmed = -1
  #idHigh = 0
  #idLow = 0

  constructor(key: PacketKey, limits: KeyLimits, now: Milliseconds) {
    this.#key = key
    this.#limits = limits
    this.#since = now
  }

  /** The receiver's connection id, 8 bytes. */
  address(id: Buffer): void {
    this.#idHigh = id.readUInt32BE(0)
    this.#idLow = id.readUInt32BE(4)
  }

  /** The number that the next packet gets. */
  get next(): number {
    return this.#number
  }

  /** How often the key was changed. */
  get generation(): number {
    return this.#generation
  }

  /** The receiver has packet `number`, and so the key it was sealed with: without that no further key change, or it could not follow. */
  confirmed(number: number): void {
    if (number < this.#number && number > this.#confirmed) this.#confirmed = number
  }

  /** Seals a packet in place: its content stands between the room for header and tag. Returns its number. */
  seal(packet: Buffer, now: Milliseconds): number {
    const number = this.#number++
    const isUsedUp = number - this.#first >= this.#limits.packets || now - this.#since >= this.#limits.age
    if (isUsedUp && this.#confirmed >= this.#first) this.#changeKey(number, now)
    const high = Math.floor(number / 0x100000000)
    const low = number >>> 0
    packet[0] = FIRST_BYTE | (this.#generation & PHASE_MASK)
    packet.writeUInt32BE(this.#idHigh, 1)
    packet.writeUInt32BE(this.#idLow, 5)
    packet.writeUInt32BE(high, 9)
    packet.writeUInt32BE(low, 13)
    setNonce(this.#nonce, this.#key.iv, high, low)
    sodium.crypto_aead_chacha20poly1305_ietf_encrypt(
      packet.subarray(HEADER),
      packet.subarray(HEADER, packet.length - TAG),
      packet.subarray(0, HEADER),
      null,
      this.#nonce,
      this.#key.key,
    )
    return number
  }

  wipe(): void {
    this.#key.wipe()
  }

  #changeKey(number: number, now: Milliseconds): void {
    const old = this.#key
    this.#key = old.next()
    old.wipe()
    this.#generation++
    this.#first = number
    this.#since = now
  }
}

/** Why a packet was not opened: it is not for this receiver; it was there before, or is too old to tell; it is not what the sender sealed. */
export type Unopened = 'foreign' | 'replayed' | 'forged'

/** Opens what the other end sealed. */
export class Opener {
  readonly #nonce = Buffer.alloc(12)
  readonly #window = new ReplayWindow()
  readonly #idHigh: number
  readonly #idLow: number
  #generation = 0
  #current: PacketKey
  #next: PacketKey | undefined
  #previous: PacketKey | undefined
  #previousUntil: Milliseconds = 0

  /** `id`: the connection id by which the other end addresses us. */
  constructor(key: PacketKey, id: Buffer) {
    this.#current = key
    this.#idHigh = id.readUInt32BE(0)
    this.#idLow = id.readUInt32BE(4)
  }

  /** The highest number opened; -1 for none. */
  get highest(): number {
    return this.#window.highest
  }

  /** How often the sender changed its key. */
  get generation(): number {
    return this.#generation
  }

  /**
   * Opens a packet in place and returns its number: its content then stands between header and tag. What is forged is overwritten
   * with zeros. Nothing but an authentic packet of the next phase changes keys.
   */
  open(packet: Buffer, now: Milliseconds): number | Unopened {
    if (packet.length <= OVERHEAD) return 'foreign'
    const first = packet[0] ?? 0
    if ((first & ~PHASE_MASK) !== FIRST_BYTE) return 'foreign'
    if (packet.readUInt32BE(1) !== this.#idHigh || packet.readUInt32BE(5) !== this.#idLow) return 'foreign'
    const high = packet.readUInt32BE(9)
    if (high > MAX_HIGH_WORD) return 'forged'
    const low = packet.readUInt32BE(13)
    const number = high * 0x100000000 + low
    if (this.#window.seen(number)) return 'replayed'
    const key = this.#keyOf(first & PHASE_MASK, now)
    if (!key) return 'forged'
    setNonce(this.#nonce, key.iv, high, low)
    try {
      sodium.crypto_aead_chacha20poly1305_ietf_decrypt(
        packet.subarray(HEADER, packet.length - TAG),
        null,
        packet.subarray(HEADER),
        packet.subarray(0, HEADER),
        this.#nonce,
        key.key,
      )
    } catch {
      return 'forged'
    }
    this.#window.accept(number)
    if (key === this.#next) this.#follow(key, now)
    return number
  }

  wipe(): void {
    for (const key of [this.#current, this.#next, this.#previous]) key?.wipe()
  }

  #keyOf(phase: number, now: Milliseconds): PacketKey | undefined {
    if (phase === (this.#generation & PHASE_MASK)) return this.#current
    if (phase === ((this.#generation + 1) & PHASE_MASK)) {
      this.#next ??= this.#current.next()
      return this.#next
    }
    const isPrevious = phase === ((this.#generation + 3) & PHASE_MASK)
    return isPrevious && now < this.#previousUntil ? this.#previous : undefined
  }

  #follow(next: PacketKey, now: Milliseconds): void {
    this.#previous?.wipe()
    this.#previous = this.#current
    this.#previousUntil = now + OLD_PHASE
    this.#current = next
    this.#next = undefined
    this.#generation++
  }
}

function setNonce(nonce: Buffer, iv: Buffer, high: number, low: number): void {
  nonce.writeUInt32BE(iv.readUInt32BE(0), 0)
  nonce.writeUInt32BE((iv.readUInt32BE(4) ^ high) >>> 0, 4)
  nonce.writeUInt32BE((iv.readUInt32BE(8) ^ low) >>> 0, 8)
}
