import { longTermKey } from '../nat/stun/attributes.ts'
import type { IntegrityAlgorithm, StunMessage } from '../nat/stun/message.ts'
import { ATTRIBUTE, ERROR } from '../nat/stun/registry.ts'
import { PASSWORD_ALGORITHMS } from '../nat/stun/security-features.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import type { CredentialBook, KnownUser } from './credentials.ts'
import type { Nonces } from './nonces.ts'

/** PASSWORD-ALGORITHMS (RFC 8489 section 14.11), the best first. */
export const OFFERED_ALGORITHMS = Buffer.from([0, PASSWORD_ALGORITHMS.sha256, 0, 0, 0, PASSWORD_ALGORITHMS.md5, 0, 0])

/** Longest name that is looked at, in bytes: those handed out have 65 at most. */
const MAX_NAME = 128

/** What a request proves. */
export type Proof =
  | {
      readonly kind: 'user'
      readonly peer: PeerId
      /** What the answer is protected with: the same as the request. */
      readonly integrity: Readonly<Partial<Record<IntegrityAlgorithm, Buffer>>>
    }
  /** It claims nothing that is worth a look: no protection, or a nonce that is not good. */
  | { readonly kind: 'challenge'; readonly code: number }
  /** It is wrong; the client had a good nonce, so it is where it says. */
  | { readonly kind: 'refused'; readonly code: number }

/** Long-term credentials (RFC 8489 section 9.2.4), with what came before (RFC 5389) as well. */
export class Authenticator {
  readonly #realm: string
  readonly #nonces: Nonces
  readonly #book: CredentialBook

  constructor(realm: string, nonces: Nonces, book: CredentialBook) {
    this.#realm = realm
    this.#nonces = nonces
    this.#book = book
  }

  /**
   * First what costs nothing: whoever has no good nonce is sent one, and whatever else is wrong is not looked at. That is another order
   * than the RFC's, which has the password checked first; clients cannot tell, as they come back with the new nonce.
   */
  check(message: StunMessage, client: string, now: Milliseconds): Proof {
    const { integrity } = message
    if (!integrity) return { kind: 'challenge', code: ERROR.unauthenticated }
    const nonce = message.get(ATTRIBUTE.nonce)
    if (nonce && !this.#nonces.isGood(nonce, client, now)) return { kind: 'challenge', code: ERROR.staleNonce }
    const name = message.get(ATTRIBUTE.username) ?? message.get(ATTRIBUTE.userhash)
    const realm = message.get(ATTRIBUTE.realm)
    if (!nonce || !name || !realm) return { kind: nonce ? 'refused' : 'challenge', code: ERROR.badRequest }
    const digest = digestOf(message)
    if (!digest) return { kind: 'refused', code: ERROR.badRequest }
    const user = realm.toString() === this.#realm ? this.#userOf(message) : undefined
    const key = user && this.#keyOf(message, user, digest, integrity)
    if (!user || !key) return { kind: 'refused', code: ERROR.unauthenticated }
    return { kind: 'user', peer: user.peer, integrity: { [integrity]: key } }
  }

  #userOf(message: StunMessage): KnownUser | undefined {
    const name = message.get(ATTRIBUTE.username)
    if (name) return name.length <= MAX_NAME ? this.#book.byName(name.toString('latin1')) : undefined
    return this.#book.byHash(message.get(ATTRIBUTE.userhash) ?? Buffer.alloc(0))
  }

  #keyOf(
    message: StunMessage,
    { username, passwords }: KnownUser,
    digest: 'md5' | 'sha256',
    integrity: IntegrityAlgorithm,
  ): Buffer | undefined {
    return passwords
      .map((password) => longTermKey(digest, username, this.#realm, password))
      .find((key) => message.isAuthentic(key, integrity))
  }
}

/** How the client makes its key; undefined where it does not keep to what it was offered. */
function digestOf(message: StunMessage): 'md5' | 'sha256' | undefined {
  const offered = message.get(ATTRIBUTE.passwordAlgorithms)
  const chosen = message.get(ATTRIBUTE.passwordAlgorithm)
  if (!offered && !chosen) return 'md5'
  if (!offered?.equals(OFFERED_ALGORITHMS) || chosen?.length !== 4 || chosen.readUInt16BE(2) !== 0) return undefined
  const number = chosen.readUInt16BE(0)
  if (number === PASSWORD_ALGORITHMS.md5) return 'md5'
  return number === PASSWORD_ALGORITHMS.sha256 ? 'sha256' : undefined
}
