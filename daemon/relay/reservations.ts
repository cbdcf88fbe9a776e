import type { Milliseconds, PeerId } from '../types.ts'
import type { RelayPort } from './allocations.ts'

/** How long a port is kept (RFC 8656 section 7.2). */
const LIFETIME: Milliseconds = 30_000
const TOKEN = 8
/** Ports kept at a time. */
export const MAX_RESERVATIONS = 32

interface Reservation {
  readonly peer: PeerId
  readonly port: RelayPort
  readonly until: Milliseconds
}

/** Ports next to even ones, kept for whoever has asked for pairs (RESERVATION-TOKEN, RFC 8656 section 18.8). */
export class Reservations {
  readonly #reserved = new Map<string, Reservation>()
  readonly #random: (bytes: number) => Buffer

  constructor(random: (bytes: number) => Buffer) {
    this.#random = random
  }

  get isFull(): boolean {
    return this.#reserved.size >= MAX_RESERVATIONS
  }

  get deadline(): Milliseconds {
    let first = Number.POSITIVE_INFINITY
    for (const { until } of this.#reserved.values()) first = Math.min(first, until)
    return first
  }

  /** Keeps a port; returns its token. */
  keep(peer: PeerId, port: RelayPort, now: Milliseconds): Buffer {
    const token = this.#random(TOKEN)
    this.#reserved.set(token.toString('hex'), { peer, port, until: now + LIFETIME })
    return token
  }

  /** The port of a token, which is used up; undefined where the peer has none of that token. */
  take(token: Buffer, peer: PeerId, now: Milliseconds): RelayPort | undefined {
    const key = token.toString('hex')
    const found = this.#reserved.get(key)
    if (found?.peer !== peer || now >= found.until) return undefined
    this.#reserved.delete(key)
    return found.port
  }

  /** Closes ports that nobody came for, and those that `isUnwanted` picks. */
  sweep(now: Milliseconds, isUnwanted: (peer: PeerId, port: RelayPort) => boolean = () => false): void {
    for (const [key, { until, peer, port }] of [...this.#reserved]) {
      if (now < until && !isUnwanted(peer, port)) continue
      this.#reserved.delete(key)
      port.close()
    }
  }
}
