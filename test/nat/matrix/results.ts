import { median } from '../../bench/statistics.ts'
import type { Attempt } from './subject.ts'

/** What one subject did in one cell, with a relay or without. */
export interface Measured {
  readonly cell: string
  readonly subject: string
  readonly relay: boolean
  /** The route in the end, or that of the first byte where it never changed; empty: no connection. Runs that differ are listed with commas. */
  readonly route: string
  /** The route that carried the first byte. */
  readonly first: string
  /** Median time to the first byte, or to the failure, in ms. */
  readonly ms: number
  readonly runs: number
  /** Why there was no connection; empty where there was. */
  readonly reason: string
  /** As the theory has it, in every run. */
  readonly asExpected: boolean
}

/** What a whole run of the matrix found. */
export interface Results {
  /** ISO 8601. */
  readonly at: string
  /** The same round trip for all cells, as ping has it, in ms. */
  readonly roundTrip: number
  readonly runs: number
  readonly measured: readonly Measured[]
  readonly gaps: readonly Gap[]
  /** What `test/bench/lossy.ts --json` printed. */
  readonly goodput?: readonly Goodput[]
  /** The table that `test/bench/nat-crowd.ts` printed. */
  readonly crowd?: string
}

/** One figure of a long and lossy way. */
export interface Goodput {
  readonly metric: string
  readonly subject: string
  readonly value: number
  readonly runs: number
}

/** What the move of a session between two paths cost. */
export interface Gap {
  readonly name: string
  /** The routes it took, in order. */
  readonly routes: readonly string[]
  /** The longest time without an unreliable message, and what it was before anything happened, in ms. */
  readonly longest: number
  readonly usual: number
  readonly bytes: number
  readonly messages: number
}

/** Attempts of one kind, together. `isExpected` judges each. */
export function summary(
  about: Pick<Measured, 'cell' | 'subject' | 'relay'>,
  attempts: readonly Attempt[],
  isExpected: (attempt: Attempt) => boolean,
): Measured {
  const connected = attempts.filter((attempt) => attempt.connected)
  const failed = attempts.filter((attempt) => !attempt.connected)
  const counted = connected.length > 0 ? connected : failed
  return {
    ...about,
    route: listed(attempts.map((attempt) => (attempt.connected ? attempt.last : 'failed'))),
    first: listed(connected.map(({ first }) => first)),
    ms: median(counted.map(({ ms }) => ms)),
    runs: attempts.length,
    reason: listed(failed.map(({ reason }) => reason)),
    asExpected: attempts.every(isExpected),
  }
}

const listed = (texts: readonly string[]): string => [...new Set(texts)].join(', ')

/** What two runs know, the later one's where both measured the same. */
export function merged(before: Results, after: Results): Results {
  const key = ({ cell, subject, relay }: Measured): string => `${cell} ${subject} ${relay}`
  const measured = new Map([...before.measured, ...after.measured].map((one) => [key(one), one]))
  const gaps = new Map([...before.gaps, ...after.gaps].map((gap) => [gap.name, gap]))
  const newer = after.measured.length > 0 ? after : before
  const goodput = after.goodput ?? before.goodput
  const crowd = after.crowd ?? before.crowd
  return {
    ...newer,
    measured: [...measured.values()],
    gaps: [...gaps.values()],
    ...(goodput && { goodput }),
    ...(crowd && { crowd }),
  }
}
