import { expect, test, vi } from 'vitest'
import { CALL_BURST, USER_BYTES_HIGH } from '../../ipc/quota.ts'
import { MAX_USER_CONNECTIONS } from '../../ipc/server.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { PlainApp, SELF, SocketHost } from './socket-host.ts'

/** An app of another user, which has to be served whatever the misbehaving one does. */
async function neighbour(host: SocketHost): Promise<PlainApp> {
  using app = await PlainApp.connect(host.app)
  app.send('{"jsonrpc":"2.0","id":0,"method":"hello","params":{"app":"test","protocol":1,"uid":2000}}\n')
  const { result } = await app.answer()
  return PlainApp.greeted((result as { socket: string }).socket)
}

const isServed = async (app: PlainApp): Promise<void> => {
  for (let id = 1; id <= 20; id++) expect(await app.call(id, 'hub.status').answer()).toMatchObject({ id })
}

const hubStatus = { 'hub.status': () => ({}) as never }

test('an app that calls without end is read as fast as its user may call, and its neighbour is served', async () => {
  const clock = new VirtualClock()
  let calls = 0
  const list = (): [] => {
    calls++
    return []
  }
  await using host = await SocketHost.shared({ 'peers.list': list, ...hubStatus }, clock)
  using good = await neighbour(host)
  using one = await PlainApp.greeted(host.app)
  using two = await PlainApp.greeted(host.app)
  // Two calls to say hello are of the same quota, and a third that asked for the neighbour's socket.
  const left = CALL_BURST - 3
  for (const bad of [one, two]) for (let id = 1; id <= CALL_BURST; id++) bad.call(id, 'peers.list')
  await isServed(good)
  await vi.waitUntil(() => calls >= left, 30_000)
  await isServed(good)
  expect(calls).toBe(left)
  // What was not read is not lost.
  await vi.waitUntil(
    () => {
      clock.advance(1)
      return calls >= 2 * CALL_BURST
    },
    { timeout: 30_000, interval: 1 },
  )
  for (const bad of [one, two])
    for (let id = 1; id <= CALL_BURST; id++) expect(await bad.answer()).toMatchObject({ id })
})

test('a user who connects without end is turned away at the limit, with a code, and others are let in', async () => {
  await using host = await SocketHost.shared(hubStatus)
  const apps: PlainApp[] = []
  for (let i = 0; i < MAX_USER_CONNECTIONS; i++) apps.push(await PlainApp.greeted(host.app))
  using more = await PlainApp.connect(host.app)
  more.send('{"jsonrpc":"2.0","id":0,"method":"hello","params":{"app":"test","protocol":1}}\n')
  expect(await more.answer()).toMatchObject({ error: { data: { code: 'local.limit' } } })
  await more.ended
  using owner = await PlainApp.greeted(host.control)
  await isServed(owner)
  // One leaves, another may come: also to be told of a socket of its own.
  const gone = apps.pop()
  gone?.socket.end()
  await gone?.ended
  using good = await neighbour(host)
  await isServed(good)
  for (const app of apps) app[Symbol.dispose]()
})

test('requests that are never sent to their end are let go when they are too many, and nobody else', async () => {
  await using host = await SocketHost.shared(hubStatus)
  using good = await neighbour(host)
  const half = `{"jsonrpc":"2.0","id":1,"method":"${'x'.repeat(1_000_000)}`
  const apps: PlainApp[] = []
  const most = Math.ceil(USER_BYTES_HIGH / half.length)
  for (let i = 0; i < most + 20; i++) apps.push((await PlainApp.greeted(host.app)).send(half))
  const refused = await Promise.race(apps.map((app) => app.answer()))
  expect(refused).toMatchObject({ id: null, error: { data: { code: 'local.limit' } } })
  await isServed(good)
  good.send(half)
  good.send('"}\n')
  expect(await good.answer()).toMatchObject({ error: { data: { code: 'usage.unknown-method' } } })
  for (const app of apps) app[Symbol.dispose]()
})

test('apps that never read get less and less to read, and their neighbour all of it', async () => {
  const CONNECTIONS = 200
  const line = { peer: SELF, direction: 'in', text: 'x'.repeat(4096), at: 0, encrypted: true, via: 'session' } as const
  const history = Array.from({ length: 20 }, () => line)
  const size = JSON.stringify(history).length
  let calls = 0
  await using host = await SocketHost.shared({
    'chat.history': () => {
      calls++
      return history
    },
    ...hubStatus,
  })
  using good = await neighbour(host)
  const apps: PlainApp[] = []
  for (let i = 0; i < CONNECTIONS; i++) {
    const app = await PlainApp.greeted(host.app)
    app.socket.pause()
    for (let id = 0; id < 40; id++) app.call(id, 'chat.history')
    apps.push(app)
  }
  for (let before = -1; before !== calls; ) {
    before = calls
    await isServed(good)
  }
  // What the system's own buffers take is not the daemon's; there it is at most one answer more than a connection may have waiting.
  const inSystem = 6
  expect(calls).toBeLessThan(USER_BYTES_HIGH / size + CONNECTIONS * (2 + inSystem))
  expect(calls).toBeLessThan(CONNECTIONS * 14)
  good.call(1, 'chat.history')
  expect(JSON.parse(await good.line()).result).toHaveLength(20)
  for (const app of apps) app[Symbol.dispose]()
})
