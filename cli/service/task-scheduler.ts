import { win32 } from 'node:path'
import { PartylineError } from '../../daemon/errors.ts'
import { expectDone } from './failures.ts'
import type { Machine } from './machine.ts'
import type { LoggedLine, Scope, ServiceManager, ServiceState } from './manager.ts'
import { fillTask } from './templates.ts'
import { linesOf } from './text-log.ts'

/**
 * The Task Scheduler of Windows, since Node does not answer the service control manager. Written from the documentation of schtasks.exe and the
 * Task Scheduler's schema, and not tried on Windows.
 */
export class TaskScheduler implements ServiceManager {
  readonly name = 'task scheduler'
  readonly stopsAbruptly = true
  readonly #machine: Machine
  readonly #isSystem: boolean

  constructor(machine: Machine, scope: Scope) {
    this.#machine = machine
    this.#isSystem = scope === 'system'
  }

  async install(program: readonly string[]): Promise<void> {
    const machine = this.#machine
    if ((await this.state()).installed)
      throw new PartylineError('local.service-installed', `task ${this.#task} is there`)
    const template = await machine.template(`windows/partyline-${this.#isSystem ? 'system' : 'user'}.xml`)
    const task = fillTask(template, program, this.#log, this.#isSystem ? '' : machine.userName)
    const file = win32.join(this.#folder, 'task.xml')
    // The scheduler reads UTF-16, with a byte order mark.
    await machine.write(file, Buffer.from(`\uFEFF${task}`, 'utf16le'))
    await this.#schtasks('/create', '/xml', file)
    await machine.remove(file)
    await this.start()
  }

  async uninstall(): Promise<void> {
    await this.#expectInstalled()
    await this.#schtasks('/delete', '/f')
  }

  async start(): Promise<void> {
    await this.#expectInstalled()
    await this.#schtasks('/run')
  }

  async stop(): Promise<void> {
    await this.#expectInstalled()
    // It fails for a task that has ended, which is what the daemon was asked for.
    await this.#machine.run('schtasks.exe', ['/end', '/tn', this.#task])
  }

  async state(): Promise<ServiceState> {
    // schtasks speaks the language of the user; this does not.
    const script = `(Get-ScheduledTask -TaskName '${this.#task}' -ErrorAction Stop).State.ToString()`
    const { code, stdout } = await this.#machine.run('powershell.exe', ['-NoProfile', '-Command', script])
    return {
      installed: code === 0,
      running: stdout.trim() === 'Running',
      state: code === 0 ? stdout.trim().toLowerCase() : 'not installed',
      since: null,
      pid: null,
      user: this.#isSystem ? 'LOCAL SERVICE' : this.#machine.userName,
      restarts: null,
      status: '',
    }
  }

  async lines(count: number, least: LoggedLine['level']): Promise<readonly LoggedLine[]> {
    const [program, ...args] = this.logCommand(1000, false)
    return linesOf((await this.#machine.run(program, args)).stdout, count, least)
  }

  logCommand(lines: number, follow: boolean): readonly [string, ...string[]] {
    const path = this.#log.replaceAll("'", "''")
    const script = `Get-Content -LiteralPath '${path}' -Encoding UTF8 -Tail ${lines}${follow ? ' -Wait' : ''}`
    return ['powershell.exe', '-NoProfile', '-Command', script]
  }

  get #task(): string {
    return this.#isSystem ? 'Partyline' : `Partyline-${this.#machine.userName.replaceAll(/[^\w.-]/g, '_')}`
  }

  get #folder(): string {
    const { env, userHome } = this.#machine
    return this.#isSystem
      ? win32.join(env.ProgramData ?? 'C:\\ProgramData', 'partyline')
      : win32.join(env.LOCALAPPDATA ?? win32.join(userHome, 'AppData', 'Local'), 'partyline')
  }

  get #log(): string {
    return win32.join(this.#folder, 'partyline.log')
  }

  async #expectInstalled(): Promise<void> {
    if (!(await this.state()).installed)
      throw new PartylineError('local.service-missing', `there is no task ${this.#task}`)
  }

  async #schtasks(verb: string, ...args: readonly string[]): Promise<void> {
    const all = [verb, '/tn', this.#task, ...args]
    expectDone(`schtasks ${all.join(' ')}`, await this.#machine.run('schtasks.exe', all))
  }
}
