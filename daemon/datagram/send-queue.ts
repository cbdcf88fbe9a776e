import type { Milliseconds } from '../types.ts'

/** What may wait to leave. */
export interface QueueLimits {
  readonly bytes: number
  readonly messages: number
  /** How long a message waits that names no deadline. */
  readonly time: Milliseconds
}
export const QUEUE_LIMITS: QueueLimits = { bytes: 1024 * 1024, messages: 1024, time: 1000 }

/** A message on its way out; one that has begun to leave goes on whatever its deadline. */
export interface Outgoing {
  readonly bytes: Uint8Array
  readonly deadline: Milliseconds
  /** Number of a message in fragments, and the bytes of each; set when the first leaves. */
  number: number
  size: number
  index: number
}

/** Messages that wait for their turn, first come first served, within bounds. */
export class SendQueue {
  readonly #limits: QueueLimits
  readonly #waiting: Outgoing[] = []
  #bytes = 0

  constructor(limits: QueueLimits) {
    this.#limits = limits
  }

  /** Bytes that still wait. */
  get bytes(): number {
    return this.#bytes
  }

  get length(): number {
    return this.#waiting.length
  }

  get first(): Outgoing | undefined {
    return this.#waiting[0]
  }

  /** False where there is no room; an empty queue takes one of any size. */
  push(bytes: Uint8Array, deadline: Milliseconds): boolean {
    const isFull = this.#waiting.length >= this.#limits.messages || this.#bytes + bytes.length > this.#limits.bytes
    if (isFull && this.#waiting.length > 0) return false
    this.#waiting.push({ bytes, deadline, number: -1, size: 0, index: 0 })
    this.#bytes += bytes.length
    return true
  }

  /** The next fragment of the first is gone; true when it was the last. */
  advance(first: Outgoing): boolean {
    const left = first.bytes.length - first.index * first.size
    this.#bytes -= Math.min(first.size, left)
    first.index++
    if (first.size < left) return false
    this.#waiting.shift()
    return true
  }

  /** Takes the first out, sent or not. */
  drop(): void {
    const first = this.#waiting.shift()
    if (first) this.#bytes -= first.bytes.length - first.index * first.size
  }

  /** Empties it; returns how many messages had not left. */
  clear(): number {
    const count = this.#waiting.length
    this.#waiting.length = 0
    this.#bytes = 0
    return count
  }
}
