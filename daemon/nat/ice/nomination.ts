import type { Milliseconds } from '../../types.ts'
import type { CandidatePair } from './candidate-pair.ts'

const MAX = 0xffff_ffff

/**
 * Which pair the controlling side uses, by numbered nominations (draft-thatcher-ice-renomination): each may be replaced by a later one, and
 * one that comes late changes nothing.
 */
export class Nomination {
  #own = 0
  #highest = 0
  #pair: CandidatePair | undefined

  /** The pair that was nominated last, by us or by the peer. */
  get pair(): CandidatePair | undefined {
    return this.#pair
  }

  /** The number that checks of our nominated pair carry. */
  get number(): number {
    return this.#own
  }

  /** We, controlling, use this one from now on. */
  nominate(pair: CandidatePair): void {
    this.#own = Math.min(MAX, this.#own + 1)
    this.#pair = pair
  }

  /**
   * The peer, controlling, uses this one; false where it has said something else since. What it said already counts where the pair does not
   * work any more: a NAT gave the peer another address then.
   */
  heard(number: number, pair: CandidatePair, now: Milliseconds): boolean {
    const isMoved = number === this.#highest && pair !== this.#pair && !this.#pair?.isUsable(now)
    if (number <= this.#highest && !isMoved) return false
    this.#highest = number
    this.#pair = pair
    return true
  }

  /** Nothing is nominated; `isNewPeer`: its numbers begin again. */
  forget(isNewPeer: boolean): void {
    this.#pair = undefined
    if (isNewPeer) this.#highest = 0
  }

  /** A pair is there no more. */
  drop(pair: CandidatePair): void {
    if (this.#pair === pair) this.#pair = undefined
  }
}
