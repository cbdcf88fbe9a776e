import type { ChildProcess } from 'node:child_process'
import { once } from 'node:events'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { connect } from '../../ipc/index.ts'
import type { BenchHost } from './hosts.ts'

/** What is installed: compiled, by `npm run bench`. */
const CLI = new URL('../../dist/cli/main.js', import.meta.url).pathname

/** A daemon on a benchmark host. */
export class BenchDaemon {
  readonly id: string
  readonly home: string
  readonly #host: BenchHost
  readonly #child: ChildProcess

  private constructor(host: BenchHost, child: ChildProcess, id: string, home: string) {
    this.#host = host
    this.#child = child
    this.id = id
    this.home = home
  }

  static async start(host: BenchHost, home: string): Promise<BenchDaemon> {
    const child = host.spawn([process.execPath, CLI, 'daemon', '--home', home])
    if (!child.stdout) throw new Error('the daemon has no stdout')
    for await (const line of createInterface(child.stdout)) {
      const id = /^partyline ready id=(\w+)/.exec(line)?.[1]
      if (id) return new BenchDaemon(host, child, id, home)
    }
    throw new Error('the daemon ended before it was ready')
  }

  /** Resolves when this daemon has a sighting of that peer. */
  async sees(id: string): Promise<void> {
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

  /** CPU time used since start, in seconds (100 ticks a second on Linux). */
  cpu(): number {
    const fields = readFileSync(`/proc/${this.#child.pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
    return (Number(fields[11]) + Number(fields[12])) / 100
  }

  async stop(): Promise<void> {
    const gone = once(this.#child, 'exit')
    this.#child.kill('SIGTERM')
    await gone
  }
}
