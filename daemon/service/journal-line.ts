import { fstatSync } from 'node:fs'
import type { LogEntry, LogLevel } from '../logger.ts'

/** Levels of syslog (RFC 5424, 6.2.1) that ours stand for. */
const PRIORITIES: Readonly<Record<LogLevel, number>> = { error: 3, warn: 4, info: 6, debug: 7 }

/**
 * A log line as the journal reads it from a stream: `<N>` before it is its priority (sd-daemon(3)), and the time is the journal's own. Facts are
 * `key=value` (logfmt), quoted where they have spaces. Nothing in it begins a line of its own: names of peers are in here, and what
 * follows a line's end would pass for a message of the daemon, with any priority.
 */
export function formatJournalLine({ level, part, message, facts }: LogEntry): string {
  const told = Object.entries(facts).map(([key, value]) => ` ${key}=${formatValue(value)}`)
  return `<${PRIORITIES[level]}>${part}: ${message.replaceAll(/\p{Cc}+/gu, ' ')}${told.join('')}`
}

function formatValue(value: unknown): string {
  if (typeof value === 'string' && /^[^\s"=\p{Cc}]+$/u.test(value)) return value
  // JSON escapes line ends; DEL and the C1 controls it leaves, which terminals obey, become spaces.
  return (JSON.stringify(value) ?? 'null').replaceAll(/\p{Cc}/gu, ' ')
}

/** True when a descriptor is the stream that `JOURNAL_STREAM` tells of, and not one that it was redirected to. */
export function isJournal(journalStream: string | undefined, descriptor: number): boolean {
  if (journalStream === undefined) return false
  try {
    const { dev, ino } = fstatSync(descriptor, { bigint: true })
    return journalStream === `${dev}:${ino}`
  } catch {
    return false
  }
}
