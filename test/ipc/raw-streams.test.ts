import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import type { Caller } from '../../ipc/api.ts'
import { drain, PlainApp, rawAnswer, SELF, SocketHost } from './socket-host.ts'

const OPENED = { stream: 's1', peer: SELF }
const ACCEPTED = { ...OPENED, meta: '' }
const OPEN = '{"id":1,"method":"streams.open","params":{"peer":"anna","service":"files"}}\n'
const ACCEPT = '{"id":1,"method":"streams.accept","params":{"service":"files"}}\n'

describe('after the answer the connection is the stream', () => {
  test('with raw bytes both ways, and half-close kept both ways', async () => {
    const { answer, attached } = rawAnswer(OPENED)
    await using host = await SocketHost.start({ 'streams.open': async () => answer })
    using app = await PlainApp.greeted(host.app)
    app.send(OPEN)
    expect(await app.answer()).toMatchObject({ id: 1, result: OPENED })
    const stream = await attached
    app.send('{"id":2,"method":"hello"}\n').socket.end()
    expect(await drain(stream)).toBe('{"id":2,"method":"hello"}\n')
    // The app has closed its side; this side goes on.
    stream.write('still ')
    stream.end('open')
    expect(await app.ended).toBe('still open')
  })

  test('which begins with the bytes sent behind the request in the same breath, its end included', async () => {
    const ready = Promise.withResolvers<void>()
    const { answer, attached } = rawAnswer(OPENED)
    await using host = await SocketHost.start({
      'streams.open': async () => {
        await ready.promise
        return answer
      },
    })
    using app = await PlainApp.greeted(host.app)
    const body = `${OPEN}not a request\n`.repeat(3).slice(OPEN.length)
    app.socket.end(`${OPEN}${body}`)
    await new Promise((resolve) => setTimeout(resolve, 20))
    ready.resolve()
    const stream = await attached
    expect(await drain(stream)).toBe(body)
    stream.end('done')
    expect(await app.line()).toContain('"s1"')
    expect(await app.ended).toBe('done')
  })

  test('also when megabytes lie behind the request', async () => {
    const { answer, attached } = rawAnswer(ACCEPTED)
    const ready = Promise.withResolvers<void>()
    await using host = await SocketHost.start({
      'streams.accept': async () => {
        await ready.promise
        return answer
      },
    })
    using app = await PlainApp.greeted(host.app)
    const body = Buffer.alloc(3 * 1024 * 1024, '0123456789abcdef\n')
    app.send(ACCEPT).socket.end(body)
    await new Promise((resolve) => setTimeout(resolve, 20))
    ready.resolve()
    expect((await drain(await attached)) === body.toString('latin1')).toBe(true)
  })

  test('and no event or message ever gets in between', async () => {
    const { answer, attached } = rawAnswer(OPENED)
    const listening = Promise.withResolvers<Caller>()
    await using host = await SocketHost.start({
      'streams.open': async () => answer,
      'messages.listen': (_, caller) => {
        listening.resolve(caller)
        return {}
      },
    })
    using app = await PlainApp.greeted(host.app)
    app.call(5, 'events.subscribe', { topics: ['peers'] }).call(6, 'messages.listen', { channel: 'c' })
    await app.answer()
    await app.answer()
    app.send(OPEN)
    await app.answer()
    const stream = await attached
    host.server.publish('peers.gone', { id: SELF, name: 'anna' })
    const message = {
      from: SELF,
      channel: 'c',
      data: Buffer.of(1),
      reliable: true,
      lane: 0,
      number: 1,
      via: 'link' as const,
      at: 1,
    }
    await expect((await listening.promise).deliver(message)).rejects.toMatchObject({ code: 'local.closed' })
    stream.end('only this')
    expect(await app.ended).toBe('only this')
  })
})

test('calls made before it are answered first, and never into the stream', async () => {
  const { answer, attached } = rawAnswer(OPENED)
  const slow = Promise.withResolvers<{ closed: boolean }>()
  const calls: string[] = []
  await using host = await SocketHost.start({
    'sessions.close': () => slow.promise,
    'streams.open': async () => {
      calls.push('open')
      return answer
    },
  })
  using app = await PlainApp.greeted(host.app)
  app.call(7, 'sessions.close', { peer: 'anna' }).send(`${OPEN}raw`)
  await new Promise((resolve) => setTimeout(resolve, 20))
  slow.resolve({ closed: true })
  expect(await app.answer()).toMatchObject({ id: 7, result: { closed: true } })
  expect(await app.answer()).toMatchObject({ id: 1, result: OPENED })
  app.socket.end()
  expect(await drain(await attached)).toBe('raw')
})

