import { join, posix } from 'node:path'
import { PartylineError } from '../../daemon/errors.ts'
import { expectDone, expectRoot } from './failures.ts'
import type { Machine } from './machine.ts'
import type { LoggedLine, Scope, ServiceManager, ServiceState } from './manager.ts'
import { fillUnit } from './templates.ts'

const SERVICE = 'partyline.service'
const SOCKET = 'partyline.socket'
const SYSTEM_UNITS = '/etc/systemd/system'
const SYSUSERS = '/etc/sysusers.d/partyline.conf'
const TMPFILES = '/etc/tmpfiles.d/partyline.conf'
/** Systemd that knows RestartSteps=. */
const BACK_OFF_SINCE = 254
/** Folders that `ProtectHome=` and `PrivateTmp=` hide from the service. */
const HIDDEN = ['/home', '/root', '/run/user', '/tmp', '/var/tmp']
const PROPERTIES = [
  'LoadState',
  'ActiveState',
  'ActiveEnterTimestamp',
  'InactiveEnterTimestamp',
  'MainPID',
  'User',
  'NRestarts',
  'StatusText',
  'FragmentPath',
] as const
type Shown = Readonly<Record<(typeof PROPERTIES)[number], string>>
/** What journalctl calls our levels, and how we call the priorities of syslog. */
const PRIORITIES = { error: 'err', warn: 'warning', info: 'info', debug: 'debug' } as const
const LEVELS = ['error', 'error', 'error', 'error', 'warn', 'info', 'info', 'debug'] as const

/** systemd, of the machine or of a user. */
export class Systemd implements ServiceManager {
  readonly name = 'systemd'
  readonly stopsAbruptly = false
  readonly #machine: Machine
  readonly #isSystem: boolean

  constructor(machine: Machine, scope: Scope) {
    this.#machine = machine
    this.#isSystem = scope === 'system'
  }

