/** Who is measured: how the processes of each are started, and which metrics each has. */
import { mkdirSync } from 'node:fs'
import { join } from 'node:path'
import { BenchDaemon } from './daemon.ts'
import { type HostPair, Worker } from './hosts.ts'
import type { Metric } from './metrics.ts'
import type { Scope } from './report.ts'
import type { Setup } from './transport.ts'

/** Two processes that stand ready, and those between them. */
export interface Started {
  readonly server: Worker
  readonly client: Worker
  /** All of them, for CPU time. */
  readonly pids: readonly number[]
  /** The one whose memory grows with sessions. */
  readonly holder: number
  /** It has messages of its own, so that round trips of messages and of streams differ. */
  readonly hasOwnMessages: boolean
  stop(): Promise<void>
}

export interface Setting {
  readonly hosts: HostPair
  readonly scratch: string
}

export interface Subject {
  readonly name: string
  readonly scope: Scope
  readonly metrics: readonly Metric[]
  /** Kept in a folder of its own, installed when it is measured. */
  readonly isPeer?: true
  start(setting: Setting): Promise<Started>
}

const STREAMS = [
  'rtt64',
  'rtt1k',
  'rtt64-under-bulk',
  'messages64',
  'messages1k',
  'messages64k',
  'bulk',
  'bulk10',
  'cpu',
] as const
const PIPES = ['connect', ...STREAMS] as const

let unique = 0
const setup = (host: string, rest: Partial<Setup> = {}): Setup => ({ host, home: '', path: '', variant: '', ...rest })

/** Two workers, one after the other; what was started before is stopped when something fails. */
async function pair(
  { hosts }: Setting,
  transport: string,
  { near = {}, far = {}, roomy = false }: { near?: Partial<Setup>; far?: Partial<Setup>; roomy?: boolean } = {},
): Promise<{ server: Worker; client: Worker }> {
  const server = new Worker(hosts.b, 'serve', transport, setup(hosts.b.address, far), roomy)
  const started = [server]
  try {
    const reach = await server.ready()
    const client = new Worker(hosts.a, 'dial', transport, { ...setup('', near), ...reach }, roomy)
    started.push(client)
    await client.ready()
    return { server, client }
  } catch (error) {
    await stopAll(started)
    throw error
  }
}

async function stopAll(all: readonly { stop(): Promise<void> }[]): Promise<void> {
  await Promise.all(all.map((one) => one.stop()))
}

/** A library between two processes. */
function library(
  name: string,
  metrics: readonly Metric[],
  { transport = name, variant = '', roomy = false, isPeer = false, hasOwnMessages = false } = {},
): Subject {
  return {
    name,
    scope: 'daemon',
    metrics,
    ...(isPeer && { isPeer }),
    start: async (setting) => {
      const { server, client } = await pair(setting, transport, { near: { variant }, far: { variant }, roomy })
      return {
        server,
        client,
        pids: [server.pid, client.pid],
        holder: server.pid,
        hasOwnMessages,
        stop: () => stopAll([client, server]),
      }
    },
  }
}

/** app, Unix socket, process, TLS, process, Unix socket, app: the shape of Partyline, made of bare pipes. */
function bareChain(name: string, roomy: boolean, metrics: readonly Metric[]): Subject {
  return {
    name,
    scope: 'app',
    metrics,
    start: async ({ hosts, scratch }) => {
      const far = { path: join(scratch, `far${unique}`) }
      const near = { path: join(scratch, `near${unique++}`) }
      const started: Worker[] = []
      const begin = async (worker: Worker): Promise<Worker> => {
        started.unshift(worker)
        return worker
      }
      try {
        const server = await begin(new Worker(hosts.b, 'serve', 'unix', setup('', far)))
        await server.ready()
        const far2 = await begin(new Worker(hosts.b, 'chain-far', '', setup(hosts.b.address, far), roomy))
        const { port } = await far2.ready()
        const near2 = await begin(
          new Worker(hosts.a, 'chain-near', '', { ...setup(hosts.b.address, near), port }, roomy),
        )
        await near2.ready()
        const client = await begin(new Worker(hosts.a, 'dial', 'unix', setup('', near)))
        await client.ready()
        const pids = started.map(({ pid }) => pid)
        return { server, client, pids, holder: near2.pid, hasOwnMessages: false, stop: () => stopAll(started) }
      } catch (error) {
        await stopAll(started)
        throw error
      }
    },
  }
}

