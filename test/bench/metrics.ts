/** What is measured, and how of two processes that stand ready. */
import { setTimeout as sleep } from 'node:timers/promises'
import { cpuOf, residentSet } from './hosts.ts'
import type { Started } from './subjects.ts'

/** What `--only` takes, in the order of the tables. */
export const METRICS = [
  'connect',
  'rtt64',
  'rtt1k',
  'rtt64-under-bulk',
  'messages64',
  'messages1k',
  'messages64k',
  'bulk',
  'bulk10',
  'cpu',
  'datagrams',
  'memory',
] as const
export type Metric = (typeof METRICS)[number]

/** What else `--only` takes: measured of Partyline alone. */
export const EXTRAS = ['calls', 'crowd', 'hub'] as const

interface Measuring {
  readonly started: Started
  readonly wanted: (metric: Metric) => boolean
  readonly note: (metric: string, unit: string, value: number) => void
}

/** Metrics that are measured with one pair of processes. */
export interface Group {
  readonly name: string
  readonly metrics: readonly Metric[]
  measure(measuring: Measuring): Promise<void>
}

const WARM_CONNECTS = 20
const TRIPS = 3000
const RAMP = 500
const SPAN = 2000
/** For what is still under way to arrive. */
const REST = 300
const SETTLE = 1500
const HELD = [1, 100, 1000]
const HOLD_LIMIT = 180_000
const GIB = 2 ** 30

type Counter = 'bytes' | 'messages' | 'packets'

/** How much a counter of the server grows in a second while the client is busy, and the CPU time of all processes meanwhile. */
async function rate(
  { server, pids }: Started,
  counter: Counter,
): Promise<{ perSecond: number; cpu: number; total: number }> {
  await sleep(RAMP)
  const cpu = (): number => pids.reduce((sum, pid) => sum + cpuOf(pid), 0)
  const first = await server.ask({ do: 'mark' })
  const before = cpu()
  await sleep(SPAN)
  const last = await server.ask({ do: 'mark' })
  const total = Number(last[counter]) - Number(first[counter])
  return { perSecond: (total * 1000) / (Number(last.at) - Number(first.at)), cpu: cpu() - before, total }
}

const connect: Group = {
  name: 'connect',
  metrics: ['connect'],
  async measure({ started, note }) {
    const { cold, warm } = await started.client.ask({ do: 'connect', warm: WARM_CONNECTS })
    note('connect', 'ms', Number(cold))
    note('connect warm', 'ms', Number(warm))
  },
}

const trips: Group = {
  name: 'round trips',
  metrics: ['rtt64', 'rtt1k', 'rtt64-under-bulk'],
  async measure({ started: { client, hasOwnMessages }, wanted, note }) {
    const each = async (metric: string, size: number, over: 'message' | 'stream' = 'message'): Promise<void> => {
      const { p50, p99 } = await client.ask({ do: 'trips', size, count: TRIPS, over })
      note(metric, 'µs', Number(p50))
      note(`${metric} p99`, 'µs', Number(p99))
    }
    if (wanted('rtt64')) await each('rtt64', 64)
    if (wanted('rtt64') && hasOwnMessages) await each('rtt64 stream', 64, 'stream')
    if (wanted('rtt1k')) await each('rtt1k', 1024)
    if (!wanted('rtt64-under-bulk')) return
    await client.ask({ do: 'pour', streams: 1 })
    await sleep(RAMP)
    await each('rtt64 under bulk', 64)
    await client.ask({ do: 'rest' })
  },
}

const SIZES = { messages64: 64, messages1k: 1024, messages64k: 64 * 1024 } as const

const messages: Group = {
  name: 'messages',
  metrics: ['messages64', 'messages1k', 'messages64k'],
  async measure({ started, wanted, note }) {
    for (const metric of ['messages64', 'messages1k', 'messages64k'] as const) {
      if (!wanted(metric)) continue
      await started.client.ask({ do: 'messages', size: SIZES[metric] })
      note(metric, '/s', some((await rate(started, 'messages')).perSecond))
      await started.client.ask({ do: 'rest' })
      await sleep(REST)
    }
  },
}

const bulk: Group = {
  name: 'bulk',
  metrics: ['bulk', 'bulk10', 'cpu'],
  async measure({ started, wanted, note }) {
    for (const [metric, streams] of [
      ['bulk', 1],
      ['bulk10', 10],
    ] as const) {
      const withCpu = streams === 1 && wanted('cpu')
      if (!wanted(metric) && !withCpu) continue
      await started.client.ask({ do: 'pour', streams })
      const { perSecond, cpu, total } = await rate(started, 'bytes')
      await started.client.ask({ do: 'rest' })
      if (wanted(metric)) note(metric, 'Mbit/s', some((perSecond * 8) / 1e6))
      if (withCpu) note('cpu', 's/GiB', (cpu * GIB) / some(total))
      await sleep(REST)
    }
  },
}

const packets: Group = {
  name: 'datagrams',
  metrics: ['datagrams'],
  async measure({ started, note }) {
    await started.client.ask({ do: 'packets' })
    note('datagrams', '/s', some((await rate(started, 'packets')).perSecond))
    await started.client.ask({ do: 'rest' })
  },
}

/** Growth of the serving process's resident set, by session. */
export const memory: Group = {
  name: 'memory',
  metrics: ['memory'],
  async measure({ started: { client, holder }, note }) {
    const before = residentSet(holder)
    for (const count of HELD) {
      await client.ask({ do: 'hold', count }, HOLD_LIMIT)
      await sleep(SETTLE)
      note(count === 1000 ? 'memory' : `memory ${count}`, 'bytes', (residentSet(holder) - before) / count)
    }
  },
}

/** Those that are measured in every run. */
export const GROUPS: readonly Group[] = [connect, trips, messages, bulk, packets]

/** Nothing arrived: a figure of 0 would look like a slow subject. */
function some(value: number): number {
  if (value > 0) return value
  throw new Error('nothing arrived')
}
