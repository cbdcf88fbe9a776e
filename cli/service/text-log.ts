import { isAtLeast, type LogLevel } from '../../daemon/logger.ts'
import type { LoggedLine } from './manager.ts'

/** The last lines that matter at least so much, of a log that the daemon wrote itself (`daemon/log-line.ts`). */
export function linesOf(log: string, count: number, least: LogLevel): readonly LoggedLine[] {
  const found = log.split('\n').flatMap((line): LoggedLine[] => {
    const [, at = '', level, message = ''] = /^(\S+Z) (error|warn|info|debug) +(.*)$/.exec(line.trimEnd()) ?? []
    return level && isAtLeast(level as LogLevel, least) ? [{ at, level: level as LogLevel, message }] : []
  })
  return found.slice(-count)
}
