import type { LogEntry } from './logger.ts'

/** Message and facts of a log entry on one line: `a path was chosen route=punched`. */
export function formatText({ message, facts }: Pick<LogEntry, 'message' | 'facts'>): string {
  const told = Object.entries(facts).map(
    ([key, value]) => ` ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  return `${message}${told.join('')}`
}

/** A log line without its end: time, level, part, text. */
export function formatLine(at: Date, { level, part }: Pick<LogEntry, 'level' | 'part'>, text: string): string {
  return `${at.toISOString()} ${level.padEnd(5)} ${part}: ${text}`
}
