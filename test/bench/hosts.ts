import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { Lab, labMissing } from '../lab/lab.ts'

/** A place where benchmark processes run: a network namespace of the lab, or this machine's loopback. */
export interface BenchHost {
  readonly address: string
  spawn(command: readonly string[]): ChildProcess
}

/** Two hosts and the way to get rid of them. */
export interface HostPair extends AsyncDisposable {
  readonly kind: 'lab (veth)' | 'loopback'
  readonly a: BenchHost
  readonly b: BenchHost
}

/** Two lab hosts where root and the lab's tools are there, loopback otherwise. */
export async function hostPair(): Promise<HostPair> {
  if (labMissing() === undefined) {
    const lab = await Lab.up('lan', { n: 2 })
    const host = (name: string, address: string): BenchHost => ({
      address,
      spawn: (command) => lab.spawn(name, [...command]),
    })
    return {
      kind: 'lab (veth)',
      a: host('h1', '192.168.50.1'),
      b: host('h2', '192.168.50.2'),
      [Symbol.asyncDispose]: () => lab.down(),
    }
  }
  const local: BenchHost = {
    address: '127.0.0.1',
    spawn: ([program = '', ...args]) => spawn(program, args, { stdio: ['pipe', 'pipe', 'inherit'] }),
  }
  return { kind: 'loopback', a: local, b: local, [Symbol.asyncDispose]: async () => {} }
}

const WORKER = new URL('./worker.ts', import.meta.url).pathname

/** A running role of `worker.ts`: the JSON lines it prints, and its end. */
export class Worker {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(host: BenchHost, role: string, options: object) {
    this.#child = host.spawn([process.execPath, WORKER, role, JSON.stringify(options)])
    this.#child.stderr?.pipe(process.stderr)
    if (!this.#child.stdout) throw new Error(`the worker ${role} has no stdout`)
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]()
  }

  /** The next line it prints, parsed. */
  async line(): Promise<Record<string, unknown>> {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('a benchmark worker ended early')
    return JSON.parse(value) as Record<string, unknown>
  }

  async number(key: string): Promise<number> {
    return Number((await this.line())[key])
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    await gone
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }
}
