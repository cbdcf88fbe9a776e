import type { Clock } from '../clock.ts'
import { formatLine, formatText } from '../log-line.ts'
import type { LogEntry } from '../logger.ts'
import type { PeerId, UnixMilliseconds } from '../types.ts'

/** Entries that are kept, and characters of the text of one. */
export const MAX_LINES = 2000
export const MAX_TEXT = 500

/** What is kept of a log entry. */
interface Kept {
  readonly at: UnixMilliseconds
  readonly level: LogEntry['level']
  readonly part: string
  readonly text: string
  readonly peer: unknown
}

/** A step on the way to a peer, or with it. */
interface Step {
  readonly at: UnixMilliseconds
  /** Who did it: `connect`, `traversal`, `session`. */
  readonly part: string
  readonly text: string
}

/**
 * The last lines of the log, those as well that the level of the log leaves out: what led to a fault is there when somebody asks, though
 * nobody expected it.
 */
export class LogRing {
  readonly #clock: Pick<Clock, 'wall'>
  readonly #kept: Kept[] = []
  /** Where the next one goes once there are as many as there may be. */
  #next = 0

  constructor(clock: Pick<Clock, 'wall'>) {
    this.#clock = clock
  }

  push(entry: LogEntry): void {
    const { level, part, facts } = entry
    const text = formatText(entry).slice(0, MAX_TEXT)
    const kept = { at: this.#clock.wall(), level, part, text, peer: facts.peer }
    if (this.#kept.length < MAX_LINES) this.#kept.push(kept)
    else this.#kept[this.#next++ % MAX_LINES] = kept
  }

  /** Lines as the log has them, oldest first. */
  lines(): readonly string[] {
    return this.#inOrder().map((kept) => formatLine(new Date(kept.at), kept, kept.text))
  }

  /** What has to do with one peer, oldest first. */
  trace(peer: PeerId): readonly Step[] {
    return this.#inOrder()
      .filter((kept) => kept.peer === peer)
      .map(({ at, part, text }) => ({ at, part, text: text.replace(` peer=${peer}`, '') }))
  }

  #inOrder(): readonly Kept[] {
    const oldest = this.#next % MAX_LINES
    return [...this.#kept.slice(oldest), ...this.#kept.slice(0, oldest)]
  }
}
