/** Levels, most important first. */
const LOG_LEVELS = ['error', 'warn', 'info', 'debug'] as const
export type LogLevel = (typeof LOG_LEVELS)[number]

/** One line of the log: a part's name, what happened, and the facts that go with it. */
export interface LogEntry {
  readonly level: LogLevel
  readonly part: string
  readonly message: string
  readonly facts: Readonly<Record<string, unknown>>
}

export interface Logger {
  error(message: string, facts?: Record<string, unknown>): void
  warn(message: string, facts?: Record<string, unknown>): void
  info(message: string, facts?: Record<string, unknown>): void
  debug(message: string, facts?: Record<string, unknown>): void
  /** A logger for a part, `mdns` say; its name stands before each of its lines. */
  part(name: string): Logger
}

/** A logger that gives every entry at or above `threshold` to `write`. */
export function createLogger(threshold: LogLevel, write: (entry: LogEntry) => void, part = 'daemon'): Logger {
  const log =
    (level: LogLevel) =>
    (message: string, facts: Record<string, unknown> = {}) => {
      if (isAtLeast(level, threshold)) write({ level, part, message, facts })
    }
  return {
    error: log('error'),
    warn: log('warn'),
    info: log('info'),
    debug: log('debug'),
    part: (name) => createLogger(threshold, write, name),
  }
}

/** True for a level that matters as much as another one, or more. */
export function isAtLeast(level: LogLevel, threshold: LogLevel): boolean {
  return LOG_LEVELS.indexOf(level) <= LOG_LEVELS.indexOf(threshold)
}

/** Drops everything; for tests and for parts used without a daemon. */
export const silentLogger: Logger = createLogger('error', () => {})