test('an end that comes before the answer, with nothing behind the request, is the end of the stream', async () => {
  const ready = Promise.withResolvers<void>()
  const { answer, attached } = rawAnswer(OPENED)
  await using host = await SocketHost.start({ 'streams.open': () => ready.promise.then(() => answer) })
  using app = await PlainApp.greeted(host.app)
  app.socket.end(OPEN)
  await new Promise((resolve) => setTimeout(resolve, 20))
  ready.resolve()
  const stream = await attached
  const ended = once(stream, 'end')
  stream.resume()
  await ended
  stream.end('all there is')
  await app.line()
  expect(await app.ended).toBe('all there is')
})

test('an end that comes before it fails lets the app go after the answer', async () => {
  const failing = Promise.withResolvers<never>()
  await using host = await SocketHost.start({ 'streams.open': () => failing.promise })
  using app = await PlainApp.greeted(host.app)
  app.socket.end(OPEN)
  await new Promise((resolve) => setTimeout(resolve, 20))
  failing.reject(new PartylineError('network.timeout'))
  expect(await app.answer()).toMatchObject({ error: { data: { code: 'network.timeout' } } })
  expect(await app.ended).toBe('')
})

test('when it fails the connection goes on with calls, those behind it included', async () => {
  await using host = await SocketHost.start({
    'streams.open': () => Promise.reject(new PartylineError('peer.no-service')),
    'peers.list': () => [],
  })
  using app = await PlainApp.greeted(host.app)
  app.send(OPEN).send('{"id":2,"method":"streams.open","params":{}}\n').call(3, 'peers.list')
  expect(await app.answer()).toMatchObject({ id: 1, error: { data: { code: 'peer.no-service' } } })
  expect(await app.answer()).toMatchObject({ id: 2, error: { data: { code: 'usage.invalid-argument' } } })
  expect(await app.answer()).toMatchObject({ id: 3, result: [] })
})

test('ten thousand refused ones in one breath are answered one by one', async () => {
  await using host = await SocketHost.start()
  using app = await PlainApp.greeted(host.app)
  app.send('{"id":1,"method":"streams.open","params":{}}\n'.repeat(10_000))
  for (let i = 0; i < 10_000; i++) await app.line()
  app.call(2, 'hello', { app: 'x', protocol: 1 })
  expect(await app.answer()).toMatchObject({ id: 2 })
})

describe('an app that leaves', () => {
  test.each([
    ['closes', (app: PlainApp) => app.socket.destroy()],
    ['closes its side', (app: PlainApp) => app.socket.end()],
  ])('while it waits for a stream (%s) is told to the handler', async (_, leave) => {
    const waiting = Promise.withResolvers<Caller>()
    await using host = await SocketHost.start({
      'streams.accept': (_, caller) => {
        waiting.resolve(caller)
        return new Promise((_, reject) => {
          caller.signal.addEventListener('abort', () => reject(new PartylineError('local.closed')))
        })
      },
    })
    using app = await PlainApp.greeted(host.app)
    app.send(ACCEPT)
    const { signal } = await waiting.promise
    expect(signal.aborted).toBe(false)
    const aborted = once(signal, 'abort')
    leave(app)
    await aborted
    await expect.poll(() => host.server.connections).toBe(0)
  })

  test('before the stream is there lets it be abandoned', async () => {
    const { answer, abandoned } = rawAnswer(ACCEPTED)
    await using host = await SocketHost.start({
      'streams.accept': async (_, { signal }) => {
        await once(signal, 'abort')
        return answer
      },
    })
    using app = await PlainApp.greeted(host.app)
    app.send(ACCEPT)
    await new Promise((resolve) => setTimeout(resolve, 20))
    app.socket.destroy()
    await abandoned
  })

  test('in the middle of the stream closes it', async () => {
    const { answer, attached } = rawAnswer(OPENED)
    await using host = await SocketHost.start({ 'streams.open': async () => answer })
    using app = await PlainApp.greeted(host.app)
    app.send(OPEN)
    const stream: Duplex = await attached
    stream.on('error', () => {})
    const closed = new Promise((resolve) => stream.once('close', resolve))
    app.socket.destroy()
    stream.resume()
    stream.end('into nothing')
    await closed
  })
})

test('a stream that the app does not read holds up its writer', async () => {
  const { answer, attached } = rawAnswer(OPENED)
  await using host = await SocketHost.start({ 'streams.open': async () => answer })
  using app = await PlainApp.greeted(host.app)
  app.send(OPEN)
  await app.answer()
  app.socket.pause()
  const stream = await attached
  const chunk = Buffer.alloc(64 * 1024, 'x')
  let written = 0
  while (stream.write(chunk)) written += chunk.length
  written += chunk.length
  expect(written).toBeLessThan(4 * 1024 * 1024)
  app.socket.resume()
  stream.end()
  expect((await app.ended).length).toBe(written)
})
