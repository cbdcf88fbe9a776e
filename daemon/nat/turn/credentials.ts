import { longTermKey, userhash } from '../stun/attributes.ts'
import type { IntegrityAlgorithm, StunMessage, StunWriter } from '../stun/message.ts'
import { ATTRIBUTE } from '../stun/registry.ts'
import { FEATURE, NONCE_COOKIE, PASSWORD_ALGORITHMS } from '../stun/security-features.ts'

const MAX_TEXT = 763

/** What a server's challenge means for whoever answers it; `refused`: it must not be answered, and why. */
type Challenge = { readonly kind: 'answer' } | { readonly kind: 'refused'; readonly reason: string }

/** What was learnt from the server's last challenge. */
interface Known {
  readonly realm: string
  readonly nonce: Buffer
  readonly key: Buffer
  readonly integrity: IntegrityAlgorithm
  /** PASSWORD-ALGORITHMS, returned as they came, and the one of them that is used. */
  readonly algorithms?: { readonly offered: Buffer; readonly chosen: Buffer }
  readonly anonymous: boolean
}

/** Proves who we are to one TURN server, by long-term credentials (RFC 8489 section 9.2). */
export class LongTermCredentials {
  readonly #username: string
  readonly #password: string
  #known: Known | undefined

  constructor(username: string, password: string) {
    this.#username = username
    this.#password = password
  }

  /** True when requests can be protected. */
  get isReady(): boolean {
    return this.#known !== undefined
  }

  /** The nonce in use; what was sent with another one may be sent again. */
  get nonce(): Buffer | undefined {
    return this.#known?.nonce
  }

  /** Takes realm and nonce from an answer 401 or 438. */
  challenged(message: StunMessage): Challenge {
    const realm = message.get(ATTRIBUTE.realm)?.toString('utf8') ?? this.#known?.realm
    const nonce = message.get(ATTRIBUTE.nonce)
    if (realm === undefined || !nonce || nonce.length > MAX_TEXT || Buffer.byteLength(realm) > MAX_TEXT)
      return refused('the server asks for a name and a password without saying for what (no realm or nonce)')
    if (this.#username === '') return refused('the server wants a user name and a password, and none are set')
    // A challenge that leads off to another realm would have us prove ourselves to whoever sent it.
    if (this.#known && this.#known.realm !== realm) return refused('the server changed its realm')
    const features = featuresOf(nonce)
    const offered = message.get(ATTRIBUTE.passwordAlgorithms) ?? this.#known?.algorithms?.offered
    // Somebody on the way took them out, to have the weaker algorithm used (RFC 8489 section 9.2.5).
    if ((features & FEATURE.passwordAlgorithms) !== 0 && !offered)
      return refused('the answer of the server was tampered with (password algorithms)')
    const chosen = offered && choose(offered)
    if (offered && !chosen) return refused('the server wants a password algorithm that is not known')
    const digest = chosen?.readUInt16BE(0) === PASSWORD_ALGORITHMS.sha256 ? 'sha256' : 'md5'
    this.#known = {
      realm,
      nonce: Buffer.from(nonce),
      key: longTermKey(digest, this.#username, realm, this.#password),
      integrity: offered ? 'sha256' : 'sha1',
      ...(offered && chosen && { algorithms: { offered: Buffer.from(offered), chosen } }),
      anonymous: (features & FEATURE.usernameAnonymity) !== 0,
    }
    return { kind: 'answer' }
  }

  /** Finishes a request; without a challenge so far it goes unprotected. */
  sign(writer: StunWriter): Buffer {
    const known = this.#known
    if (!known) return writer.finish()
    const { realm, nonce, key, integrity, algorithms, anonymous } = known
    if (anonymous) writer.add(ATTRIBUTE.userhash, userhash(this.#username, realm))
    else writer.add(ATTRIBUTE.username, this.#username)
    writer.add(ATTRIBUTE.realm, realm).add(ATTRIBUTE.nonce, nonce)
    if (algorithms)
      writer.add(ATTRIBUTE.passwordAlgorithms, algorithms.offered).add(ATTRIBUTE.passwordAlgorithm, algorithms.chosen)
    return writer.finish({ integrity: { [integrity]: key } })
  }

  /** True for an answer that nobody but the server can have written; before the first challenge nothing is. */
  isAuthentic(message: StunMessage): boolean {
    return this.#known !== undefined && message.isAuthentic(this.#known.key, this.#known.integrity)
  }
}

function refused(reason: string): Challenge {
  return { kind: 'refused', reason }
}

function featuresOf(nonce: Buffer): number {
  const text = nonce.toString('latin1')
  const encoded = text.slice(NONCE_COOKIE.length, NONCE_COOKIE.length + 4)
  if (!text.startsWith(NONCE_COOKIE) || !/^[A-Za-z0-9+/]{4}$/.test(encoded)) return 0
  return Buffer.from(encoded, 'base64').readUIntBE(0, 3)
}

/** The best of the algorithms offered that is known, as PASSWORD-ALGORITHM has it (RFC 8489 sections 14.11 and 14.12). */
function choose(offered: Buffer): Buffer | undefined {
  const known: readonly number[] = Object.values(PASSWORD_ALGORITHMS)
  let best: Buffer | undefined
  for (let at = 0; at + 4 <= offered.length; ) {
    const parameters = offered.readUInt16BE(at + 2)
    const number = offered.readUInt16BE(at)
    if (parameters === 0 && known.includes(number) && (!best || number > best.readUInt16BE(0)))
      best = Buffer.from(offered.subarray(at, at + 4))
    at += 4 + parameters + (-parameters & 3)
  }
  return best
}
