import type { ChildProcess } from 'node:child_process'
import { existsSync } from 'node:fs'
import { join } from 'node:path'
import { createInterface } from 'node:readline'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import type { Result } from '../../ipc/methods.ts'
import { Lab, labMissing } from '../lab/lab.ts'
import type { EndOptions, Told } from '../nat/matrix/datachannel/worker.ts'
import { Guest } from '../scenarios/party.ts'
import type { CrowdOptions } from './crowd-worker.ts'

const missing = labMissing(['turnutils_uclient', 'turnutils_peer'])
const DATACHANNEL = join(new URL('../bench/peers/node_modules', import.meta.url).pathname, 'node-datachannel')
const DATACHANNEL_WORKER = new URL('../nat/matrix/datachannel/worker.ts', import.meta.url).pathname
const CROWD_WORKER = new URL('./crowd-worker.ts', import.meta.url).pathname
const noDatachannel = missing ?? (existsSync(DATACHANNEL) ? undefined : 'node-datachannel is not in test/bench/peers')
const SERVER = '10.99.0.10'
const PUB = '10.99.0.20'
const PATIENCE = 20_000
/** The lab's internet has private addresses. */
const RELAY = { 'relay.enabled': true, 'relay.allow-private': true, 'relay.friends': false } as const

type Credentials = Result<'relay.credentials'>

/** Looks until it is as wanted. */
async function until<T>(look: () => Promise<T>, wanted: (found: T) => boolean): Promise<T> {
  for (const end = performance.now() + PATIENCE; ; await sleep(50)) {
    const found = await look()
    if (wanted(found)) return found
    if (performance.now() > end) throw new Error(`still: ${JSON.stringify(found)}`)
  }
}

/** A relay on the internet, and somebody at home whom it trusts. */
async function party(lab: Lab, settings: Record<string, boolean | number> = {}) {
  const [relay, a] = await Promise.all([
    Guest.join(lab, 'srv', [], { settings: { ...RELAY, ...settings } }),
    Guest.join(lab, 'a1', [], { settings: { 'discovery.hints': [`${SERVER}:47800`] } }),
  ])
  await relay.untilSees(a.id)
  await relay.client.call('peers.trust', { peer: a.id })
  return { relay, a, credentials: await relay.client.call('relay.credentials', { peer: a.id }) }
}

/** What coturn's client says of packets that got lost, and its errors. */
async function uclient(lab: Lab, { username, password }: Credentials, ...args: readonly string[]) {
  const command = ['turnutils_uclient', '-u', username, '-w', password, '-e', PUB, '-n', '10', ...args, SERVER]
  const { code, stdout } = await lab.exec('a1', command, { timeout: PATIENCE })
  const [, lost] = /Total lost packets (\d+)/.exec(stdout) ?? []
  const errors = [...new Set(stdout.match(/(?<=error )\d+/g))]
  return { code, lost: lost === undefined ? undefined : Number(lost), errors }
}

const LOSSLESS = { code: 0, lost: 0, errors: [] }

/** The first line of JSON of a program that fits. */
async function hears(child: ChildProcess, event: string): Promise<unknown> {
  if (!child.stdout) throw new Error('the worker has no output')
  for await (const line of createInterface(child.stdout)) {
    const told = JSON.parse(line) as { readonly event: string }
    if (told.event === event || told.event === 'failed') return told
  }
  throw new Error(`the worker ended without ${event}`)
}

