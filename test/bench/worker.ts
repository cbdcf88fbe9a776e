/**
 * The processes of the benchmark, one role each: `worker.ts ROLE OPTIONS-AS-JSON`. Prints JSON lines: `{"ready":…}` when it
 * serves, then its result. Roles come in pairs (source and sink, ping and echo) for every subject that is compared.
 */

import { mkdtempSync } from 'node:fs'
import { createServer as createTcpServer, connect as tcpConnect } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { createServer as createTlsServer, connect as tlsConnect } from 'node:tls'
import { makeCertificate } from '../../daemon/identity/certificate.ts'
import { loadOrCreateIdentity } from '../../daemon/identity/key.ts'
import { connect } from '../../ipc/index.ts'
import { crowdAtHub } from './hub-crowd.ts'
import { median, quantile } from './statistics.ts'

interface Options {
  readonly host: string
  readonly port: number
  readonly path: string
  readonly next: string
  readonly home: string
  readonly peer: string
  readonly name: string
  readonly seconds: number
  readonly count: number
  readonly size: number
  readonly encoding: 'json' | 'messagepack'
  readonly ciphers: string
}

const CHUNK = Buffer.alloc(256 * 1024, 7)

function print(line: object): void {
  process.stdout.write(`${JSON.stringify(line)}\n`)
}

/** Writes as fast as the stream takes it, for so many seconds, then ends. */
function pour(stream: Duplex, seconds: number): void {
  const end = performance.now() + seconds * 1000
  const more = (): void => {
    while (performance.now() < end) if (!stream.write(CHUNK)) return
    stream.off('drain', more)
    stream.end()
  }
  stream.on('drain', more)
  more()
}

/** Counts what arrives; prints Mbit/s between the first and the last byte. */
function measureRate(stream: Duplex): void {
  let bytes = 0
  let first = 0
  stream.on('data', (chunk: Buffer) => {
    if (bytes === 0) first = performance.now()
    bytes += chunk.length
  })
  stream.on('end', () => {
    print({ mbps: (bytes * 8) / 1000 / (performance.now() - first) })
    stream.end()
  })
}

/** Sends `count` messages of `size` bytes one after another over an echoing stream; prints µs of each round trip. */
async function measureRoundTrips(trip: (payload: Buffer) => Promise<void>, { count, size }: Options): Promise<void> {
  const payload = Buffer.alloc(size, 1)
  const times: number[] = []
  for (let i = 0; i < count + 200; i++) {
    const start = performance.now()
    await trip(payload)
    if (i >= 200) times.push((performance.now() - start) * 1000)
  }
  print({ p50: median(times), p99: quantile(times, 0.99) })
}

/** A round trip over a byte stream whose other end sends everything back. */
function echoTrip(stream: Duplex): (payload: Buffer) => Promise<void> {
  let missing = 0
  let done = (): void => {}
  stream.on('data', (chunk: Buffer) => {
    missing -= chunk.length
    if (missing === 0) done()
  })
  return (payload) =>
    new Promise((resolve) => {
      missing = payload.length
      done = resolve
      stream.write(payload)
    })
}

async function tlsOptions(ciphers: string) {
  const identity = await loadOrCreateIdentity(join(mkdtempSync(join(tmpdir(), 'bench-')), 'identity.key'))
  const { certPem, keyPem } = await makeCertificate(identity)
  return { cert: certPem, key: keyPem, ...(ciphers && { ciphers }), minVersion: 'TLSv1.3' as const }
}

function serve(server: ReturnType<typeof createTcpServer>, at: { path?: string; port?: number }): void {
  server.listen(at, () => {
    const address = server.address()
    print({ ready: true, port: typeof address === 'object' && address ? address.port : 0 })
  })
}

function tune<S extends Duplex>(socket: S): S {
  if ('setNoDelay' in socket && typeof socket.setNoDelay === 'function') socket.setNoDelay(true)
  return socket
}

const dialTls = (o: Options) => tune(tlsConnect({ host: o.host, port: o.port, rejectUnauthorized: false }))
const join2 = (a: Duplex, b: Duplex): void => {
  a.pipe(b)
  b.pipe(a)
}