/** Two daemons, and an app at each. */
const partylineApp: Subject = {
  name: 'partyline',
  scope: 'app',
  metrics: [...PIPES, 'datagrams'],
  start: async (setting) => {
    const { hosts, scratch } = setting
    const [near, far] = await daemons(setting.hosts, join(scratch, `daemons${unique++}`))
    try {
      const workers = await pair({ hosts, scratch }, 'partyline-app', {
        near: { home: near.home },
        far: { home: far.home },
      })
      const { server, client } = workers
      return {
        ...workers,
        pids: [server.pid, client.pid, near.pid, far.pid],
        holder: far.pid,
        hasOwnMessages: true,
        stop: async () => {
          await stopAll([client, server])
          await stopAll([near, far])
        },
      }
    } catch (error) {
      await stopAll([near, far])
      throw error
    }
  },
}

async function daemons(hosts: HostPair, folder: string): Promise<[BenchDaemon, BenchDaemon]> {
  mkdirSync(folder)
  const near = await BenchDaemon.start(hosts.a, join(folder, 'a'))
  try {
    const far = await BenchDaemon.start(hosts.b, join(folder, 'b'))
    try {
      await near.sees(far.id)
      return [near, far]
    } catch (error) {
      await far.stop()
      throw error
    }
  } catch (error) {
    await near.stop()
    throw error
  }
}

/** A daemon, and as many hosts as are wanted in one process. */
const partylineCrowd: Subject = {
  name: 'partyline',
  scope: 'daemon',
  metrics: ['memory'],
  start: async ({ hosts, scratch }) => {
    const home = join(scratch, `crowded${unique++}`)
    const daemon = await BenchDaemon.start(hosts.b, home, {
      'link.max-per-address': 4000,
      'link.max-half-open': 4000,
    })
    const client = new Worker(hosts.a, 'dial', 'partyline-crowd', {
      ...setup(hosts.b.address),
      port: daemon.port,
      detail: daemon.id,
    })
    const stop = (): Promise<void> => stopAll([client, daemon])
    try {
      await client.ready()
      return { server: client, client, pids: [daemon.pid], holder: daemon.pid, hasOwnMessages: true, stop }
    } catch (error) {
      await stop()
      throw error
    }
  },
}

const peer = { isPeer: true } as const
const ALL = [...PIPES, 'memory'] as const

/** In the order of the tables. What a library lacks (libp2p: unreliable packets) is not among its metrics. */
export const SUBJECTS: readonly Subject[] = [
  library('partyline', [...PIPES, 'datagrams'], { transport: 'partyline-bare', roomy: true, hasOwnMessages: true }),
  partylineCrowd,
  library('node-tls', ALL),
  library('node-tls roomy-heap', ['bulk', 'rtt64'], { transport: 'node-tls', roomy: true }),
  library('bare-udp', ['datagrams'], { transport: 'bare-udp', variant: 'dgram' }),
  library('bare-udp unsealed', ['datagrams'], { transport: 'bare-udp', variant: 'dgram,open' }),
  library('bare-udp udx-native', ['datagrams'], { transport: 'bare-udp' }),
  library('node-datachannel', [...ALL, 'datagrams'], peer),
  library('@hyperswarm/secret-stream', [...ALL, 'datagrams'], peer),
  library('@number0/iroh', [...ALL, 'datagrams'], peer),
  library('libp2p', ALL, peer),
  partylineApp,
  bareChain('bare-chain', true, PIPES),
  bareChain('bare-chain default-heap', false, ['bulk', 'rtt64']),
]

/** The other P2P libraries of the table. */
export const PEERS: readonly string[] = SUBJECTS.filter(({ isPeer }) => isPeer).map(({ name }) => name)