  async install(program: readonly string[]): Promise<void> {
    if (this.#isSystem) expectRoot(this.#machine)
    const { LoadState, FragmentPath } = await this.#show()
    if (LoadState !== 'not-found') throw new PartylineError('local.service-installed', `${FragmentPath} is there`)
    await (this.#isSystem ? this.#writeSystem(program) : this.#writeUser(program))
    await this.#systemctl('daemon-reload')
    await this.#systemctl('enable', '--now', SERVICE)
  }

  async uninstall(): Promise<void> {
    const { FragmentPath } = await this.#expectInstalled()
    if (posix.dirname(FragmentPath) !== this.#folder)
      throw new PartylineError('local.service-packaged', `${FragmentPath} belongs to a package`)
    await this.#systemctl('disable', '--now', ...this.#units)
    for (const path of this.#made) await this.#machine.remove(path)
    await this.#machine.removeEmpty(join(this.#folder, `${SERVICE}.d`))
    await this.#systemctl('daemon-reload')
    // A unit that failed is remembered until then; for one that did not, there is nothing to forget.
    await this.#machine.run('systemctl', this.#args('reset-failed', SERVICE))
  }

  async start(): Promise<void> {
    await this.#expectInstalled()
    await this.#systemctl('start', ...this.#units)
  }

  async stop(): Promise<void> {
    await this.#expectInstalled()
    // The socket as well: the next app that connects would start the daemon again.
    await this.#systemctl('stop', ...this.#units)
  }

  async state(): Promise<ServiceState> {
    const shown = await this.#show()
    const pid = Number(shown.MainPID)
    const running = shown.ActiveState === 'active' || shown.ActiveState === 'reloading'
    return {
      installed: shown.LoadState !== 'not-found',
      running,
      state: shown.ActiveState,
      since: unixTime(running ? shown.ActiveEnterTimestamp : shown.InactiveEnterTimestamp),
      pid: pid > 0 ? pid : null,
      user: shown.User || (this.#isSystem ? 'root' : this.#machine.userName),
      restarts: /^\d+$/.test(shown.NRestarts) ? Number(shown.NRestarts) : null,
      status: shown.StatusText,
    }
  }

  async lines(count: number, least: LoggedLine['level']): Promise<readonly LoggedLine[]> {
    const args = [...this.#journal, `--priority=${PRIORITIES[least]}`, `--lines=${count}`, '--output=json']
    const { code, stdout } = await this.#machine.run('journalctl', args)
    return code === 0 ? stdout.split('\n').flatMap(parseJournalLine) : []
  }

  logCommand(lines: number, follow: boolean): readonly [string, ...string[]] {
    return ['journalctl', ...this.#journal, `--lines=${lines}`, ...(follow ? ['--follow'] : [])]
  }

  get #units(): readonly string[] {
    return this.#isSystem ? [SOCKET, SERVICE] : [SERVICE]
  }

  get #journal(): readonly string[] {
    return [...(this.#isSystem ? [`--unit=${SERVICE}`] : ['--user', `--user-unit=${SERVICE}`]), '--no-pager']
  }

  get #folder(): string {
    if (this.#isSystem) return SYSTEM_UNITS
    const { env, userHome } = this.#machine
    const config = posix.isAbsolute(env.XDG_CONFIG_HOME ?? '') ? (env.XDG_CONFIG_HOME ?? '') : `${userHome}/.config`
    return `${config}/systemd/user`
  }

  /** What `install` wrote, and the folder of the sockets, which no one else removes. */
  get #made(): readonly string[] {
    const units = [...this.#units, `${SERVICE}.d/back-off.conf`].map((unit) => join(this.#folder, unit))
    return this.#isSystem ? [...units, SYSUSERS, TMPFILES, '/run/partyline'] : units
  }

  async #writeSystem(program: readonly string[]): Promise<void> {
    const machine = this.#machine
    for (const path of program.filter((word) => word.startsWith('/')))
      if (HIDDEN.some((folder) => path.startsWith(`${folder}/`)))
        throw new PartylineError('local.private-program', `a service of the machine cannot read ${path}`)
    await machine.write(SYSUSERS, await machine.template('systemd/sysusers.conf'))
    expectDone('systemd-sysusers', await machine.run('systemd-sysusers', [SYSUSERS]))
    await machine.write(TMPFILES, await machine.template('systemd/tmpfiles.conf'))
    expectDone('systemd-tmpfiles', await machine.run('systemd-tmpfiles', ['--create', TMPFILES]))
    await machine.write(join(this.#folder, SOCKET), await machine.template(`systemd/${SOCKET}`))
    await this.#writeService(`systemd/${SERVICE}`, program)
  }

  #writeUser(program: readonly string[]): Promise<void> {
    return this.#writeService(`systemd/user/${SERVICE}`, program)
  }

  async #writeService(template: string, program: readonly string[]): Promise<void> {
    const machine = this.#machine
    await machine.write(join(this.#folder, SERVICE), fillUnit(await machine.template(template), program))
    if ((await this.#version()) < BACK_OFF_SINCE) return
    await machine.write(
      join(this.#folder, `${SERVICE}.d`, 'back-off.conf'),
      await machine.template('systemd/back-off.conf'),
    )
  }

  /** `252` of `systemd 252 (252.38-1~deb12u1)`; 0 where it is not understood. */
  async #version(): Promise<number> {
    const { stdout } = await this.#machine.run('systemctl', ['--version'])
    return Number(/^systemd (\d+)/.exec(stdout)?.[1] ?? 0)
  }

  async #expectInstalled(): Promise<Shown> {
    if (this.#isSystem) expectRoot(this.#machine)
    const shown = await this.#show()
    if (shown.LoadState === 'not-found')
      throw new PartylineError(
        'local.service-missing',
        `systemd knows no ${SERVICE}${this.#isSystem ? '' : ' of yours'}`,
      )
    return shown
  }

  async #show(): Promise<Shown> {
    const args = this.#args('show', SERVICE, '--timestamp=unix', `--property=${PROPERTIES.join()}`)
    const ended = await this.#machine.run('systemctl', args)
    if (ended.code !== 0 && /connect to .*bus/i.test(ended.stderr))
      throw new PartylineError('local.no-service-manager', `systemd does not answer: ${ended.stderr.trim()}`)
    const lines = expectDone('systemctl', ended).split('\n')
    const value = (name: string): string =>
      lines.find((line) => line.startsWith(`${name}=`))?.slice(name.length + 1) ?? ''
    return Object.fromEntries(PROPERTIES.map((name) => [name, value(name)])) as Shown
  }

  async #systemctl(...args: readonly string[]): Promise<void> {
    expectDone(`systemctl ${args.join(' ')}`, await this.#machine.run('systemctl', this.#args(...args)))
  }

  #args(...args: readonly string[]): readonly string[] {
    return this.#isSystem ? ['--system', ...args] : ['--user', ...args]
  }
}

/** `@1795466758`, as date and time; null for none. */
function unixTime(text = ''): string | null {
  const [, seconds] = /^@(\d+)$/.exec(text) ?? []
  return seconds ? new Date(Number(seconds) * 1000).toISOString() : null
}

/** A line of `journalctl --output=json`. Messages that are no UTF-8 come as lists of bytes, and are left out. */
function parseJournalLine(line: string): LoggedLine[] {
  if (line === '') return []
  try {
    const {
      __REALTIME_TIMESTAMP: at,
      PRIORITY: priority,
      MESSAGE: message,
    } = JSON.parse(line) as Record<string, unknown>
    if (typeof message !== 'string') return []
    return [{ at: new Date(Number(at) / 1000).toISOString(), level: LEVELS[Number(priority)] ?? 'info', message }]
  } catch {
    return []
  }
}
