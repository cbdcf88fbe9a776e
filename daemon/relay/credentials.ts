import { createHmac } from 'node:crypto'
import { isPeerId } from '../identity/peer-id.ts'
import { userhash } from '../nat/stun/attributes.ts'
import type { Milliseconds, PeerId, UnixMilliseconds } from '../types.ts'

const HOUR: Milliseconds = 3_600_000
const DAY = 24 * HOUR
/** How long credentials may be asked to be good, and how long they may be at most: their last day is a whole one. */
export const MAX_LIFETIME = 31 * DAY
export const LONGEST_LIFE = MAX_LIFETIME + DAY
/** Peers whose hashed names are known. */
const MAX_HASHED = 256

/** Time-limited credentials of the relay (the TURN REST scheme). */
export interface RelayCredentials {
  /** `EXPIRY:PEER`, the expiry in seconds since 1970. */
  readonly username: string
  readonly password: string
  readonly expires: UnixMilliseconds
}

/** Whom a user name is for, and what it may be proven with. */
export interface KnownUser {
  readonly peer: PeerId
  readonly username: string
  /** With the secret there is, and with the one before. */
  readonly passwords: readonly string[]
}

interface CredentialBookOptions {
  readonly realm: string
  /** The secret, and the one before, where there was one. */
  readonly secrets: () => readonly Buffer[]
  readonly wall: () => UnixMilliseconds
  readonly trusted: () => readonly PeerId[]
}

/**
 * Credentials that nobody need remember: the name says until when it is good and whose it is, and the password follows from it by a secret
 * that never leaves this host. Expiries are whole hours, of long-lived ones whole days, so that hashed names (RFC 8489 section 14.4) can be
 * told: there are not many.
 */
export class CredentialBook {
  readonly #options: CredentialBookOptions
  readonly #hashed = new Map<string, string>()
  #hashedFor = ''

  constructor(options: CredentialBookOptions) {
    this.#options = options
  }

  /** Credentials that are good for `lifetime` at least, 31 days at most; undefined while there is no secret. */
  issue(peer: PeerId, lifetime: Milliseconds): RelayCredentials | undefined {
    const [secret] = this.#options.secrets()
    if (!secret) return undefined
    const expires = expiry(this.#options.wall(), Math.min(lifetime, MAX_LIFETIME))
    const username = nameOf(peer, expires)
    return { username, password: passwordOf(username, secret), expires }
  }

  /** The user of a name that is not over. */
  byName(username: string): KnownUser | undefined {
    const [, seconds, peer = ''] = /^(\d{1,12}):([a-z2-7]{52})$/.exec(username) ?? []
    if (!isPeerId(peer) || Number(seconds) * 1000 <= this.#options.wall()) return undefined
    return { peer, username, passwords: this.#options.secrets().map((secret) => passwordOf(username, secret)) }
  }

  /** The user of a hashed name: one that could have been issued to a trusted peer. */
  byHash(hash: Buffer): KnownUser | undefined {
    this.#hash()
    const username = this.#hashed.get(hash.toString('latin1'))
    return username === undefined ? undefined : this.byName(username)
  }

  /** Once in an hour, and when others are trusted; not for each request. */
  #hash(): void {
    const { wall, trusted, realm } = this.#options
    const now = wall()
    const peers = trusted().slice(0, MAX_HASHED)
    const stamp = `${Math.floor(now / HOUR)} ${peers.join()}`
    if (stamp === this.#hashedFor) return
    this.#hashedFor = stamp
    this.#hashed.clear()
    const expiries = new Set<UnixMilliseconds>()
    for (let lifetime = 0; lifetime <= DAY; lifetime += HOUR) expiries.add(expiry(now, lifetime))
    // One more: what was issued in the hour that began just now.
    expiries.add(expiry(now + HOUR, DAY))
    for (let lifetime = DAY + 1; lifetime <= LONGEST_LIFE; lifetime += DAY) expiries.add(expiry(now, lifetime))
    for (const peer of peers)
      for (const expires of expiries) {
        const username = nameOf(peer, expires)
        this.#hashed.set(userhash(username, realm).toString('latin1'), username)
      }
  }
}

function expiry(now: UnixMilliseconds, lifetime: Milliseconds): UnixMilliseconds {
  const step = lifetime <= DAY ? HOUR : DAY
  return Math.ceil((now + lifetime) / step) * step
}

function nameOf(peer: PeerId, expires: UnixMilliseconds): string {
  return `${expires / 1000}:${peer}`
}

/** HMAC-SHA1 in base64, as coturn, Prosody and all who speak the scheme have it. */
function passwordOf(username: string, secret: Buffer): string {
  return createHmac('sha1', secret).update(username).digest('base64')
}
