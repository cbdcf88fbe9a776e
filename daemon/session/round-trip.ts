import type { Milliseconds } from '../types.ts'

/** The first measurements have the two programs' warming up in them: of these the shortest counts. */
const FIRST = 4

/** Smoothed round trip time, as RFC 6298 section 2 does it, once it has settled. */
export class RoundTrip {
  #smoothed: Milliseconds | undefined
  #samples = 0

  get smoothed(): Milliseconds | undefined {
    return this.#smoothed
  }

  add(sample: Milliseconds): void {
    this.#samples++
    if (this.#smoothed === undefined) this.#smoothed = sample
    else if (this.#samples <= FIRST) this.#smoothed = Math.min(this.#smoothed, sample)
    else this.#smoothed += (sample - this.#smoothed) / 8
  }
}
