/** How far behind the newest a packet may be: a host numbers what it sends to all, so one that hears it sees gaps. */
const WINDOW = 1024n

/** Lets each sequence number pass once, in whichever order they come (RFC 4303 section 3.4.3). */
export class ReplayWindow {
  #highest: bigint
  /** Bit n: the number n below the highest was there. */
  #seen = 1n

  /** A window in which `first` has passed. */
  constructor(first: number) {
    this.#highest = BigInt(first)
  }

  /** False for a number that was there, or is too old to tell. */
  accept(sequence: number): boolean {
    const ahead = BigInt(sequence) - this.#highest
    if (ahead > 0n) {
      this.#seen = ahead >= WINDOW ? 1n : BigInt.asUintN(Number(WINDOW), this.#seen << ahead) | 1n
      this.#highest += ahead
      return true
    }
    if (-ahead >= WINDOW) return false
    const bit = 1n << -ahead
    if (this.#seen & bit) return false
    this.#seen |= bit
    return true
  }
}
