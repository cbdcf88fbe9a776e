import type { Milliseconds } from '../../daemon/types.ts'

/** How far a transfer is. */
export interface Progress {
  readonly kind: 'progress'
  readonly offer: string
  /** The file that moved last, and its number, from 1. */
  readonly file: string
  readonly index: number
  readonly files: number
  /** Bytes that need not be sent any more, and of all files. */
  readonly bytes: number
  readonly total: number
  /** Bits a second, over the last seconds. */
  readonly rate: number
  /** Time left at this rate; null while nothing moves. */
  readonly remaining: Milliseconds | null
}

/** Least time between two reports. */
const INTERVAL: Milliseconds = 200
/** The rate is that of the last three to six seconds. */
const WINDOW: Milliseconds = 3000

/** Counts bytes and says now and then how far it is. */
export class ProgressMeter {
  readonly #facts: { readonly offer: string; readonly files: number; readonly total: number }
  readonly #report: (progress: Progress) => void
  /** How far each file is, by number. */
  readonly #positions: Float64Array
  #bytes = 0
  #moved = 0
  #reported = Number.NEGATIVE_INFINITY
  /** Where this window and the one before it began. */
  #window = { at: performance.now(), moved: 0 }
  #before = this.#window

  constructor(
    facts: { readonly offer: string; readonly files: number; readonly total: number },
    report: (progress: Progress) => void,
  ) {
    this.#facts = facts
    this.#report = report
    this.#positions = new Float64Array(facts.files)
  }

  get bytes(): number {
    return this.#bytes
  }

  /** A file is at `position`: there by itself, or because `moved` bytes were carried. */
  at(file: string, index: number, position: number, moved = 0): void {
    this.#bytes += position - (this.#positions[index] ?? 0)
    this.#positions[index] = position
    this.#moved += moved
    const now = performance.now()
    if (now - this.#reported < INTERVAL) return
    this.#reported = now
    this.#report(this.#progress(file, index, now))
  }

  #progress(file: string, index: number, now: Milliseconds): Progress {
    if (now - this.#window.at > WINDOW) {
      this.#before = this.#window
      this.#window = { at: now, moved: this.#moved }
    }
    const elapsed = now - this.#before.at
    const rate = elapsed > 0 ? Math.round(((this.#moved - this.#before.moved) * 8 * 1000) / elapsed) : 0
    const left = this.#facts.total - this.#bytes
    return {
      kind: 'progress',
      offer: this.#facts.offer,
      file,
      index: index + 1,
      files: this.#facts.files,
      bytes: this.#bytes,
      total: this.#facts.total,
      rate,
      remaining: rate > 0 ? Math.round((left * 8 * 1000) / rate) : null,
    }
  }
}
