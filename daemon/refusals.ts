import type { ErrorCode } from './errors.ts'

/** Counts what was refused, by code, for `status`. A fixed table: its size does not depend on who sends what. */
export class Refusals {
  readonly #counts = new Map<ErrorCode, number>()

  count(code: ErrorCode): void {
    this.#counts.set(code, (this.#counts.get(code) ?? 0) + 1)
  }

  /** How often each code was refused since start; codes that never were are absent. */
  snapshot(): Partial<Record<ErrorCode, number>> {
    return Object.fromEntries([...this.#counts].sort(([a], [b]) => a.localeCompare(b)))
  }
}
