import type { PeerId } from '../types.ts'

/** Senders whose round is remembered. */
export const MAX_SENDERS = 4096

/**
 * Which of a sender's signals still count after its clock was corrected. Each correction starts a round, and a signal tells which one its time
 * follows: 0 where that is the sender's own clock. Once a signal of a round was accepted, those of earlier rounds are void. Otherwise a signal
 * that was stamped an hour ahead, refused, and sent again with the right time could be replayed an hour later.
 */
export class Rounds {
  readonly #senders: number
  /** Rounds of an earlier process, whose numbers somebody may still use, are not between these two but by a rare accident. */
  readonly #base: number
  #last: number
  /** The least round that counts, the longest unused first; senders that never were corrected are absent. */
  readonly #least = new Map<PeerId, number>()
  #leastOfOthers = 0

  /** `base` is random, below 2^47; a round's number has 48 bits. */
  constructor(base: number, senders = MAX_SENDERS) {
    this.#base = base
    this.#last = base
    this.#senders = senders
  }

  /** The number of a new round. */
  next(): number {
    return ++this.#last
  }

  counts(peer: PeerId, round: number): boolean {
    if (round < (this.#least.get(peer) ?? this.#leastOfOthers)) return false
    return round === 0 || (round > this.#base && round <= this.#last)
  }

  /** A signal of this round was accepted. */
  accepted(peer: PeerId, round: number): void {
    if (round === 0) return
    this.#least.delete(peer)
    this.#least.set(peer, round)
    const [oldest] = this.#least
    if (this.#least.size <= this.#senders || !oldest) return
    this.#least.delete(oldest[0])
    this.#leastOfOthers = Math.max(this.#leastOfOthers, oldest[1])
  }
}
