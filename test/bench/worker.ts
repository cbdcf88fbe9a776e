/**
 * The processes of the benchmark: `worker.ts ROLE SUBJECT SETUP-AS-JSON`. A worker prints one JSON line when it is ready, then answers each JSON line
 * on its standard input with one. It ends with its standard input.
 */
import { createInterface } from 'node:readline'
import { connect } from '../../ipc/index.ts'
import { BenchClient } from './client.ts'
import { crowdAtHub } from './hub-crowd.ts'
import { Service } from './service.ts'
import { chainFar, chainNear } from './subjects/node-tls.ts'
import type { Reach, Setup, Transport } from './transport.ts'

/** How each subject is loaded: a process holds only what it needs, or its memory would tell nothing. */
const TRANSPORTS: Readonly<Record<string, () => Promise<Transport>>> = {
  'node-tls': async () => (await import('./subjects/node-tls.ts')).nodeTls,
  unix: async () => (await import('./subjects/node-tls.ts')).unix,
  'udx-link': async () => (await import('./subjects/udx-link.ts')).udxLink,
  'bare-udp': async () => (await import('./subjects/bare-udp.ts')).bareUdp,
  'partyline-bare': async () => (await import('./subjects/partyline-bare.ts')).partylineBare,
  'partyline-app': async () => (await import('./subjects/partyline-app.ts')).partylineApp,
  'partyline-crowd': async () => (await import('./subjects/partyline-crowd.ts')).partylineCrowd,
  'node-datachannel': async () => (await import('./peers/node-datachannel.ts')).nodeDatachannel,
  '@hyperswarm/secret-stream': async () => (await import('./peers/secret-stream.ts')).secretStream,
  '@number0/iroh': async () => (await import('./peers/iroh.ts')).iroh,
  libp2p: async () => (await import('./peers/libp2p.ts')).libp2p,
}

/** What a client is asked. */
export type Command =
  | { readonly do: 'connect'; readonly warm: number }
  | { readonly do: 'trips'; readonly size: number; readonly count: number; readonly over: 'message' | 'stream' }
  | { readonly do: 'pour'; readonly streams: number }
  | { readonly do: 'messages'; readonly size: number }
  | { readonly do: 'packets' }
  | { readonly do: 'hold'; readonly count: number }
  | { readonly do: 'rest' }
  | { readonly do: 'mark' }

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

async function load(subject: string): Promise<Transport> {
  const transport = await TRANSPORTS[subject]?.()
  if (!transport) throw new Error(`no such subject: ${subject}`)
  return transport
}

async function answer(work: (command: Command) => Promise<object> | object): Promise<void> {
  for await (const line of createInterface(process.stdin)) {
    try {
      print(await work(JSON.parse(line) as Command))
    } catch (error) {
      print({ error: error instanceof Error ? error.message : String(error) })
    }
  }
}

async function runClient(client: BenchClient, command: Command): Promise<object> {
  switch (command.do) {
    case 'connect':
      return client.connect(command.warm)
    case 'trips':
      return client.trips(command.size, command.count, command.over)
    case 'pour':
      await client.pour(command.streams)
      return {}
    case 'messages':
      await client.messages(command.size)
      return {}
    case 'packets':
      await client.packets()
      return {}
    case 'hold':
      await client.hold(command.count)
      return {}
    default:
      client.rest()
      return {}
  }
}

type Options = Setup & Reach & { readonly count: number; readonly encoding: 'json' | 'messagepack' }

const ROLES: Readonly<Record<string, (subject: string, options: Options) => Promise<void>>> = {
  serve: async (subject, options) => {
    const service = new Service()
    print(await (await load(subject)).serve(service, options))
    await answer(() => service.mark())
  },
  dial: async (subject, options) => {
    const client = new BenchClient(await (await load(subject)).prepare(options, options))
    print({ ready: true })
    await answer((command) => runClient(client, command))
  },
  'chain-near': async (_, { path, host, port }) => {
    await chainNear(path, host, port)
    print({ ready: true })
    await answer(() => ({}))
  },
  'chain-far': async (_, { path, host }) => {
    print({ port: await chainFar(path, host) })
    await answer(() => ({}))
  },
  'hub-crowd': async (_, { host, port, count }) => print(await crowdAtHub({ address: host, port }, count)),
  calls: async (_, { home, encoding, count }) => {
    const client = await connect({ home, app: 'bench', encoding })
    const start = performance.now()
    let left = count
    const lane = async (): Promise<void> => {
      while (left-- > 0) await client.call('identity.get', {})
    }
    await Promise.all(Array.from({ length: 64 }, lane))
    print({ perSecond: count / ((performance.now() - start) / 1000) })
  },
}

process.once('SIGTERM', () => process.exit(0))
const [role = '', subject = '', options = '{}'] = process.argv.slice(2)
const run = ROLES[role]
if (!run) throw new Error(`no such role: ${role}`)
await run(subject, JSON.parse(options) as Options)
process.exit(0)
