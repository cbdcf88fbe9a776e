import type { Milliseconds } from '../../types.ts'

/** RFC 6887 section 8.5: so much may the two clocks differ, beside an eighth of the time that passed. */
const TOLERANCE = 2

/** The seconds that a router counts since it last forgot everything. */
export class Epoch {
  #last: { readonly epoch: number; readonly at: Milliseconds } | undefined

  /** Takes what an answer says; true where the router has begun anew since the one before (RFC 6886 section 3.6, RFC 6887 section 8.5). */
  take(epoch: number, now: Milliseconds): boolean {
    const last = this.#last
    this.#last = { epoch, at: now }
    if (!last) return false
    const here = (now - last.at) / 1000
    const there = epoch - last.epoch
    if (there < -1) return true
    return here + TOLERANCE < there - there / 16 || there + TOLERANCE < here - here / 16
  }
}
