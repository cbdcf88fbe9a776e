import type { Milliseconds, UnixMilliseconds } from '../types.ts'
import type { Stall } from './statistics.ts'

/** Arrivals are counted in slots of this length. */
const SLOT: Milliseconds = 50
/** Traffic flows when in so many of the last so many slots something came. */
const FLOW_SLOTS = 20
const FLOWING = 10
/** Empty slots in a row that make a silence. */
const SILENT = 4
/** How many times as much as usual comes in the slots behind a silence, and packets at least. */
const BURST_FACTOR = 3
const LEAST_BURST = 4
/** Silences that make a pattern, the time they are looked at, and how far their distances may be from the median. */
const PATTERN = 5
const MEMORY: Milliseconds = 60_000
const MAX_SILENCES = 32
const DEVIATION = 0.2

interface Silence {
  /** When it ended. */
  readonly at: Milliseconds
  readonly length: Milliseconds
  burst: number
}

/**
 * Finds a peer whose traffic stops and bursts in a regular pattern, as a switch in the cable makes it ("lag switch"): it flows, stops for a
 * while, comes all at once, and flows again. What an app sends in bursts does not flow in between; what a bad radio does has no regular
 * pattern. Free of I/O; an arrival costs a few comparisons.
 */
export class StallDetector {
  #slot = 0
  /** Arrivals in the present slot, and the average of slots in which something came. */
  #count = 0
  #usual = 0
  /** The last `FLOW_SLOTS` slots before the present one, newest lowest: 1 where something came. */
  #flow = 0
  readonly #silences: Silence[] = []
  /** Slots in which arrivals still count for the silence that has just ended. */
  #burstSlots = 0

  /** So many packets came. True when this makes a pattern that was not there before. */
  arrived(packets: number, now: Milliseconds): boolean {
    const slot = Math.floor(now / SLOT)
    const isNew = slot !== this.#slot && this.#advance(slot, now)
    this.#count += packets
    const last = this.#silences.at(-1)
    if (this.#burstSlots > 0 && last) last.burst += packets
    return isNew
  }

  /** The pattern that is there; `wall` is the wall clock's time of `now`. */
  stall(now: Milliseconds, wall: UnixMilliseconds): Stall | null {
    this.#forget(now)
    const silences = this.#silences.filter(({ burst }) => this.#isBurst(burst))
    if (silences.length < PATTERN) return null
    const intervals = silences.slice(1).map(({ at }, i) => at - (silences[i]?.at ?? at))
    const interval = median(intervals)
    if (intervals.some((one) => Math.abs(one - interval) > interval * DEVIATION)) return null
    const last = silences.at(-1)?.at ?? now
    return {
      at: wall - (now - last),
      silences: silences.length,
      medianSilence: median(silences.map(({ length }) => length)),
      medianInterval: interval,
      burst: median(silences.map(({ burst }) => burst)),
    }
  }

  /** Goes on to another slot; true when a burst ends there that completes a pattern. */
  #advance(slot: number, now: Milliseconds): boolean {
    const silent = slot - this.#slot - 1
    const empty = Math.min(silent, FLOW_SLOTS)
    const isFlowing = bits(this.#flow) >= FLOWING
    // The burst behind a silence is not what is usual.
    if (this.#count > 0 && this.#burstSlots === 0) this.#usual += (this.#count - this.#usual) / 16
    let completes = false
    if (this.#burstSlots > 0 && --this.#burstSlots === 0) completes = this.#ended(now)
    this.#flow = (((this.#flow << 1) | (this.#count > 0 ? 1 : 0)) << empty) & ((1 << FLOW_SLOTS) - 1)
    this.#slot = slot
    this.#count = 0
    if (isFlowing && silent >= SILENT && this.#burstSlots === 0) {
      this.#silences.push({ at: now, length: silent * SLOT, burst: 0 })
      if (this.#silences.length > MAX_SILENCES) this.#silences.shift()
      this.#burstSlots = 2
    }
    return completes
  }

  #ended(now: Milliseconds): boolean {
    const last = this.#silences.at(-1)
    if (last && !this.#isBurst(last.burst)) this.#silences.pop()
    // Told once, when there are enough; `stall` tells of the rest.
    return this.#silences.length === PATTERN && this.stall(now, 0) !== null
  }

  #isBurst(packets: number): boolean {
    return packets >= LEAST_BURST && packets >= this.#usual * BURST_FACTOR
  }

  #forget(now: Milliseconds): void {
    while ((this.#silences[0]?.at ?? now) < now - MEMORY) this.#silences.shift()
  }
}

function bits(mask: number): number {
  let count = 0
  for (let left = mask; left !== 0; left &= left - 1) count++
  return count
}

function median(values: readonly number[]): number {
  const sorted = [...values].sort((a, b) => a - b)
  return sorted[sorted.length >> 1] ?? 0
}
