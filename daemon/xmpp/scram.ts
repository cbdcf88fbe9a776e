import { createHash, createHmac, pbkdf2, randomBytes, timingSafeEqual } from 'node:crypto'
import { promisify } from 'node:util'
import { PartylineError } from '../errors.ts'

/** Rounds that a server may ask for: RFC 7677 wants 4,096 at least, and what is more than this only keeps the processor busy. */
const MIN_ITERATIONS = 4096
const MAX_ITERATIONS = 500_000
const NONCE_SIZE = 18
/** `n`: the client does not bind the channel; base64 of it in the last message. */
const GS2_HEADER = 'n,,'

const derive = promisify(pbkdf2)

/** What a mechanism is given; `response` is asked for first, and again after each challenge. */
interface Credentials {
  readonly username?: string | null
  readonly password?: string | null
}

/**
 * The client's side of SCRAM (RFC 5802, RFC 7677), as `saslmechanisms` has them. The package's own knows SHA-1 alone, and computes as many
 * rounds as a server asks for.
 */
export class ScramMechanism {
  readonly name: string
  readonly clientFirst = true
  readonly #hash: 'sha1' | 'sha256'
  readonly #nonce: string
  #first = ''
  #challenge: ReturnType<typeof parseChallenge> | undefined
  #challenged = ''
  #expected: Buffer | undefined

  constructor(name: 'SCRAM-SHA-1' | 'SCRAM-SHA-256', nonce = randomBytes(NONCE_SIZE).toString('base64')) {
    this.name = name
    this.#hash = name === 'SCRAM-SHA-1' ? 'sha1' : 'sha256'
    this.#nonce = nonce
  }

  /** What is to be sent next. Throws `peer.malformed` for a challenge that is none. */
  async response({ username, password }: Credentials): Promise<string> {
    if (!this.#challenge) {
      this.#first = `n=${escapeName(prepare(username ?? ''))},r=${this.#nonce}`
      return `${GS2_HEADER}${this.#first}`
    }
    const { nonce, salt, iterations } = this.#challenge
    if (!nonce.startsWith(this.#nonce) || nonce === this.#nonce) throw malformed('a nonce that is not ours')
    const size = this.#hash === 'sha1' ? 20 : 32
    const salted = await derive(prepare(password ?? ''), salt, iterations, size, this.#hash)
    const clientKey = this.#hmac(salted, 'Client Key')
    const storedKey = createHash(this.#hash).update(clientKey).digest()
    const last = `c=${Buffer.from(GS2_HEADER).toString('base64')},r=${nonce}`
    const message = `${this.#first},${this.#challenged},${last}`
    const signature = this.#hmac(storedKey, message)
    this.#expected = this.#hmac(this.#hmac(salted, 'Server Key'), message)
    const proof = Buffer.from(clientKey.map((byte, index) => byte ^ (signature[index] ?? 0)))
    return `${last},p=${proof.toString('base64')}`
  }

  challenge(text: string): void {
    this.#challenge = parseChallenge(text)
    this.#challenged = text
  }

  /** True where the last word of the server proves that it knows the password as well. */
  isProof(text: string): boolean {
    const [, given = ''] = /^v=([A-Za-z0-9+/]+={0,2})(?:,|$)/.exec(text) ?? []
    const signature = Buffer.from(given, 'base64')
    return this.#expected?.length === signature.length && timingSafeEqual(this.#expected, signature)
  }

  #hmac(key: Uint8Array, text: string): Buffer {
    return createHmac(this.#hash, key).update(text).digest()
  }
}

function parseChallenge(text: string): { nonce: string; salt: Buffer; iterations: number } {
  const [, nonce = '', salt = '', count = ''] =
    /^r=([\x21-\x2b\x2d-\x7e]{1,512}),s=([A-Za-z0-9+/]{1,512}={0,2}),i=([1-9]\d{0,9})(?:,|$)/.exec(text) ?? []
  const iterations = Number(count)
  if (nonce === '') throw malformed('a challenge that is none')
  if (iterations < MIN_ITERATIONS || iterations > MAX_ITERATIONS) throw malformed(`${iterations} rounds`)
  return { nonce, salt: Buffer.from(salt, 'base64'), iterations }
}

/** Spaces and compatibility characters as SASLprep has them (RFC 4013), of what people type. */
const prepare = (text: string): string =>
  text.replace(/[\u00a0\u1680\u2000-\u200b\u202f\u205f\u3000]/g, ' ').normalize('NFKC')

const escapeName = (name: string): string => name.replaceAll('=', '=3D').replaceAll(',', '=2C')

function malformed(what: string): PartylineError {
  return new PartylineError('peer.malformed', `the server's SCRAM has ${what}`)
}
