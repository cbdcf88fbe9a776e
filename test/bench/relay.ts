/**
 * `node test/bench/relay.ts [--json]`: what a relay of ours carries and what it costs, beside coturn in the same run, in the lab. One client sends
 * packets of 1000 bytes by a channel to one peer. Compare the ratios, not the numbers.
 */
import type { ChildProcess } from 'node:child_process'
import { createHmac } from 'node:crypto'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { Lab, labMissing, startDaemon } from '../lab/lab.ts'
import { type Order, SIZE, type SourceOptions } from './relay-load.ts'

const WORKER = new URL('./relay-load.ts', import.meta.url).pathname
/** Hosts of the lab: the server, the client, and the peer. */
const SERVER = '192.168.50.1'
const SINK = '192.168.50.3'
const RUNS = 3
const RUN_MS = 2000
/** Packets a second at which the cost of one is measured. */
const STEADY = 10_000
/** What is under way when the source stops. */
const SETTLING = 300
/** Clock ticks a second in /proc (`getconf CLK_TCK`). */
const TICKS = 100
const REST = { username: '1999999999:bench', secret: 'labsecret' } as const

interface Figures {
  readonly server: string
  /** Relayed at full load, Mbit/s. */
  readonly most: number
  /** Of a steady load: processor time of a packet in microseconds, and packets lost in percent. */
  readonly cost: number
  readonly lost: number
}

/** A worker that answers lines with lines. */
class Worker {
  readonly #child: ChildProcess
  readonly #lines: AsyncIterator<string>

  constructor(lab: Lab, host: string, args: readonly string[]) {
    this.#child = lab.spawn(host, [process.execPath, WORKER, ...args])
    if (!this.#child.stdout) throw new Error('the worker has no output')
    this.#child.stderr?.pipe(process.stderr)
    this.#lines = createInterface(this.#child.stdout)[Symbol.asyncIterator]()
  }

  async next<T>(): Promise<T> {
    const { value, done } = await this.#lines.next()
    if (done) throw new Error('the worker has ended')
    return JSON.parse(value) as T
  }

  ask<T>(order: object): Promise<T> {
    this.#child.stdin?.write(`${JSON.stringify(order)}\n`)
    return this.next<T>()
  }
}

/** Processor time of a process so far, in seconds (proc_pid_stat(5)). */
function processorTime(pid: number): number {
  const fields = readFileSync(`/proc/${pid}/stat`, 'utf8').split(') ')[1]?.split(' ') ?? []
  return (Number(fields[11]) + Number(fields[12])) / TICKS
}

function median(values: readonly number[]): number {
  return values.toSorted((a, b) => a - b)[values.length >> 1] ?? 0
}

async function measure(lab: Lab, server: string, pid: number, login: Pick<SourceOptions, 'username' | 'password'>) {
  const sink = new Worker(lab, 'h3', ['sink'])
  const source = new Worker(lab, 'h2', ['source', JSON.stringify({ server: SERVER, sink: SINK, ...login })])
  await Promise.all([sink.next(), source.next()])
  const run = async (order: Order) => {
    const [before, busy] = [await sink.ask<{ packets: number }>({}), processorTime(pid)]
    const { sent } = await source.ask<{ sent: number }>(order)
    await new Promise((resolve) => setTimeout(resolve, SETTLING))
    const packets = (await sink.ask<{ packets: number }>({})).packets - before.packets
    return { sent, packets, busy: processorTime(pid) - busy }
  }
  const most: number[] = []
  const cost: number[] = []
  const lost: number[] = []
  for (let n = 0; n < RUNS; n++) {
    const steady = await run({ rate: STEADY, ms: RUN_MS })
    cost.push((steady.busy / steady.packets) * 1e6)
    lost.push((1 - steady.packets / steady.sent) * 100)
    const full = await run({ rate: 0, ms: RUN_MS })
    most.push((full.packets * SIZE * 8) / (RUN_MS * 1000))
  }
  const figures: Figures = { server, most: median(most), cost: median(cost), lost: median(lost) }
  return figures
}

async function ours(): Promise<Figures> {
  await using lab = await Lab.up('lan', { n: 3 })
  const daemon = await startDaemon(lab, 'h1', {
    settings: {
      'relay.enabled': true,
      'relay.allow-private': true,
      'relay.bandwidth': 0,
      'relay.total-bandwidth': 0,
      'log.level': 'warn',
    },
  })
  const client = await startDaemon(lab, 'h2')
  await client.stop()
  await daemon.cli(['trust', client.id])
  const { pid } = JSON.parse((await daemon.cli(['status', '--json'])).stdout) as { pid: number }
  const { stdout } = await daemon.cli(['relay', 'credentials', client.id, '--json'])
  return await measure(lab, 'Partyline', pid, JSON.parse(stdout))
}

async function coturn(): Promise<Figures> {
  await using lab = await Lab.up('lan', { n: 3 })
  await lab.svc('h1', 'coturn')
  const { stdout } = await lab.exec('h1', ['sh', '-c', 'cat "$LAB_DIR/coturn/pid"'])
  const password = createHmac('sha1', REST.secret).update(REST.username).digest('base64')
  return await measure(lab, 'coturn', Number(stdout), { username: REST.username, password })
}

const missing = labMissing(['turnserver', 'openssl', 'ss'])
if (missing) {
  console.error(missing)
  process.exit(1)
}
for (const one of [await ours(), await coturn()]) {
  const { server, most, cost, lost } = one
  if (process.argv.includes('--json')) console.log(JSON.stringify(one))
  else
    console.log(
      `${server.padEnd(10)} ${most.toFixed(0).padStart(6)} Mbit/s at most, ${cost.toFixed(1).padStart(5)} µs of processor a packet, ${lost.toFixed(2)} % lost at ${STEADY} packets/s`,
    )
}
