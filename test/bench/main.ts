/**
 * `npm run bench [-- --json] [-- --runs N] [-- --only METRIC,…]`: Partyline beside bare TLS, bare TCP and a bare chain of the same
 * shape, interleaved in one run, on two lab hosts (veth) where that is possible and on loopback otherwise.
 */
import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { parseArgs } from 'node:util'
import { measureCrowd } from './crowd.ts'
import { BenchDaemon } from './daemon.ts'
import { type HostPair, hostPair, Worker } from './hosts.ts'
import { measureHub } from './hub.ts'
import { Report } from './report.ts'

const { values: options } = parseArgs({
  options: { json: { type: 'boolean' }, runs: { type: 'string', default: '5' }, only: { type: 'string' } },
})
const runs = Number(options.runs)
const wanted = (metric: string): boolean => options.only === undefined || options.only.split(',').includes(metric)
const report = new Report()
const scratch = mkdtempSync(join(tmpdir(), 'partyline-bench-'))
let unique = 0

interface Setting {
  readonly hosts: HostPair
  readonly near: BenchDaemon
  readonly far: BenchDaemon
}

/** Starts `server`, then `client` against it; resolves to what `read` takes from the measuring one; ends both. */
async function pair<T>(
  start: () => Promise<{ server: Worker; client: (port: number) => Worker; extra?: Worker[] }>,
  read: (server: Worker, client: Worker) => Promise<T>,
): Promise<T> {
  const { server, client, extra = [] } = await start()
  const ready = await server.line()
  const caller = client(Number(ready.port ?? 0))
  try {
    return await read(server, caller)
  } finally {
    await Promise.all([caller, server, ...extra].map((worker) => worker.stop()))
  }
}

const SECONDS = 2

/** `bulk`: one stream for two seconds, Mbit/s at the receiver. */
async function bulk({ hosts, near, far }: Setting): Promise<void> {
  const rate = (server: Worker): Promise<number> => server.number('mbps')
  const service = `bulk${unique++}`
  report.add('bulk', 'app', 'node-tls', 'Mbit/s', await bareTls(hosts, '', rate))
  report.add('bulk', 'app', 'node-tls aes-128', 'Mbit/s', await bareTls(hosts, 'TLS_AES_128_GCM_SHA256', rate))
  report.add('bulk', 'app', 'bare-chain', 'Mbit/s', await chain(hosts, 'unix-sink', 'unix-source', {}, rate))
  const partyline = await pair(
    async () => ({
      server: new Worker(hosts.b, 'partyline-sink', { home: far.home, name: service }),
      client: () =>
        new Worker(hosts.a, 'partyline-source', { home: near.home, peer: far.id, name: service, seconds: SECONDS }),
    }),
    rate,
  )
  report.add('bulk', 'app', 'partyline', 'Mbit/s', partyline)
}

function bareTls(hosts: HostPair, ciphers: string, read: (server: Worker) => Promise<number>): Promise<number> {
  return pair(
    async () => ({
      server: new Worker(hosts.b, 'tls-sink', { ciphers }),
      client: (port) => new Worker(hosts.a, 'tls-source', { host: hosts.b.address, port, seconds: SECONDS }),
    }),
    read,
  )
}

/** app, Unix socket, process, TLS, process, Unix socket, app: the shape of Partyline, made of bare pipes. */
async function chain<T>(
  hosts: HostPair,
  sink: string,
  source: string,
  how: object,
  read: (server: Worker, client: Worker) => Promise<T>,
): Promise<T> {
  const farPath = join(scratch, `far${unique}`)
  const nearPath = join(scratch, `near${unique++}`)
  const server = new Worker(hosts.b, sink, { path: farPath })
  await server.line()
  const far = new Worker(hosts.b, 'chain-far', { path: farPath, ciphers: 'TLS_AES_128_GCM_SHA256' })
  const near = new Worker(hosts.a, 'chain-near', {
    path: nearPath,
    host: hosts.b.address,
    port: await far.number('port'),
  })
  await near.line()
  const client = new Worker(hosts.a, source, { path: nearPath, seconds: SECONDS, ...how })
  try {
    return await read(server, client)
  } finally {
    await Promise.all([client, near, far, server].map((worker) => worker.stop()))
  }
}

const TRIPS = { count: 3000, size: 64 }

/** `rtt64`: 64 bytes there and back, µs, median of 3,000 in each run. */
async function roundTrips({ hosts, near, far }: Setting): Promise<void> {
  const note = async (subject: string, scope: 'app' | 'daemon', client: Worker): Promise<void> => {
    const { p50, p99 } = await client.line()
    report.add('rtt64', scope, subject, 'µs', Number(p50))
    report.add('rtt64 p99', scope, subject, 'µs', Number(p99))
  }
  for (const kind of ['tcp', 'tls']) {
    await pair(
      async () => ({
        server: new Worker(hosts.b, `${kind}-echo`, { ciphers: '' }),
        client: (port) => new Worker(hosts.a, `${kind}-ping`, { host: hosts.b.address, port, ...TRIPS }),
      }),
      (_, client) => note(kind === 'tcp' ? 'node-tcp' : 'node-tls', 'app', client),
    )
  }
  await chain(hosts, 'unix-echo', 'unix-ping', TRIPS, (_, client) => note('bare-chain', 'app', client))
  for (const [kind, encoding] of [
    ['stream', 'messagepack'],
    ['message', 'messagepack'],
    ['message', 'json'],
  ] as const) {
    const name = `rtt${unique++}`
    await pair(
      async () => ({
        server: new Worker(hosts.b, `partyline-${kind}-echo`, { home: far.home, name, encoding }),
        client: () =>
          new Worker(hosts.a, `partyline-${kind}-ping`, { home: near.home, peer: far.id, name, encoding, ...TRIPS }),
      }),
      (_, client) => note(kind === 'stream' ? 'partyline stream' : `partyline message ${encoding}`, 'app', client),
    )
  }
}

/** `calls`: small calls a second on the socket, 64 in flight, both encodings. */
async function calls({ hosts, near }: Setting): Promise<void> {
  for (const encoding of ['messagepack', 'json']) {
    const worker = new Worker(hosts.a, 'partyline-calls', { home: near.home, encoding, count: 40_000 })
    report.add('calls', 'app', `partyline ${encoding}`, '/s', await worker.number('perSecond'))
    await worker.stop()
  }
}

/** `connect`: `sessions.open` between hosts that know each other's address and have no session, ms. */
async function connects({ near, far }: Setting): Promise<void> {
  for (let i = 0; i < 5; i++) {
    await near.cli(['disconnect', far.id])
    const { elapsed } = JSON.parse(await near.cli(['connect', far.id, '--json'])) as { elapsed: number }
    report.add('connect', 'daemon', 'partyline', 'ms', elapsed)
  }
}

const METRICS = { bulk, rtt64: roundTrips, calls, connect: connects }

{
  await using hosts = await hostPair()
  const near = await BenchDaemon.start(hosts.a, join(scratch, 'a'))
  const far = await BenchDaemon.start(hosts.b, join(scratch, 'b'))
  await near.sees(far.id)
  console.error(`two daemons on ${hosts.kind}; ${runs} runs`)
  for (let run = 0; run < runs; run++)
    for (const [metric, measure] of Object.entries(METRICS)) if (wanted(metric)) await measure({ hosts, near, far })
  await Promise.all([near.stop(), far.stop()])
}
if (wanted('memory')) await measureCrowd(report, scratch)
if (wanted('hub')) await measureHub(report, scratch)
rmSync(scratch, { recursive: true, force: true })
process.stdout.write(options.json ? report.json() : report.markdown())
