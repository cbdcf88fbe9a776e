/** Words of 32 bits in the ring. One is always being filled, so the window is 2,016 wide, whatever the highest number is. */
const WORDS = 64
const WIDTH = (WORDS - 1) * 32

/** Lets each number pass once, in whichever order they come (RFC 4303 section 3.4.3, as a ring of words: RFC 6479). At least 1,024 wide. */
export class ReplayWindow {
  #highest: number
  readonly #ring = new Uint32Array(WORDS)

  /** A window in which `first` has passed; without it, none has. */
  constructor(first?: number) {
    this.#highest = -1
    if (first !== undefined) this.accept(first)
  }

  /** The highest number that passed; -1 for none. */
  get highest(): number {
    return this.#highest
  }

  /** True for a number that passed already, or is too old to tell. Numbers above `Number.MAX_SAFE_INTEGER` are not for this. */
  seen(number: number): boolean {
    if (number > this.#highest) return false
    if (this.#highest - number >= WIDTH) return true
    return ((this.#ring[Math.floor(number / 32) % WORDS] ?? 0) & (1 << (number % 32))) !== 0
  }

  /** False for a number that was there, or is too old to tell. */
  accept(number: number): boolean {
    if (this.seen(number)) return false
    const word = Math.floor(number / 32)
    if (number > this.#highest) {
      const top = this.#highest < 0 ? -1 : Math.floor(this.#highest / 32)
      if (word - top >= WORDS) this.#ring.fill(0)
      else for (let next = top + 1; next <= word; next++) this.#ring[next % WORDS] = 0
      this.#highest = number
    }
    const index = word % WORDS
    this.#ring[index] = (this.#ring[index] ?? 0) | (1 << (number % 32))
    return true
  }
}
