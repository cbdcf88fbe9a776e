import { PartylineError } from '../../daemon/errors.ts'
import { expectDone, expectRoot } from './failures.ts'
import type { Machine } from './machine.ts'
import type { LoggedLine, Scope, ServiceManager, ServiceState } from './manager.ts'
import { fillPropertyList } from './templates.ts'
import { linesOf } from './text-log.ts'

const LABEL = 'org.partyline.daemon'
const USER = '_partyline'
/** As in `daemon/places.ts`. */
const SYSTEM_HOME = '/Library/Application Support/partyline'
/** Where macOS has the ids of users that are services. */
const USER_IDS = { first: 300, last: 399 }

/** launchd of macOS: an agent of a user, or a daemon of the machine. Written from launchctl(1) and launchd.plist(5), and not tried on a Mac. */
export class Launchd implements ServiceManager {
  readonly name = 'launchd'
  readonly stopsAbruptly = false
  readonly #machine: Machine
  readonly #isSystem: boolean

  constructor(machine: Machine, scope: Scope) {
    this.#machine = machine
    this.#isSystem = scope === 'system'
  }

  async install(program: readonly string[]): Promise<void> {
    const machine = this.#machine
    if (this.#isSystem) expectRoot(machine)
    if (machine.exists(this.#file)) throw new PartylineError('local.service-installed', `${this.#file} is there`)
    if (this.#isSystem) await this.#makeUser()
    const template = await machine.template(`launchd/org.partyline.${this.#isSystem ? 'daemon' : 'agent'}.plist`)
    await machine.write(this.#file, fillPropertyList(template, program, this.#log))
    await this.#launchctl('bootstrap', this.#domain, this.#file)
  }

  async uninstall(): Promise<void> {
    this.#expectInstalled()
    await this.#launchctl('bootout', this.#target)
    await this.#machine.remove(this.#file)
  }

  async start(): Promise<void> {
    this.#expectInstalled()
    await this.#launchctl('kickstart', this.#target)
  }

  async stop(): Promise<void> {
    this.#expectInstalled()
    // It ends well, so KeepAlive leaves it alone.
    await this.#launchctl('kill', 'SIGTERM', this.#target)
  }

  async state(): Promise<ServiceState> {
    const { code, stdout } = await this.#machine.run('launchctl', ['print', this.#target])
    const value = (name: string): string => new RegExp(`^\\t${name} = (.*)$`, 'm').exec(stdout)?.[1] ?? ''
    const runs = Number(value('runs'))
    return {
      installed: this.#machine.exists(this.#file),
      running: code === 0 && value('state') === 'running',
      state: code === 0 ? value('state') : 'not loaded',
      since: null,
      pid: Number(value('pid')) || null,
      user: this.#isSystem ? USER : this.#machine.userName,
      restarts: runs > 0 ? runs - 1 : null,
      status: '',
    }
  }

  async lines(count: number, least: LoggedLine['level']): Promise<readonly LoggedLine[]> {
    const { stdout } = await this.#machine.run('tail', ['-n', '1000', this.#log])
    return linesOf(stdout, count, least)
  }

  logCommand(lines: number, follow: boolean): readonly [string, ...string[]] {
    return ['tail', '-n', String(lines), ...(follow ? ['-F'] : []), this.#log]
  }

  get #domain(): string {
    return this.#isSystem ? 'system' : `gui/${this.#machine.uid}`
  }

  get #target(): string {
    return `${this.#domain}/${LABEL}`
  }

  get #file(): string {
    return this.#isSystem
      ? `/Library/LaunchDaemons/${LABEL}.plist`
      : `${this.#machine.userHome}/Library/LaunchAgents/${LABEL}.plist`
  }

  get #log(): string {
    // Where the user of the service may write.
    return this.#isSystem ? `${SYSTEM_HOME}/partyline.log` : `${this.#machine.userHome}/Library/Logs/partyline.log`
  }

  /** A user that nobody logs in as, and the folder that is its own. */
  async #makeUser(): Promise<void> {
    const { run } = this.#machine
    const listed = expectDone('dscl', await run('dscl', ['.', '-list', '/Users', 'UniqueID']))
    const users = new Map(listed.split('\n').map((line) => line.trim().split(/\s+/) as [string, string]))
    if (!users.has(USER)) {
      const taken = new Set([...users.values()].map(Number))
      let id = USER_IDS.first
      while (taken.has(id) && id < USER_IDS.last) id++
      const user = `/Users/${USER}`
      const group = `/Groups/${USER}`
      for (const args of [
        [group, 'PrimaryGroupID', String(id)],
        [user, 'UniqueID', String(id)],
        [user, 'PrimaryGroupID', String(id)],
        [user, 'UserShell', '/usr/bin/false'],
        [user, 'NFSHomeDirectory', SYSTEM_HOME],
        [user, 'RealName', 'Partyline'],
        [user, 'IsHidden', '1'],
      ])
        expectDone('dscl', await run('dscl', ['.', '-create', ...args]))
    }
    expectDone('install', await run('install', ['-d', '-o', USER, '-g', USER, '-m', '0750', SYSTEM_HOME]))
  }

  #expectInstalled(): void {
    if (this.#isSystem) expectRoot(this.#machine)
    if (!this.#machine.exists(this.#file))
      throw new PartylineError('local.service-missing', `there is no ${this.#file}`)
  }

  async #launchctl(...args: readonly string[]): Promise<void> {
    expectDone(`launchctl ${args.join(' ')}`, await this.#machine.run('launchctl', args))
  }
}