const ROLES: Record<string, (o: Options) => void | Promise<void>> = {
  'hub-crowd': async ({ host, port, count }) => print(await crowdAtHub({ address: host, port }, count)),
  'tls-sink': async (o) =>
    serve(
      createTlsServer({ ...(await tlsOptions(o.ciphers)), allowHalfOpen: true }, (s) => measureRate(tune(s))),
      { port: 0 },
    ),
  'tls-source': (o) => {
    const socket = dialTls(o)
    socket.once('secureConnect', () => pour(socket, o.seconds))
    socket.resume()
  },
  'tls-echo': async (o) =>
    serve(
      createTlsServer(await tlsOptions(o.ciphers), (s) => tune(s).pipe(s)),
      { port: 0 },
    ),
  'tls-ping': (o) => {
    const socket = dialTls(o)
    socket.once('secureConnect', () => void measureRoundTrips(echoTrip(socket), o))
  },
  'tcp-echo': () =>
    serve(
      createTcpServer((s) => tune(s).pipe(s)),
      { port: 0 },
    ),
  'tcp-ping': (o) => {
    const socket = tune(tcpConnect(o.port, o.host, () => void measureRoundTrips(echoTrip(socket), o)))
  },
  // The bare chain: app, Unix socket, process, TLS, process, Unix socket, app, joined by nothing but pipes.
  'chain-near': (o) =>
    serve(
      createTcpServer({ allowHalfOpen: true }, (app) => join2(app, dialTls(o))),
      { path: o.path },
    ),
  'chain-far': async (o) =>
    serve(
      createTlsServer({ ...(await tlsOptions(o.ciphers)), allowHalfOpen: true }, (s) =>
        join2(tune(s), tcpConnect({ path: o.path, allowHalfOpen: true })),
      ),
      { port: 0 },
    ),
  'unix-sink': (o) => serve(createTcpServer({ allowHalfOpen: true }, measureRate), { path: o.path }),
  'unix-echo': (o) =>
    serve(
      createTcpServer((s) => s.pipe(s)),
      { path: o.path },
    ),
  'unix-source': (o) => {
    const socket = tcpConnect({ path: o.path, allowHalfOpen: true }, () => pour(socket, o.seconds))
    socket.resume()
  },
  'unix-ping': (o) => {
    const socket = tcpConnect(o.path, () => void measureRoundTrips(echoTrip(socket), o))
  },
  'partyline-sink': async (o) => {
    const client = await connect({ home: o.home, app: 'bench' })
    const accepted = client.acceptStream(o.name)
    print({ ready: true })
    measureRate((await accepted).socket)
  },
  'partyline-source': async (o) => {
    const client = await connect({ home: o.home, app: 'bench' })
    const { socket } = await client.openStream(o.peer, o.name)
    socket.resume()
    pour(socket, o.seconds)
  },
  'partyline-stream-echo': async (o) => {
    const client = await connect({ home: o.home, app: 'bench' })
    const accepted = client.acceptStream(o.name)
    print({ ready: true })
    const { socket } = await accepted
    socket.pipe(socket)
  },
  'partyline-stream-ping': async (o) => {
    const client = await connect({ home: o.home, app: 'bench' })
    const { socket } = await client.openStream(o.peer, o.name)
    await measureRoundTrips(echoTrip(socket), o)
  },
  'partyline-message-echo': async (o) => {
    const client = await connect({ home: o.home, app: 'bench', encoding: o.encoding })
    const messages = await client.messages(`${o.name}-there`)
    print({ ready: true })
    for await (const { from, data } of messages)
      void client.call('messages.send', { peer: from, channel: `${o.name}-back`, data })
  },
  'partyline-message-ping': async (o) => {
    const client = await connect({ home: o.home, app: 'bench', encoding: o.encoding })
    const back = (await client.messages(`${o.name}-back`))[Symbol.asyncIterator]()
    await measureRoundTrips(async (payload) => {
      void client.call('messages.send', { peer: o.peer, channel: `${o.name}-there`, data: payload })
      await back.next()
    }, o)
  },
  'partyline-calls': async (o) => {
    const client = await connect({ home: o.home, app: 'bench', encoding: o.encoding })
    const start = performance.now()
    let left = o.count
    const lane = async (): Promise<void> => {
      while (left-- > 0) await client.call('identity.get', {})
    }
    await Promise.all(Array.from({ length: 64 }, lane))
    print({ perSecond: o.count / ((performance.now() - start) / 1000) })
  },
}

const [role = '', options = '{}'] = process.argv.slice(2)
const run = ROLES[role]
if (!run) throw new Error(`no such role: ${role}`)
process.once('SIGTERM', () => process.exit(0))
await run(JSON.parse(options) as Options)
