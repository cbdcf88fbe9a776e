import type { Milliseconds } from '../types.ts'
import { MAX_DATAGRAM_MESSAGE } from './fragments.ts'
import { FRAGMENT_OVERHEAD, MESSAGE_OVERHEAD, type PacketWriter } from './frames.ts'
import { type Outgoing, type QueueLimits, SendQueue } from './send-queue.ts'
import { type Delivered, SendRate } from './send-rate.ts'

/** What became of a message: it left; it waits its turn; there is no room, or no time until its deadline; no path is open. */
export type DatagramOutcome = 'sent' | 'queued' | 'dropped' | 'no-path'

/** Lets messages leave at the path's rate, in one packet or in fragments. */
export class MessageSender {
  readonly #writer: PacketWriter
  readonly #limits: QueueLimits
  readonly #queue: SendQueue
  /** Largest packet now. */
  readonly #size: () => number
  readonly #output: (packet: Buffer, now: Milliseconds) => void
  #rate: SendRate
  #message = 0
  #dropped = 0
  #at: Milliseconds = Number.POSITIVE_INFINITY

  constructor(
    writer: PacketWriter,
    limits: QueueLimits,
    size: () => number,
    output: (packet: Buffer, now: Milliseconds) => void,
    now: Milliseconds,
  ) {
    this.#writer = writer
    this.#limits = limits
    this.#queue = new SendQueue(limits)
    this.#size = size
    this.#output = output
    this.#rate = new SendRate(now)
  }

  /** When the next may leave; infinite while none waits. */
  get deadline(): Milliseconds {
    return this.#at
  }

  /** Bytes that wait. */
  get queued(): number {
    return this.#queue.bytes
  }

  /** Messages dropped before they left. */
  get dropped(): number {
    return this.#dropped
  }

  /** Bytes per second; undefined before anything was reported. */
  get capacity(): number | undefined {
    return this.#rate.capacity
  }

  send(message: Uint8Array, now: Milliseconds, latest: Milliseconds | undefined): DatagramOutcome {
    const isWhole = message.length + MESSAGE_OVERHEAD <= this.#size()
    if (isWhole && this.#queue.length === 0 && message.length > 0 && this.#rate.ready(now)) {
      this.#output(this.#writer.message(message), now)
      return 'sent'
    }
    const deadline = latest ?? now + this.#limits.time
    const isPossible = message.length > 0 && message.length <= MAX_DATAGRAM_MESSAGE
    const isLate = now + this.#rate.wait(now, this.#queue.bytes) > deadline
    if (!isPossible || isLate || !this.#queue.push(message, deadline)) {
      this.#dropped++
      return 'dropped'
    }
    this.drain(now)
    return this.#queue.length > 0 ? 'queued' : 'sent'
  }

  /** Lets go what may leave now, and drops what is too late. */
  drain(now: Milliseconds): void {
    for (let first = this.#queue.first; first; first = this.#queue.first) {
      if (first.size === 0 && first.deadline < now) this.#drop()
      else if (!this.#rate.ready(now)) break
      else this.#sendNext(first, now)
    }
    this.#at = this.#queue.length > 0 ? now + Math.max(1, this.#rate.wait(now)) : Number.POSITIVE_INFINITY
  }

  /** A packet has left, of messages or not. */
  spend(bytes: number): void {
    this.#rate.spend(bytes)
  }

  reported(delivered: Delivered): void {
    this.#rate.report(delivered)
  }

  /** Another path, of which nothing is known. */
  restart(now: Milliseconds): void {
    this.#rate = new SendRate(now)
  }

  /** Drops everything that waits. */
  clear(): void {
    this.#dropped += this.#queue.clear()
    this.#at = Number.POSITIVE_INFINITY
  }

  #drop(): void {
    this.#queue.drop()
    this.#dropped++
  }

  #sendNext(first: Outgoing, now: Milliseconds): void {
    const { bytes, index } = first
    if (first.size === 0 && bytes.length + MESSAGE_OVERHEAD <= this.#size()) {
      this.#queue.drop()
      this.#output(this.#writer.message(bytes), now)
      return
    }
    const room = this.#size() - FRAGMENT_OVERHEAD
    if (first.size === 0) {
      first.size = room
      first.number = this.#message++
    }
    // The path has become narrower: what is already out cannot be completed.
    if (first.size > room) return this.#drop()
    const packet = this.#writer.fragment(first.number, bytes, first.size, index)
    this.#queue.advance(first)
    this.#output(packet, now)
  }
}
