import { describe, expect, test } from 'vitest'
import { EVENTS_HIGH, MAX_IN_FLIGHT } from '../../ipc/connection.ts'
import { MAX_REQUEST } from '../../ipc/methods.ts'
import { MAX_CONNECTIONS } from '../../ipc/server.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { type Answer, HELLO, PlainApp, SELF, SocketHost } from './socket-host.ts'

test('a request longer than the limit is refused by code, counted, and ends the connection', async () => {
  await using host = await SocketHost.start({ 'peers.list': () => [] })
  using other = await PlainApp.greeted(host.app)
  using app = await PlainApp.greeted(host.app)
  app.send(`{"id":1,"method":"${'x'.repeat(MAX_REQUEST)}`)
  expect(await app.answer()).toMatchObject({ id: null, error: { data: { code: 'usage.oversized' } } })
  expect(await app.ended).toBe('')
  expect(host.refusals.snapshot()).toEqual({ 'usage.oversized': 1 })
  other.call(1, 'peers.list')
  expect(await other.answer()).toMatchObject({ result: [] })
})

test('nothing behind what cannot be read is carried out, not even when earlier calls are answered', async () => {
  const slow = Promise.withResolvers<void>()
  const closed: string[] = []
  await using host = await SocketHost.start({
    'sessions.close': async ({ peer }) => {
      closed.push(peer)
      await slow.promise
      return { closed: true }
    },
  })
  using app = await PlainApp.greeted(host.app)
  app.call(1, 'sessions.close', { peer: 'first' }).send('{nonsense}\n').call(2, 'sessions.close', { peer: 'second' })
  expect(await app.answer()).toMatchObject({ id: null, error: { code: -32700 } })
  slow.resolve()
  await app.ended
  expect(closed).toEqual(['first'])
  expect(host.refusals.snapshot()).toEqual({ 'usage.malformed': 1 })
})

test(`at ${MAX_IN_FLIGHT} calls under way a connection is not read further until one is answered`, async () => {
  const waiting: (() => void)[] = []
  await using host = await SocketHost.start({
    'sessions.close': () => new Promise((resolve) => waiting.push(() => resolve({ closed: true }))),
    'peers.list': () => [],
  })
  using app = await PlainApp.greeted(host.app)
  for (let id = 1; id <= MAX_IN_FLIGHT + 10; id++) app.call(id, 'sessions.close', { peer: 'anna' })
  app.call(0, 'peers.list')
  // Another connection's answer comes after all that could be read of the first.
  using other = await PlainApp.greeted(host.app)
  for (let i = 0; i < 20; i++) {
    other.call(i, 'peers.list')
    await other.answer()
  }
  expect(waiting.length).toBe(MAX_IN_FLIGHT)
  waiting.shift()?.()
  expect(await app.answer()).toMatchObject({ id: 1 })
  const answered = new Set([1])
  while (answered.size < MAX_IN_FLIGHT + 11) {
    for (const answer of waiting.splice(0)) answer()
    answered.add(Number((await app.answer()).id))
  }
  expect(answered).toContain(0)
})

test('an app that reads no answers is not read either, and gets them all when it does', async () => {
  let calls = 0
  const text = 'x'.repeat(4096)
  await using host = await SocketHost.start({
    'chat.history': () => {
      calls++
      return Array.from({ length: 20 }, () => ({
        peer: SELF,
        direction: 'in',
        text,
        at: 0,
        encrypted: true,
        via: 'session',
      }))
    },
    'peers.list': () => [],
  })
  using app = await PlainApp.greeted(host.app)
  app.socket.pause()
  for (let id = 1; id <= 200; id++) app.call(id, 'chat.history')
  using other = await PlainApp.greeted(host.app)
  for (let i = 0; i < 20; i++) {
    other.call(i, 'peers.list')
    await other.answer()
  }
  // 1 MiB of output and what the system's own buffer holds.
  expect(calls).toBeLessThan(60)
  app.socket.resume()
  for (let id = 1; id <= 200; id++) expect((await app.answer()).id).toBe(id)
})

