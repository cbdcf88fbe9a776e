import type { Milliseconds } from '../types.ts'

/** Packets kept, and the size of the largest that is. */
const KEPT = 8
const LARGEST = 1472
/** How long a beginning lasts, and how often packets are repeated in one. */
const BEGINNING: Milliseconds = 5000
const MAX_REPEATS = 12
/** So many are repeated after a move in any case: who only receives has nothing unacknowledged, but its sender waits for acknowledgements. */
const AFTER_MOVE = 3
const FIRST_PAUSE: Milliseconds = 50
const GROWTH = 1.5

/** How a stream does. */
interface Progress {
  /** Bytes sent and not acknowledged. */
  readonly inflight: number
  /** 0 while unknown. */
  readonly rtt: Milliseconds
}

/**
 * Repeats the newest packets of a stream where a path begins. UDX waits a second before it sends anything again that may have come before the
 * other end was there, and up to two seconds on a path that replaces a dead one. A packet that comes twice does no harm; one that comes on
 * the new path tells UDX at once, by its acknowledgement, what was lost on the old one.
 */
export class UdxRepeats {
  readonly #memory = Buffer.alloc(KEPT * LARGEST)
  readonly #packets: Buffer[] = []
  #next = 0
  #sentAt: Milliseconds = 0
  #until: Milliseconds = 0
  #due = Number.POSITIVE_INFINITY
  #pause = FIRST_PAUSE
  #repeats = 0
  #unconditional = 0

  /** When `tick` wants to be called. */
  get deadline(): Milliseconds {
    return this.#due
  }

  /** A path begins. After a move there may be packets that were sent on the path before. */
  begin(now: Milliseconds, isMove: boolean): void {
    this.#until = now + BEGINNING
    this.#pause = FIRST_PAUSE
    this.#repeats = 0
    this.#unconditional = isMove ? AFTER_MOVE : 0
    this.#due = isMove ? now : now + FIRST_PAUSE
  }

  /** A packet was sent; it is copied while it may be needed. */
  sent(packet: Buffer, now: Milliseconds): void {
    this.#sentAt = now
    if (packet.length > LARGEST) return
    const at = this.#next * LARGEST
    packet.copy(this.#memory, at)
    this.#packets[this.#next] = this.#memory.subarray(at, at + packet.length)
    this.#next = (this.#next + 1) % KEPT
  }

  /** The packets to send again now, the oldest first. */
  tick(now: Milliseconds, { inflight, rtt }: Progress): readonly Buffer[] {
    if (now < this.#due) return []
    if (now >= this.#until || this.#repeats >= MAX_REPEATS) {
      this.#due = Number.POSITIVE_INFINITY
      return []
    }
    const patience = Math.max(FIRST_PAUSE - 1, rtt * GROWTH)
    const isStuck = inflight > 0 && now - this.#sentAt >= patience
    if (this.#unconditional === 0 && !isStuck) {
      this.#due = now + Math.max(FIRST_PAUSE, inflight > 0 ? this.#sentAt + patience - now : 0)
      return []
    }
    this.#unconditional = Math.max(0, this.#unconditional - 1)
    this.#repeats++
    this.#due = now + Math.max(this.#pause, rtt)
    this.#pause *= GROWTH
    return [...this.#packets.slice(this.#next), ...this.#packets.slice(0, this.#next)]
  }
}
