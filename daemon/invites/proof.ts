import { createHmac, hkdfSync, timingSafeEqual } from 'node:crypto'
import type { Identity } from '../identity/key.ts'
import { keyFromPeerId } from '../identity/peer-id.ts'
import type { PeerId } from '../types.ts'

/** Bytes of an invitation's id, of its secret, and of a proof (HMAC-SHA256). */
export const ID_SIZE = 8
export const SECRET_SIZE = 16
export const PROOF_SIZE = 32

const SECRETS = Buffer.from('partyline invitation secrets 1\0')
const PROOF = Buffer.from('partyline join 1\0')

/** That one host holds a ticket of another: worth nothing to anybody else. */
export interface Proof {
  /** Of the invitation. */
  readonly id: string
  readonly proof: Uint8Array
}

/** What a joiner shows in the place of the secret: good for these two hosts only, so that nobody who sees it can use it. */
export function proofOf(secret: Uint8Array, joiner: PeerId, inviter: PeerId): Buffer {
  return createHmac('sha256', secret)
    .update(PROOF)
    .update(keyFromPeerId(joiner))
    .update(keyFromPeerId(inviter))
    .digest()
}

/**
 * The secrets of a host's invitations. Each is made of its id and the host's own key (HKDF, RFC 5869), so that no file holds any, and a proof
 * can be told from a guess even when its invitation is long forgotten.
 */
export class Secrets {
  readonly #self: PeerId
  readonly #key: Uint8Array

  constructor(identity: Identity) {
    this.#self = identity.peer
    // Ed25519 signs the same bytes the same way each time (RFC 8032), and this signature goes nowhere.
    this.#key = identity.sign(SECRETS)
  }

  of(id: string): Uint8Array {
    return new Uint8Array(hkdfSync('sha256', this.#key, id, 'partyline invitation', SECRET_SIZE))
  }

  /** True where the joiner knows the secret of what was, or could be, an invitation of this host. */
  isProof(joiner: PeerId, { id, proof }: Proof): boolean {
    const expected = proofOf(this.of(id), joiner, this.#self)
    return proof.length === expected.length && timingSafeEqual(expected, proof)
  }
}
