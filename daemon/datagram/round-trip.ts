import type { Milliseconds } from '../types.ts'

/** Round trips of one path: smoothed (RFC 6298 section 2), least, and jitter (RFC 3550 section 6.4.1, of round trips instead of transit times). */
export class RoundTrip {
  #latest: Milliseconds | undefined
  #smoothed: Milliseconds | undefined
  #minimum: Milliseconds | undefined
  #jitter: Milliseconds | undefined

  get smoothed(): Milliseconds | undefined {
    return this.#smoothed
  }

  get minimum(): Milliseconds | undefined {
    return this.#minimum
  }

  get jitter(): Milliseconds | undefined {
    return this.#jitter
  }

  sample(rtt: Milliseconds): void {
    if (this.#latest !== undefined) {
      const difference = Math.abs(rtt - this.#latest)
      this.#jitter = this.#jitter === undefined ? difference : this.#jitter + (difference - this.#jitter) / 16
    }
    this.#latest = rtt
    this.#smoothed = this.#smoothed === undefined ? rtt : this.#smoothed + (rtt - this.#smoothed) / 8
    this.#minimum = Math.min(rtt, this.#minimum ?? rtt)
  }
}
