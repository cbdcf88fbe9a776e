import { type ChildProcess, type ChildProcessByStdio, spawn } from 'node:child_process'
import { once } from 'node:events'
import { mkdtemp, rm } from 'node:fs/promises'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import type { Readable } from 'node:stream'
import { fileURLToPath } from 'node:url'
import { PartylineError } from '../../daemon/errors.ts'
import { ROOMY_HEAP } from '../roomy-heap.ts'

/** A daemon of its own process and home, for as long as it is wanted. */
export class TemporaryHost implements AsyncDisposable {
  readonly id: string
  readonly home: string
  readonly name: string
  readonly #child: ChildProcess

  private constructor(child: ChildProcess, id: string, home: string, name: string) {
    this.#child = child
    this.id = id
    this.home = home
    this.name = name
  }

  static async start(name: string): Promise<TemporaryHost> {
    const home = await mkdtemp(join(tmpdir(), 'partyline-'))
    // This program itself: sources in a checkout, compiled JavaScript in a package.
    const program = fileURLToPath(
      new URL(import.meta.url.endsWith('.ts') ? '../main.ts' : '../main.js', import.meta.url),
    )
    const child = spawn(process.execPath, [...ROOMY_HEAP, program, 'daemon', '--home', home, '--name', name], {
      // By the channel it learns when this process is gone, however that came about, and stops.
      stdio: ['ignore', 'pipe', 'pipe', 'ipc'],
    }) as ChildProcessByStdio<null, Readable, Readable>
    let log = ''
    child.stderr.setEncoding('utf8').on('data', (text: string) => {
      log = (log + text).slice(-4000)
    })
    for await (const line of createInterface(child.stdout)) {
      const id = /^partyline ready id=(\w+)/.exec(line)?.[1]
      if (id) return new TemporaryHost(child, id, home, name)
    }
    await rm(home, { recursive: true, force: true })
    throw new PartylineError('local.internal', `the host ${name} did not start: ${log.trim().split('\n').at(-1) ?? ''}`)
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode === null && this.#child.signalCode === null) {
      const gone = once(this.#child, 'exit')
      this.#child.kill('SIGTERM')
      await gone
    }
    await rm(this.home, { recursive: true, force: true })
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.stop()
  }
}
