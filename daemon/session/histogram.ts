/** Bounds of round trips and of their differences, in milliseconds, as GameNetworkingSockets counts them. */
export const PING_BOUNDS = [1, 2, 5, 10, 20, 35, 50, 75, 100, 150, 200, 300, 500, 1000] as const
export const JITTER_BOUNDS = [1, 2, 5, 10, 20] as const

/** Counts samples by size. */
export class Counts {
  readonly #bounds: readonly number[]
  readonly #counts: number[]

  constructor(bounds: readonly number[]) {
    this.#bounds = bounds
    this.#counts = new Array<number>(bounds.length + 1).fill(0)
  }

  add(sample: number): void {
    let at = 0
    while (at < this.#bounds.length && sample > (this.#bounds[at] ?? 0)) at++
    this.#counts[at] = (this.#counts[at] ?? 0) + 1
  }

  /** Bucket by bucket; the last has no bound. */
  get buckets(): { upTo: number | null; count: number }[] {
    return this.#counts.map((count, at) => ({ upTo: this.#bounds[at] ?? null, count }))
  }
}
