import { ReplayWindow } from '../replay-window.ts'
import { MAX_MESSAGE } from '../session/session.ts'
import type { Milliseconds } from '../types.ts'
import type { Fragment } from './frames.ts'

/** Largest message of a path: the largest of an app, and what the session writes before it. */
export const MAX_DATAGRAM_MESSAGE = MAX_MESSAGE + 256
/** Smallest fragment but the last: bounds how many a message has. */
const MIN_FRAGMENT = 256

/** How much may be in pieces. */
export interface ReassemblyLimits {
  /** Of all messages in pieces together, as announced. */
  readonly bytes: number
  readonly messages: number
  /** How long a message may be in pieces; longer than the largest takes at the lowest rate. */
  readonly age: Milliseconds
}
export const REASSEMBLY_LIMITS: ReassemblyLimits = { bytes: 2 * 1024 * 1024, messages: 64, age: 6000 }

interface Pieces {
  readonly data: Buffer
  readonly size: number
  readonly has: Uint8Array
  missing: number
  readonly since: Milliseconds
}

/** Puts messages together again. Where there is no room, the oldest message gives way: of unreliable messages the latest counts. */
export class Reassembly {
  readonly #limits: ReassemblyLimits
  /** In the order of their first fragments. */
  readonly #inPieces = new Map<number, Pieces>()
  /** Messages that are complete or given up: what still comes of them is ignored. */
  readonly #done = new ReplayWindow()
  #bytes = 0

  constructor(limits: ReassemblyLimits = REASSEMBLY_LIMITS) {
    this.#limits = limits
  }

  /** Announced bytes of messages in pieces. */
  get bytes(): number {
    return this.#bytes
  }

  get messages(): number {
    return this.#inPieces.size
  }

  /** When the next message in pieces is given up. */
  get deadline(): Milliseconds {
    if (this.#inPieces.size === 0) return Number.POSITIVE_INFINITY
    for (const pieces of this.#inPieces.values()) return pieces.since + this.#limits.age
    return Number.POSITIVE_INFINITY
  }

  /** Returns the message when this piece completes it; `malformed` for what no honest sender sends. */
  add(fragment: Fragment, now: Milliseconds): Buffer | 'malformed' | undefined {
    const { message, length, size, index, data } = fragment
    if (length < 1 || length > MAX_DATAGRAM_MESSAGE || size < MIN_FRAGMENT) return 'malformed'
    if (index * size >= length || data.length !== Math.min(size, length - index * size)) return 'malformed'
    if (this.#done.seen(message)) return undefined
    const pieces = this.#inPieces.get(message) ?? this.#begin(message, length, size, now)
    if (!pieces) return undefined
    if (pieces.data.length !== length || pieces.size !== size) return 'malformed'
    if (pieces.has[index]) return undefined
    pieces.has[index] = 1
    pieces.data.set(data, index * size)
    if (--pieces.missing > 0) return undefined
    this.#finish(message, pieces)
    return pieces.data
  }

  /** Gives up what has been in pieces for too long. */
  expire(now: Milliseconds): void {
    for (const [message, pieces] of this.#inPieces) {
      if (pieces.since + this.#limits.age > now) return
      this.#finish(message, pieces)
    }
  }

  #begin(message: number, length: number, size: number, now: Milliseconds): Pieces | undefined {
    while (this.#inPieces.size >= this.#limits.messages || this.#bytes + length > this.#limits.bytes) {
      const oldest = Math.min(...this.#inPieces.keys())
      const pieces = this.#inPieces.get(oldest)
      if (!pieces || oldest > message) return undefined
      this.#finish(oldest, pieces)
    }
    const count = Math.ceil(length / size)
    const pieces = { data: Buffer.allocUnsafe(length), size, has: new Uint8Array(count), missing: count, since: now }
    this.#inPieces.set(message, pieces)
    this.#bytes += length
    return pieces
  }

  #finish(message: number, pieces: Pieces): void {
    this.#inPieces.delete(message)
    this.#bytes -= pieces.data.length
    this.#done.accept(message)
  }
}
