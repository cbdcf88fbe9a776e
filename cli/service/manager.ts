import { PartylineError } from '../../daemon/errors.ts'
import type { LogLevel } from '../../daemon/logger.ts'
import { Launchd } from './launchd.ts'
import type { Machine } from './machine.ts'
import { Systemd } from './systemd.ts'
import { TaskScheduler } from './task-scheduler.ts'
import { serviceCommand } from './templates.ts'

/** Whose service it is: one user's, or the machine's. */
export type Scope = 'user' | 'system'

/** A line of the log. */
export interface LoggedLine {
  /** Date and time (RFC 3339); empty where it is not known. */
  readonly at: string
  readonly level: LogLevel
  readonly message: string
}

/** What the service manager knows of the service. */
export interface ServiceState {
  readonly installed: boolean
  readonly running: boolean
  /** In the manager's words: `active`, `failed`, `running`. */
  readonly state: string
  /** Since when it is in that state (RFC 3339); null where the manager does not know. */
  readonly since: string | null
  readonly pid: number | null
  readonly user: string
  /** How often the manager had to start it again; null where it does not count. */
  readonly restarts: number | null
  /** What the daemon said last of its state; empty where it cannot say. */
  readonly status: string
}

/** A service manager, for the service of one scope. */
export interface ServiceManager {
  readonly name: 'systemd' | 'launchd' | 'task scheduler'
  /** True where `stop` ends the daemon without a word: whoever calls it asks the daemon to end first. */
  readonly stopsAbruptly: boolean
  /** Makes the service known, starts it now and whenever the machine starts. `program` is the command line of `partyline`. */
  install(program: readonly string[]): Promise<void>
  /** Stops it and removes what `install` made. Settings, identity and everything else of the daemon stay. */
  uninstall(): Promise<void>
  start(): Promise<void>
  stop(): Promise<void>
  state(): Promise<ServiceState>
  /** The last lines of its log that matter at least so much, oldest first; none where this user may not read them. */
  lines(count: number, least: LoggedLine['level']): Promise<readonly LoggedLine[]>
  /** The program that shows its log. */
  logCommand(lines: number, follow: boolean): readonly [string, ...string[]]
}

/** The service manager of a machine. Throws `local.no-service-manager`. */
export function serviceManager(machine: Machine, scope: Scope): ServiceManager {
  if (machine.platform === 'darwin') return new Launchd(machine, scope)
  if (machine.platform === 'win32') return new TaskScheduler(machine, scope)
  // What sd_booted(3) looks at.
  if (machine.platform === 'linux' && machine.exists('/run/systemd/system')) return new Systemd(machine, scope)
  throw new PartylineError('local.no-service-manager', 'systemd does not run here')
}

/** The command line of the program that runs now, which is what a service starts. */
export function runningProgram({ execPath, argv }: Pick<NodeJS.Process, 'execPath' | 'argv'>): readonly string[] {
  return serviceCommand(execPath, argv[1] ?? '')
}
