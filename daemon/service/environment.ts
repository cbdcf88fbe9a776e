/**
 * What a service manager tells a daemon by its environment: sd_notify(3), sd_watchdog_enabled(3), sd_listen_fds(3), and
 * `JOURNAL_STREAM` of systemd.exec(5). Nothing here talks to anybody.
 */
import { PartylineError } from '../errors.ts'
import type { Milliseconds } from '../types.ts'

/** Sockets that were opened before the daemon was started, as file descriptors. */
export interface InheritedSockets {
  readonly app?: number
  readonly control?: number
}

/** What the service manager wants and gives. */
export interface Supervision {
  /** Where notifications go; undefined where nobody asks for any. */
  readonly notifySocket: string | undefined
  /** After so long without a sign of life the daemon is killed and started again. */
  readonly watchdog: Milliseconds | undefined
  readonly sockets: InheritedSockets
  /** Device and inode of the stream to the journal, `8:12345`. */
  readonly journalStream: string | undefined
}

/** The first descriptor that is handed over (`SD_LISTEN_FDS_START`). */
const FIRST_DESCRIPTOR = 3
/** Sockets that a daemon has a use for. */
const NAMES = ['app', 'control'] as const

/** All variables that concern this process alone. Its children must not take them for theirs. */
export const OWN_VARIABLES = [
  'NOTIFY_SOCKET',
  'WATCHDOG_USEC',
  'WATCHDOG_PID',
  'LISTEN_FDS',
  'LISTEN_PID',
  'LISTEN_FDNAMES',
  'LISTEN_PIDFDID',
  'JOURNAL_STREAM',
] as const

type Environment = Readonly<Record<string, string | undefined>>

/** Reads them, for the process of this id. Throws `local.bad-activation` for sockets that this daemon has no use for. */
export function readSupervision(env: Environment, pid: number): Supervision {
  return {
    notifySocket: notifySocket(env.NOTIFY_SOCKET),
    watchdog: watchdog(env, pid),
    sockets: inheritedSockets(env, pid),
    journalStream: /^\d+:\d+$/.test(env.JOURNAL_STREAM ?? '') ? env.JOURNAL_STREAM : undefined,
  }
}

/** A path, or a name in the abstract name space behind an `@`; machines may also say `vsock:…`, which is none of ours. */
function notifySocket(value = ''): string | undefined {
  return value.startsWith('/') || (value.startsWith('@') && value.length > 1) ? value : undefined
}

function watchdog({ WATCHDOG_USEC, WATCHDOG_PID }: Environment, pid: number): Milliseconds | undefined {
  const microseconds = positive(WATCHDOG_USEC)
  // Without a process id it is meant for whoever reads it.
  if (microseconds === undefined || (WATCHDOG_PID && positive(WATCHDOG_PID) !== pid)) return undefined
  return microseconds / 1000
}

function inheritedSockets({ LISTEN_FDS, LISTEN_PID, LISTEN_FDNAMES }: Environment, pid: number): InheritedSockets {
  const count = positive(LISTEN_FDS)
  if (count === undefined || positive(LISTEN_PID) !== pid) return {}
  const names = (LISTEN_FDNAMES ?? '').split(':')
  const sockets: { app?: number; control?: number } = {}
  for (let index = 0; index < count; index++) {
    // A single one without a name of ours is the app socket: that is what a unit without FileDescriptorName= hands over.
    const name = NAMES.find((known) => known === names[index]) ?? (count === 1 ? 'app' : undefined)
    if (name === undefined)
      throw new PartylineError(
        'local.bad-activation',
        `socket ${index + 1} of ${count} is called "${names[index] ?? ''}", not ${NAMES.join(' or ')}`,
      )
    if (sockets[name] !== undefined)
      throw new PartylineError('local.bad-activation', `two sockets are called "${name}"`)
    sockets[name] = FIRST_DESCRIPTOR + index
  }
  return sockets
}

/** A positive whole number in decimal, as far as numbers are exact. */
function positive(value = ''): number | undefined {
  const number = /^\d{1,15}$/.test(value) ? Number(value) : 0
  return number > 0 ? number : undefined
}
