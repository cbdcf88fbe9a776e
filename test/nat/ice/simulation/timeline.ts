import type { Timer } from '../../../../daemon/clock.ts'
import type { Milliseconds } from '../../../../daemon/types.ts'

interface Entry {
  readonly at: Milliseconds
  readonly order: number
  task: (() => void) | undefined
}

/** Steps of a millisecond in which time passes: as a power of two, sums and differences of moments are exact. */
const GRAIN = 8
/** Tasks that are due in no time, one after the other, before a run is given up as one that would never end. */
const MOST_AT_ONCE = 20_000

/** The world's time, and what is to happen in it: a binary heap, since a run has tens of thousands of events. */
export class Timeline {
  readonly #heap: Entry[] = []
  #now: Milliseconds = 0
  #order = 0
  #atOnce = 0

  get now(): Milliseconds {
    return this.#now
  }

  after(delay: Milliseconds, task: () => void): Timer {
    const entry: Entry = { at: this.#now + Math.ceil(Math.max(0, delay) * GRAIN) / GRAIN, order: this.#order++, task }
    this.#push(entry)
    return {
      cancel: () => {
        entry.task = undefined
      },
    }
  }

  /** Lets time pass; what falls due happens in order. */
  advance(ms: Milliseconds): void {
    const until = this.#now + ms
    for (let first = this.#heap[0]; first && first.at <= until; first = this.#heap[0]) {
      this.#pop()
      if (!first.task) continue
      this.#atOnce = first.at > this.#now ? 0 : this.#atOnce + 1
      if (this.#atOnce > MOST_AT_ONCE) throw new Error(`time stands still at ${this.#now} ms`)
      this.#now = first.at
      first.task()
    }
    this.#now = until
  }

  #push(entry: Entry): void {
    const heap = this.#heap
    let at = heap.push(entry) - 1
    while (at > 0) {
      const above = (at - 1) >> 1
      const parent = heap[above] as Entry
      if (!isBefore(entry, parent)) break
      heap[at] = parent
      at = above
    }
    heap[at] = entry
  }

  #pop(): void {
    const heap = this.#heap
    const last = heap.pop()
    if (!last || heap.length === 0) return
    let at = 0
    for (let below = 1; below < heap.length; below = 2 * at + 1) {
      const right = heap[below + 1]
      if (right && isBefore(right, heap[below] as Entry)) below++
      const child = heap[below] as Entry
      if (!isBefore(child, last)) break
      heap[at] = child
      at = below
    }
    heap[at] = last
  }
}

function isBefore(a: Entry, b: Entry): boolean {
  return a.at < b.at || (a.at === b.at && a.order < b.order)
}