describe.skipIf(missing)(`a relay of one's own${missing ? ` (skipped: ${missing})` : ''}`, () => {
  test("serves coturn's own client over UDP, TCP and TLS, with channels and without, and nobody without credentials", async () => {
    await using lab = await Lab.up('nat-pair')
    const { relay, a, credentials } = await party(lab, { 'relay.max-per-peer': 100 })
    lab.spawn('pub', ['turnutils_peer', '-L', PUB])
    const wrong = { ...credentials, password: 'guessed' }
    const [udp, send, fragments, pairs, tcp, tls, refused] = await Promise.all([
      uclient(lab, credentials, '-c'),
      uclient(lab, credentials, '-c', '-s'),
      uclient(lab, credentials, '-c', '-g'),
      uclient(lab, credentials),
      uclient(lab, credentials, '-c', '-t'),
      uclient(lab, credentials, '-c', '-t', '-S', '-p', '5349'),
      uclient(lab, wrong, '-c'),
    ])
    for (const one of [udp, send, fragments, pairs, tcp, tls]) expect(one).toEqual(LOSSLESS)
    expect(refused).toMatchObject({ code: 255, lost: undefined })
    const { peers } = await relay.client.call('relay.status', {})
    expect(peers).toMatchObject([{ peer: a.id, dropped: 0 }])
    await relay.client.call('peers.block', { peer: a.id })
    expect((await relay.client.call('relay.status', {})).allocations).toBe(0)
    expect((await uclient(lab, credentials, '-c')).errors).toEqual(['403'])
    expect(relay.daemon.log()).toContain('relays for a peer ')
    expect(relay.daemon.log()).not.toContain(credentials.password)
  }, 60_000)

  test('has room for 500 relayed addresses at a time, and not for one more', async () => {
    await using lab = await Lab.up('nat-pair')
    const { relay, credentials } = await party(lab, { 'relay.max-per-peer': 501 })
    lab.spawn('pub', ['turnutils_peer', '-L', PUB])
    const { username, password } = credentials
    const options: CrowdOptions = {
      clients: 500,
      server: SERVER,
      echo: { address: PUB, port: 3480 },
      username,
      password,
    }
    const crowd = lab.spawn('b1', [process.execPath, CROWD_WORKER, JSON.stringify(options)])
    await hears(crowd, 'all')
    const status = () => relay.client.call('relay.status', {})
    expect(await status()).toMatchObject({ allocations: 500, peers: [{ allocations: 500, dropped: 0 }] })
    expect((await uclient(lab, credentials, '-c')).errors).toEqual(['508'])
    crowd.stdin?.write('\n')
    await until(status, ({ allocations }) => allocations === 0)
  }, 60_000)

  test('brings hosts together between whose NATs no hole can be punched, by setting `nat.turn`', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'sym', b: 'sym' })
    const { relay, a } = await party(lab)
    const b = await Guest.join(lab, 'b1', [], { settings: { 'discovery.hints': [`${SERVER}:47800`] } })
    const trust = (one: Guest, other: Guest) => one.client.call('peers.trust', { peer: other.id })
    await Promise.all([relay.untilSees(b.id), a.untilSees(relay.id), b.untilSees(relay.id)])
    await Promise.all(
      [trust(relay, b), trust(a, relay), trust(b, relay), trust(a, b), trust(b, a)].map((one) => one.catch(() => {})),
    )
    for (const guest of [a, b]) {
      const { servers } = await relay.client.call('relay.credentials', { peer: guest.id })
      await guest.client.call('settings.set', { key: 'nat.turn', value: servers.slice(0, 1) })
      await guest.client.call('sessions.open', { peer: relay.id })
    }
    await Promise.all([trust(a, b), trust(b, a)].map((one) => one.catch(() => {})))
    await until(
      () => a.client.call('friends.list', {}),
      (friends) => friends.some(({ reaches }) => reaches.includes(b.id)),
    )
    const session = await a.client.call('sessions.open', { peer: b.id })
    expect(session.route).toBe('relay')
    await a.client.call('chat.send', { peer: b.id, text: 'by a relay of our own' })
    await b.hears('by a relay of our own')
  }, 60_000)
})

describe.skipIf(noDatachannel)(`WebRTC${noDatachannel ? ` (skipped: ${noDatachannel})` : ''}`, () => {
  test('node-datachannel connects through the relay', async () => {
    await using lab = await Lab.up('nat-pair', { a: 'sym', b: 'sym' })
    const { credentials } = await party(lab)
    const { username, password } = credentials
    const server = { hostname: SERVER, port: 3478, username, password, relayType: 'TurnUdp' as const }
    const options: EndOptions = { signals: PUB, servers: [`stun:${SERVER}:3478`, server] }
    const worker = (host: string, ...args: readonly string[]): ChildProcess =>
      lab.spawn(host, [process.execPath, DATACHANNEL_WORKER, ...args])
    await hears(worker('pub', 'relay'), 'ready')
    const [from, to] = [worker('a1', 'end', JSON.stringify(options)), worker('b1', 'end', JSON.stringify(options))]
    await Promise.all([hears(from, 'ready'), hears(to, 'ready')])
    const connected = hears(from, 'connected')
    from.stdin?.write('connect\n')
    const { local, remote } = (await connected) as Extract<Told, { event: 'connected' }>
    // One end's, or both's.
    expect([local.type, remote.type]).toContain('relay')
  }, 60_000)
})
