import { execFile } from 'node:child_process'
import { join } from 'node:path'
import { promisify } from 'node:util'
import type { Lab } from './lab.ts'
import { eventually } from './patience.ts'

const run = promisify(execFile)

/** A program on a terminal of its own (tmux) on a lab host. */
export class Terminal {
  readonly #socket: string

  private constructor(socket: string) {
    this.#socket = socket
  }

  /** The terminal that a service of the lab started on a host. */
  static of(lab: Lab, host: string): Terminal {
    return new Terminal(join(lab.folder, host, 'tmux'))
  }

  /** Starts a program. */
  static async start(lab: Lab, host: string, command: readonly string[]): Promise<Terminal> {
    const terminal = Terminal.of(lab, host)
    const size = ['-x', '150', '-y', '40']
    const tmux = ['tmux', '-u', '-f', '/dev/null', '-S', terminal.#socket, 'new-session', '-d', ...size, ...command]
    const { code, stderr } = await lab.exec(host, ['env', 'LC_ALL=C.UTF-8', ...tmux])
    if (code !== 0) throw new Error(`tmux on ${host}: ${stderr}`)
    return terminal
  }

  /** Types text, and Enter. */
  async enter(text: string): Promise<void> {
    await this.#tmux('send-keys', '-l', text)
    await this.#tmux('send-keys', 'Enter')
  }

  /** What is on the screen. */
  async screen(): Promise<string> {
    return this.#tmux('capture-pane', '-p')
  }

  /** Resolves to the screen once it shows this. */
  waitFor(text: string | RegExp): Promise<string> {
    return eventually(
      `the terminal shows ${text}`,
      async () => {
        const screen = await this.screen()
        return (typeof text === 'string' ? screen.includes(text) : text.test(screen)) && screen
      },
      () => this.screen(),
    )
  }

  /** Resolves when its program has ended. */
  async ended(): Promise<void> {
    await eventually(
      'the program on the terminal ends',
      () =>
        this.screen().then(
          () => false,
          () => true,
        ),
      () => this.screen(),
    )
  }

  async #tmux(...args: readonly string[]): Promise<string> {
    const { stdout } = await run('tmux', ['-u', '-S', this.#socket, ...args], {
      env: { ...process.env, LC_ALL: 'C.UTF-8' },
    })
    return stdout
  }
}
