/** Addresses at which the peer may be. Until one has returned a challenge, nothing but challenges goes there, few of them. */

import { isSameTransport, type TransportAddress } from '../nat/transport-address.ts'
import { TokenBucket } from '../token-bucket.ts'
import type { Milliseconds } from '../types.ts'
import { MIN_CHALLENGE } from './frames.ts'
import { BASE_PAYLOAD } from './mtu.ts'

/** Addresses that the link told. */
const MAX_NAMED = 8
/** Addresses that packets came from. */
const MAX_ROAMED = 4
/** An address that the link told is tried this often, then at growing intervals. */
const TRIES = 3
const INTERVAL: Milliseconds = 1000
const MAX_INTERVAL: Milliseconds = 30_000
/** To an address from which something came just now. */
const MIN_GAP: Milliseconds = 200
/** Bytes of challenges to an unproven address for each that came from there: three (RFC 9000 section 8), less one for what answers. */
const AMPLIFICATION = 2
/** Challenges to addresses from which nothing ever came, whatever lists the peer sends. */
const BLIND = { rate: 8, burst: 16 }
/** Challenges of which an answer still counts. */
const OUTSTANDING = 3

/** An address of the peer, true or not. */
export interface Candidate {
  readonly to: TransportAddress
  /** The link told it. */
  named: boolean
  /** It has returned a challenge. */
  proven: boolean
  /** It is to be challenged. */
  wanted: boolean
  /** It is to become the path, wherever packets come from. */
  preferred: boolean
  tries: number
  /** When to challenge it next, and when that was done last. */
  at: Milliseconds
  last: Milliseconds
  /** Bytes that came from there, and bytes of challenges that went there while it was not proven. */
  heard: number
  told: number
  heardAt: Milliseconds
  tokens: Buffer[]
}

/** The candidates of one path. */
export class Candidates {
  readonly #blind: TokenBucket
  #all: Candidate[] = []
  #current: Candidate | undefined
  #isMoving = false

  constructor(now: Milliseconds) {
    this.#blind = new TokenBucket(BLIND, now)
  }

  /** When the next challenge is due. */
  get deadline(): Milliseconds {
    let first = Number.POSITIVE_INFINITY
    for (const one of this.#all) if (one.wanted && one.at < first) first = one.at
    return first
  }

  /** How many are known: bounded, whatever is told and heard. */
  get count(): number {
    return this.#all.length
  }

  /** What the link told now: others that it told before and that never answered are forgotten. */
  name(addresses: readonly TransportAddress[], now: Milliseconds): void {
    for (const one of this.#all) one.named = false
    for (const to of addresses.slice(0, MAX_NAMED)) (this.#find(to) ?? this.#add(to, now)).named = true
    this.#all = this.#all.filter((one) => isTrusted(one) || one.heard > 0)
    this.#bound()
  }

  /** Challenges all of them again, as soon as the interval allows. */
  want(now: Milliseconds): void {
    for (const one of this.#all) {
      one.tries = 0
      one.wanted = true
      one.at = Math.max(now, one.last + INTERVAL)
    }
  }

  /** An authentic packet came from there, which makes it one to be challenged. */
  heard(from: TransportAddress, bytes: number, now: Milliseconds): void {
    const one = this.#find(from) ?? this.#add(from, now)
    this.#isMoving = true
    one.heard += bytes
    one.heardAt = now
    if (!one.wanted) one.tries = 0
    one.wanted = true
    one.at = Math.min(one.at, Math.max(now, one.last + MIN_GAP))
    this.#bound()
  }

  /** One of them, `to`, is to be challenged, whatever the others do. */
  prefer(to: TransportAddress, now: Milliseconds): void {
    const one = this.#find(to) ?? this.#add(to, now)
    for (const other of this.#all) other.preferred = other === one
    one.wanted = true
    one.tries = 0
    one.at = Math.max(now, one.last + MIN_GAP)
    this.#bound()
  }

  /** One of them, whoever else has proven it. */
  vouched(to: TransportAddress, now: Milliseconds): Candidate {
    const one = this.#find(to) ?? this.#add(to, now)
    one.proven = true
    return one
  }

  /** The one to challenge now, and the bytes that may go there. */
  due(now: Milliseconds): { candidate: Candidate; bytes: number } | undefined {
    for (const candidate of this.#all) {
      if (!candidate.wanted || candidate.at > now) continue
      const bytes = allowance(candidate)
      if (bytes < MIN_CHALLENGE) candidate.at = Number.POSITIVE_INFINITY
      else if (candidate.heard > 0 || candidate.proven || this.#blind.take(now)) return { candidate, bytes }
      else candidate.at = now + INTERVAL
    }
    return undefined
  }

  challenged(one: Candidate, token: Buffer, bytes: number, now: Milliseconds): void {
    one.tokens = [...one.tokens.slice(1 - OUTSTANDING), token]
    one.tries++
    one.last = now
    if (!one.proven) one.told += bytes
    const isGivenUp = !isTrusted(one) && one.tries >= TRIES
    const backOff = INTERVAL * 2 ** Math.max(0, one.tries - TRIES + 1)
    one.at = isGivenUp
      ? Number.POSITIVE_INFINITY
      : now + (one.tries < TRIES ? INTERVAL : Math.min(MAX_INTERVAL, backOff))
  }

  /** The one that returned a token, from the address that got it. */
  answered(token: Buffer, from: TransportAddress): Candidate | undefined {
    const one = this.#find(from)
    if (!one?.tokens.some((sent) => sent.equals(token))) return undefined
    one.proven = true
    one.tokens = []
    return one
  }

  /** One became the path; no other has to be challenged. */
  settle(current: Candidate): void {
    this.#current = current
    this.#bound()
    for (const one of this.#all) {
      one.wanted = false
      one.preferred = false
    }
  }

  /** The peer has not moved after all. */
  stay(): void {
    if (!this.#isMoving) return
    this.#isMoving = false
    for (const one of this.#all) if (!one.preferred) one.wanted = false
  }

  #find(to: TransportAddress): Candidate | undefined {
    return this.#all.find((one) => isSameTransport(one.to, to))
  }

  #add(to: TransportAddress, now: Milliseconds): Candidate {
    const never = Number.NEGATIVE_INFINITY
    const counters = { tries: 0, at: now, last: never, heard: 0, told: 0, heardAt: never }
    const one = { to: { ...to }, named: false, proven: false, wanted: false, preferred: false, ...counters, tokens: [] }
    this.#all.push(one)
    return one
  }

  /** Of those that nobody named the ones heard last stay, and the path. */
  #bound(): void {
    const others = this.#all.filter((one) => !one.named && !one.preferred && one !== this.#current)
    if (others.length <= MAX_ROAMED) return
    const oldest = others.reduce((a, b) => (b.heardAt < a.heardAt ? b : a))
    this.#all = this.#all.filter((one) => one !== oldest)
    this.#bound()
  }
}

/** The link or the route vouches for it, or it has proven itself: it is tried without a packet from there. */
function isTrusted({ named, preferred, proven }: Candidate): boolean {
  return named || preferred || proven
}

function allowance(one: Candidate): number {
  return isTrusted(one) ? BASE_PAYLOAD : Math.min(BASE_PAYLOAD, AMPLIFICATION * one.heard - one.told)
}
