import type { LogEntry } from './logger.ts'

/** A log line without its end: time, level, part, message, facts. */
export function formatEntry({ level, part, message, facts }: LogEntry, at: Date): string {
  const told = Object.entries(facts).map(
    ([key, value]) => ` ${key}=${typeof value === 'string' ? value : JSON.stringify(value)}`,
  )
  return `${at.toISOString()} ${level.padEnd(5)} ${part}: ${message}${told.join('')}`
}
