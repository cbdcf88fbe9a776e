import { createHmac, timingSafeEqual } from 'node:crypto'
import { FEATURE, NONCE_COOKIE } from '../nat/stun/security-features.ts'
import type { Milliseconds } from '../types.ts'

/** RFC 8656 section 5 recommends an hour. */
const LIFETIME: Milliseconds = 3_600_000
const TIME = 4
const PROOF = 8

const FEATURES = Buffer.alloc(3)
FEATURES.writeUIntBE(FEATURE.passwordAlgorithms | FEATURE.usernameAnonymity, 0, 3)
const PREFIX = `${NONCE_COOKIE}${FEATURES.toString('base64')}`

/**
 * Nonces that the server need not remember (RFC 8489 section 9.2): each says until when it is good, and proves that this server made it for
 * this very client. Whoever has one gets what is sent to its address.
 */
export class Nonces {
  readonly #key: Buffer

  /** `key`: 32 random bytes, others at each start. */
  constructor(key: Buffer) {
    this.#key = key
  }

  /** `client`: the key of the 5-tuple. */
  make(client: string, now: Milliseconds): string {
    const until = Buffer.alloc(TIME)
    until.writeUInt32BE(Math.floor((now + LIFETIME) / 1000))
    return PREFIX + Buffer.concat([until, this.#prove(until, client)]).toString('base64url')
  }

  /** True for one that was made for this client and is not too old. */
  isGood(nonce: Buffer, client: string, now: Milliseconds): boolean {
    const text = nonce.toString('latin1')
    if (!text.startsWith(PREFIX)) return false
    const rest = Buffer.from(text.slice(PREFIX.length), 'base64url')
    if (rest.length !== TIME + PROOF) return false
    const until = rest.subarray(0, TIME)
    if (!timingSafeEqual(this.#prove(until, client), rest.subarray(TIME))) return false
    return now < until.readUInt32BE() * 1000
  }

  #prove(until: Buffer, client: string): Buffer {
    return createHmac('sha256', this.#key).update(until).update(client).digest().subarray(0, PROOF)
  }
}
