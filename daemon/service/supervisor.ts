import { systemClock } from '../clock.ts'
import { formatLine, formatText } from '../log-line.ts'
import type { LogEntry } from '../logger.ts'
import { type InheritedSockets, OWN_VARIABLES, readSupervision, type Supervision } from './environment.ts'
import { formatJournalLine, isJournal } from './journal-line.ts'
import { ServiceLife } from './life.ts'
import { Notifier, systemdNotify } from './notifier.ts'

const STDERR = 2

/** Whoever started this process and watches it; nobody, for one that was started by hand. */
export class Supervisor {
  readonly #supervision: Supervision
  readonly #format: (entry: LogEntry) => string
  readonly #write: (line: string) => void
  readonly #life: ServiceLife
  readonly #notifier: Notifier | undefined

  /**
   * Takes what the manager says out of `env`, so that no child takes it for its own. `write` writes a line to stderr.
   * Throws `local.bad-activation`.
   */
  constructor({ env, pid }: Pick<NodeJS.Process, 'env' | 'pid'>, write: (line: string) => void) {
    this.#write = write
    this.#supervision = readSupervision(env, pid)
    for (const name of OWN_VARIABLES) delete env[name]
    const { notifySocket, watchdog, journalStream } = this.#supervision
    this.#format = isJournal(journalStream, STDERR) ? formatJournalLine : plainLine
    this.#life = new ServiceLife(notifySocket === undefined ? undefined : watchdog, systemClock.now())
    if (notifySocket === undefined) return
    this.#notifier = new Notifier({
      life: this.#life,
      clock: systemClock,
      send: systemdNotify(notifySocket, env),
      failed: (reason) => this.warn('the service manager cannot be told', { reason }),
    })
  }

  /** Sockets that it opened. */
  get sockets(): InheritedSockets {
    return this.#supervision.sockets
  }

  /** Writes a line of the log as the one reads it that it goes to. */
  readonly log = (entry: LogEntry): void => this.#write(`${this.#format(entry)}\n`)

  warn(message: string, facts: Record<string, unknown> = {}): void {
    this.log({ level: 'warn', part: 'service', message, facts })
  }

  ready(status: string): Promise<void> {
    this.#life.ready(status)
    return this.#flush()
  }

  /** Around a reload: it is told that one began, and when it is over. */
  async reload(task: () => string): Promise<void> {
    this.#life.reloading(process.hrtime.bigint() / 1000n)
    const status = task()
    this.#life.reloaded(status)
    await this.#flush()
  }

  async stopping(): Promise<void> {
    this.#life.stopping()
    this.#notifier?.close()
    await this.#flush()
  }

  async #flush(): Promise<void> {
    await this.#notifier?.flush()
  }
}

function plainLine(entry: LogEntry): string {
  return formatLine(new Date(), entry, formatText(entry))
}