describe('an app that reads no events', () => {
  test('is left out of some, told once how many, and gets later ones', async () => {
    await using host = await SocketHost.start()
    using app = await PlainApp.greeted(host.app)
    app.call(1, 'events.subscribe', { topics: ['peers'] })
    await app.answer()
    app.socket.pause()
    const name = 'x'.repeat(100)
    const sent = Math.ceil((8 * EVENTS_HIGH) / 100)
    for (let i = 0; i < sent; i++) {
      host.server.publish('peers.gone', { id: SELF, name })
      // The system's buffer is filled too.
      if (i % 100 === 0) await new Promise((resolve) => setImmediate(resolve))
    }
    app.socket.resume()
    const events: Answer[] = []
    while (events.at(-1)?.method !== 'events.lost') events.push(await app.answer())
    const lost = events.at(-1)?.params as { seq: number; lost: number }
    expect(events.filter(({ method }) => method === 'events.lost').length).toBe(1)
    expect(lost.seq).toBe(events.length - 1)
    expect(events.length - 1 + lost.lost).toBe(sent)
    host.server.publish('peers.gone', { id: SELF, name: 'later' })
    expect(await app.answer()).toMatchObject({ params: { name: 'later', seq: sent + 1 } })
  })
})

test(`of more than ${MAX_CONNECTIONS} apps the next is told so, in its own encoding, and let go`, async () => {
  await using host = await SocketHost.start()
  const apps = await crowd(host, MAX_CONNECTIONS)
  expect(host.server.connections).toBe(MAX_CONNECTIONS)
  using json = await PlainApp.connect(host.app)
  json.send(HELLO)
  expect(await json.answer()).toMatchObject({ id: null, error: { data: { code: 'local.limit' } } })
  expect(await json.ended).toBe('')
  using messagepack = await PlainApp.connect(host.app)
  messagepack.send(Buffer.from([0x94, 0, 1]))
  expect(await messagepack.ended).toMatch(/^\u0094.*local\.limit/s)
  expect(host.refusals.snapshot()).toEqual({ 'local.limit': 2 })
  for (const app of apps) app.socket.destroy()
})

test('an app that is turned away and stays is let go all the same, and does not hold up the end', async () => {
  const clock = new VirtualClock()
  const host = await SocketHost.start({}, clock)
  const apps = await crowd(host, MAX_CONNECTIONS)
  using mute = await PlainApp.connect(host.app)
  await expect.poll(() => host.refusals.snapshot()).toEqual({ 'local.limit': 1 })
  clock.advance(2000)
  expect(await mute.ended).toBe('')
  using another = await PlainApp.connect(host.app)
  await host[Symbol.asyncDispose]()
  await another.ended
  for (const app of apps) app.socket.destroy()
})

test('a connection that does not say hello within 10 seconds is closed and counted', async () => {
  const clock = new VirtualClock()
  await using host = await SocketHost.start({ 'peers.list': () => [] }, clock)
  using silent = await PlainApp.connect(host.app)
  using half = await PlainApp.connect(host.app)
  half.send('{"id":1,')
  using greeted = await PlainApp.greeted(host.app)
  clock.advance(9999)
  expect(host.server.connections).toBe(3)
  clock.advance(1)
  await Promise.all([silent.ended, half.ended])
  greeted.call(1, 'peers.list')
  expect(await greeted.answer()).toMatchObject({ result: [] })
  expect(host.refusals.snapshot()).toEqual({ 'usage.hello-first': 2 })
})

test('an app that was told it cannot be understood and stays is closed after 2 seconds', async () => {
  const clock = new VirtualClock()
  await using host = await SocketHost.start({}, clock)
  using app = await PlainApp.greeted(host.app)
  app.send('nonsense\n')
  await app.answer()
  await app.ended
  expect(host.server.connections).toBe(1)
  clock.advance(2000)
  await expect.poll(() => host.server.connections).toBe(0)
})

/** As many as may connect, in groups that the system's queue of new connections holds. */
async function crowd(host: SocketHost, size: number): Promise<PlainApp[]> {
  const apps: PlainApp[] = []
  while (apps.length < size) {
    const group = Math.min(64, size - apps.length)
    apps.push(...(await Promise.all(Array.from({ length: group }, () => PlainApp.greeted(host.app)))))
  }
  return apps
}
