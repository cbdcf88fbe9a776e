import { type ChildProcess, spawn } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { ROOMY_HEAP } from '../../cli/roomy-heap.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import type { Command } from './worker.ts'

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

/** Two lab hosts where root and the lab's tools are there and nobody wants loopback. */
export async function hostPair(loopback = false): Promise<HostPair> {
  if (!loopback && labMissing() === undefined) {
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
  const children = new Set<ChildProcess>()
  const kill = (): void => {
    for (const child of children) child.kill('SIGKILL')
  }
  process.once('exit', kill)
  const local: BenchHost = {
    address: '127.0.0.1',
    spawn: ([program = '', ...args]) => {
      const child = spawn(program, args, { stdio: ['pipe', 'pipe', 'pipe'] })
      children.add(child)
      child.once('exit', () => children.delete(child))
      return child
    },
  }
  return { kind: 'loopback', a: local, b: local, [Symbol.asyncDispose]: async () => kill() }
}

/** Rejects when it takes longer than so many milliseconds. */
export async function within<T>(limit: number, what: string, work: Promise<T>): Promise<T> {
  const late = Promise.withResolvers<never>()
  const timer = setTimeout(() => late.reject(new Error(`${what}: no answer within ${limit / 1000} s`)), limit)
  try {
    return await Promise.race([work, late.promise])
  } finally {
    clearTimeout(timer)
  }
}

/** CPU time a process has used, in seconds (100 ticks a second on Linux). */
export function cpuOf(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / 100
}

/** Resident set of a process, in bytes. */
export function residentSet(pid: number): number {
  return Number(/^VmRSS:\s+(\d+)/m.exec(readFileSync(`/proc/${pid}/status`, 'utf8'))?.[1]) * 1024
}

const WORKER = new URL('./worker.ts', import.meta.url).pathname
/** How long a worker may take to start, and for an ordinary answer, in milliseconds. */
const START_LIMIT = 20_000
const ANSWER_LIMIT = 30_000
const STOP_LIMIT = 2000
const MAX_ERRORS = 4000

/** A running role of `worker.ts`. */
export class Worker {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>
  readonly #role: string
  #errors = ''

  /** `roomy`: with the V8 options of the daemon. */
  constructor(host: BenchHost, role: string, subject: string, options: object, roomy = false) {
    this.#role = `${role} ${subject}`.trim()
    const flags = ['--no-deprecation', ...(roomy ? ROOMY_HEAP : [])]
    this.#child = host.spawn([process.execPath, ...flags, WORKER, role, subject, JSON.stringify(options)])
    const { stdout, stderr, stdin } = this.#child
    stderr?.setEncoding('utf8').on('data', (text: string) => {
      this.#errors = (this.#errors + text).slice(-MAX_ERRORS)
    })
    // It may have ended; its next answer tells.
    stdin?.on('error', () => {})
    if (!stdout) throw new Error(`the worker ${this.#role} has no stdout`)
    this.#lines = createInterface(stdout)[Symbol.asyncIterator]()
  }

  /** What it prints when it is ready, or when its work is done. */
  ready(limit = START_LIMIT): Promise<Record<string, unknown>> {
    return within(limit, this.#role, this.#line())
  }

  /** Asks for something and gives its answer; throws what went wrong there. */
  ask(command: Command, limit = ANSWER_LIMIT): Promise<Record<string, unknown>> {
    this.#child.stdin?.write(`${JSON.stringify(command)}\n`)
    return within(limit, `${this.#role}, ${command.do}`, this.#line())
  }

  /** Ends it, gently first. */
  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), STOP_LIMIT)
    await gone
    clearTimeout(timer)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  async #line(): Promise<Record<string, unknown>> {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error(`${this.#role} ended: ${lastError(this.#errors)}`)
    const line = JSON.parse(value) as Record<string, unknown>
    if (typeof line.error === 'string') throw new Error(`${this.#role}: ${line.error}`)
    return line
  }
}

/** The line of a stack trace that names the error, or the last that was printed. */
function lastError(text: string): string {
  const lines = text.split('\n').filter((line) => line.trim() !== '')
  return lines.find((line) => /^\w*Error\b/.test(line)) ?? lines.at(-1) ?? 'it said nothing'
}
