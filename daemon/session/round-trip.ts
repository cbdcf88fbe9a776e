import type { Milliseconds } from '../types.ts'

/** Smoothed round trip time, as RFC 6298 section 2 does it. */
export class RoundTrip {
  #smoothed: Milliseconds | undefined

  get smoothed(): Milliseconds | undefined {
    return this.#smoothed
  }

  add(sample: Milliseconds): void {
    this.#smoothed = this.#smoothed === undefined ? sample : this.#smoothed + (sample - this.#smoothed) / 8
  }
}
