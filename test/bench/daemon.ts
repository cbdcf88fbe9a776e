import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { connect } from '../../ipc/index.ts'
import { type BenchHost, cpuOf, within } from './hosts.ts'

/** What is installed: compiled, by `npm run bench`. */
const CLI = new URL('../../dist/cli/main.js', import.meta.url).pathname

/** How long a daemon may take to start, and to see another, in milliseconds. */
const PATIENCE = 30_000

/** A daemon on a benchmark host. */
export class BenchDaemon {
  readonly id: string
  readonly port: number
  readonly home: string
  readonly #host: BenchHost
  readonly #child: ChildProcess

  private constructor(host: BenchHost, child: ChildProcess, id: string, port: number, home: string) {
    this.#host = host
    this.#child = child
    this.id = id
    this.port = port
    this.home = home
  }

  /** Starts one, with these settings. */
  static async start(
    host: BenchHost,
    home: string,
    settings: Readonly<Record<string, string | number>> = {},
  ): Promise<BenchDaemon> {
    const daemon = await BenchDaemon.#launch(host, home)
    const changes = Object.entries(settings)
    if (changes.length === 0) return daemon
    for (const [key, value] of changes) await daemon.cli(['config', 'set', key, String(value)])
    // Some count from the next start on.
    await daemon.stop()
    return BenchDaemon.#launch(host, home)
  }

  static async #launch(host: BenchHost, home: string): Promise<BenchDaemon> {
    const child = host.spawn([process.execPath, CLI, 'daemon', '--home', home])
    let errors = ''
    child.stderr?.setEncoding('utf8').on('data', (text: string) => {
      errors = (errors + text).slice(-2000)
    })
    const ready = async (): Promise<BenchDaemon> => {
      if (!child.stdout) throw new Error('the daemon has no stdout')
      for await (const line of createInterface(child.stdout)) {
        const [, id, port] = /^partyline ready id=(\w+) port=(\d+)/.exec(line) ?? []
        if (id) return new BenchDaemon(host, child, id, Number(port), home)
      }
      throw new Error(`the daemon ended before it was ready: ${errors.trim().split('\n').at(-1)}`)
    }
    try {
      return await within(PATIENCE, 'the daemon', ready())
    } catch (error) {
      child.kill('SIGKILL')
      throw error
    }
  }

  /** Resolves when this daemon has a sighting of that peer. */
  sees(id: string): Promise<void> {
    return within(PATIENCE, 'a sighting of the other daemon', this.#sees(id))
  }

  async #sees(id: string): Promise<void> {
    await using client = await connect({ home: this.home, app: 'bench' })
    const events = await client.events(['peers'])
    const here = async (): Promise<boolean> => (await client.call('peers.list', {})).some((peer) => peer.id === id)
    if (await here()) return
    for await (const _ of events) if (await here()) return
  }

  /** Watches for a peer to leave the list: `ready` once it watches, `done` with the moment it was gone. */
  loses(id: string): { ready: Promise<void>; done: Promise<number> } {
    const ready = Promise.withResolvers<void>()
    const watch = async (): Promise<number> => {
      await using client = await connect({ home: this.home, app: 'bench' })
      const events = await client.events(['peers'])
      ready.resolve()
      for await (const event of events)
        if (event.name === 'peers.gone' && event.params.id === id) return performance.now()
      throw new Error('the daemon went away')
    }
    return { ready: ready.promise, done: watch() }
  }

  /** SIGKILL, and its end. */
  async kill(): Promise<void> {
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGKILL')
    await gone
  }

  /** Runs a command against this daemon; its stdout. */
  async cli(args: readonly string[]): Promise<string> {
    const child = this.#host.spawn([process.execPath, CLI, ...args, '--home', this.home])
    let output = ''
    child.stdout?.on('data', (chunk) => (output += String(chunk)))
    await once(child, 'close')
    return output
  }

  /** Memory that only this process uses besides what it shares, in MiB (Pss where /proc has it, else resident set). */
  memory(): { rss: number; pss: number } {
    const rollup = readFileSync(`/proc/${this.#child.pid}/smaps_rollup`, 'utf8')
    const kib = (key: string): number => Number(new RegExp(`^${key}:\\s+(\\d+)`, 'm').exec(rollup)?.[1] ?? Number.NaN)
    return { rss: kib('Rss') / 1024, pss: kib('Pss') / 1024 }
  }

  /** CPU time used since start, in seconds. */
  cpu(): number {
    return cpuOf(this.pid)
  }

  get pid(): number {
    return this.#child.pid ?? 0
  }

  async stop(): Promise<void> {
    if (this.#child.exitCode !== null || this.#child.signalCode !== null) return
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    const timer = setTimeout(() => this.#child.kill('SIGKILL'), PATIENCE)
    await gone
    clearTimeout(timer)
  }
}
