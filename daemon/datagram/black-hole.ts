/** So many packets above the base have to vanish. */
const ENOUGH = 4

/** Notices that packets above the base vanish although smaller ones arrive (RFC 8899 section 4.3), from what the other end reports. */
export class BlackHoleDetector {
  readonly #base: number
  #large = 0
  /** The packet by which enough large ones had left. */
  #number = Number.POSITIVE_INFINITY

  constructor(base: number) {
    this.#base = base
  }

  left(number: number, size: number): void {
    if (size > this.#base && ++this.#large === ENOUGH) this.#number = number
  }

  /** True when the other end has packets from after the large ones, and none of them: `largest` is the largest since its last report. */
  reported(highest: number, largest: number): boolean {
    const isHole = largest <= this.#base && highest >= this.#number
    if (isHole || largest > this.#base) this.reset()
    return isHole
  }

  reset(): void {
    this.#large = 0
    this.#number = Number.POSITIVE_INFINITY
  }
}
