import type { Clock } from '../clock.ts'
import { formatEntry } from '../log-line.ts'
import type { LogEntry } from '../logger.ts'

/** Lines that are kept, and characters of one. */
export const MAX_LINES = 2000
export const MAX_LINE = 500

/**
 * The last lines of the log, those as well that the level of the log leaves out: what led to a fault is there when somebody reports it, though
 * nobody expected it.
 */
export class LogRing {
  readonly #clock: Pick<Clock, 'wall'>
  readonly #lines: string[] = []
  /** Where the next line goes once there are as many as there may be. */
  #next = 0

  constructor(clock: Pick<Clock, 'wall'>) {
    this.#clock = clock
  }

  push(entry: LogEntry): void {
    const line = formatEntry(entry, new Date(this.#clock.wall())).slice(0, MAX_LINE)
    if (this.#lines.length < MAX_LINES) this.#lines.push(line)
    else this.#lines[this.#next++ % MAX_LINES] = line
  }

  /** Oldest first. */
  lines(): readonly string[] {
    const oldest = this.#next % MAX_LINES
    return [...this.#lines.slice(oldest), ...this.#lines.slice(0, oldest)]
  }
}
