import { decodeMultiStream, encode } from '@msgpack/msgpack'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import { PlainApp, SELF, SocketHost } from './socket-host.ts'

describe('a program with nothing but a socket', () => {
  test('says hello and calls in JSON lines', async () => {
    await using host = await SocketHost.start({ 'sessions.close': ({ peer }) => ({ closed: peer === 'anna' }) })
    using app = await PlainApp.connect(host.app)
    app.call(1, 'hello', { app: 'socat', protocol: 1, colour: 'unknown fields are ignored' })
    expect(await app.answer()).toEqual({
      jsonrpc: '2.0',
      id: 1,
      result: { version: '0.1.0', protocol: 1, id: SELF, features: ['messages'] },
    })
    app.send('{"jsonrpc":"2.0","id":"two","method":"sessions.close","params":{"peer":"anna"}}\n')
    expect(await app.answer()).toMatchObject({ id: 'two', result: { closed: true } })
  })

  test('calls in MessagePack-RPC on the same socket', async () => {
    await using host = await SocketHost.start({ 'sessions.close': () => ({ closed: true }) })
    using app = await PlainApp.connect(host.app)
    app.socket.removeAllListeners('data')
    app.socket.setEncoding('binary')
    const answers = decodeMultiStream(
      (async function* () {
        for await (const chunk of app.socket) yield Buffer.from(chunk as string, 'latin1')
      })(),
    )
    app.send(encode([0, 1, 'hello', [{ app: 'nc', protocol: 1 }]]))
    app.send(encode([0, 2, 'sessions.close', { peer: 'anna' }]))
    app.send(encode([0, 3, 'nothing.such', []]))
    const got: unknown[] = []
    for await (const answer of answers) if (got.push(answer) === 3) break
    expect(got).toMatchObject([
      [1, 1, null, { protocol: 1 }],
      [1, 2, null, { closed: true }],
      [1, 3, { code: 'usage.unknown-method' }, null],
    ])
  })

  test('is answered all it asked in one breath, and let go when it will ask no more', async () => {
    await using host = await SocketHost.start({ 'sessions.close': async () => ({ closed: true }) })
    using app = await PlainApp.connect(host.app)
    // The last line without its end, as `printf` leaves it.
    app.socket.end(
      '{"id":1,"method":"hello","params":{"app":"echo","protocol":1}}\n{"id":2,"method":"sessions.close","params":{"peer":"anna"}}',
    )
    expect(await app.answer()).toMatchObject({ id: 1 })
    expect(await app.answer()).toMatchObject({ id: 2, result: { closed: true } })
    expect(await app.ended).toBe('')
  })

  test('gets answers as they come, not in the order it asked', async () => {
    const slow = Promise.withResolvers<{ closed: boolean }>()
    await using host = await SocketHost.start({
      'sessions.close': ({ peer }) => (peer === 'slow' ? slow.promise : { closed: true }),
    })
    using app = await PlainApp.greeted(host.app)
    app.call(1, 'sessions.close', { peer: 'slow' }).call(2, 'sessions.close', { peer: 'quick' })
    expect(await app.answer()).toMatchObject({ id: 2 })
    slow.resolve({ closed: false })
    expect(await app.answer()).toMatchObject({ id: 1, result: { closed: false } })
  })
})

describe('a call is refused', () => {
  test('before hello', async () => {
    await using host = await SocketHost.start()
    using app = await PlainApp.connect(host.app)
    app.call(1, 'peers.list')
    expect(await app.answer()).toMatchObject({ id: 1, error: { code: -32000, data: { code: 'usage.hello-first' } } })
    expect(host.refusals.snapshot()).toEqual({ 'usage.hello-first': 1 })
  })

  test('in another protocol version', async () => {
    await using host = await SocketHost.start()
    using app = await PlainApp.connect(host.app)
    app.call(1, 'hello', { app: 'future', protocol: 99 })
    expect(await app.answer()).toMatchObject({ error: { data: { code: 'usage.protocol' } } })
    app.call(2, 'peers.list')
    expect(await app.answer()).toMatchObject({ error: { data: { code: 'usage.hello-first' } } })
  })

  test.each(['nothing.such', 'constructor', '__proto__', 'toString', ''])(
    'of a method there is not: %j',
    async (method) => {
      await using host = await SocketHost.start()
      using app = await PlainApp.greeted(host.app)
      app.call(1, method)
      expect(await app.answer()).toMatchObject({ error: { code: -32601, data: { code: 'usage.unknown-method' } } })
    },
  )

  test.each([
    [{}, 'peer'],
    [{ peer: 5 }, 'peer'],
    [{ peer: 'anna', timeout: 1 }, 'timeout'],
  ])('with parameters that do not fit, naming the field: %j', async (params, field) => {
    await using host = await SocketHost.start()
    using app = await PlainApp.greeted(host.app)
    app.call(1, 'sessions.open', params)
    const { error } = await app.answer()
    expect(error).toMatchObject({ code: -32602, data: { code: 'usage.invalid-argument' } })
    expect(error?.message).toMatch(`sessions.open: ${field}: `)
  })

  test('of the owner on the app socket, and answered on the control socket', async () => {
    await using host = await SocketHost.start({ 'daemon.stop': () => ({}) })
    using app = await PlainApp.greeted(host.app)
    app.call(1, 'daemon.stop')
    expect(await app.answer()).toMatchObject({ error: { data: { code: 'policy.owner-only' } } })
    expect(host.refusals.snapshot()).toEqual({ 'policy.owner-only': 1 })
    using owner = await PlainApp.greeted(host.control)
    owner.call(1, 'daemon.stop')
    expect(await owner.answer()).toMatchObject({ result: {} })
  })

  test('by its handler, with code and hint', async () => {
    await using host = await SocketHost.start({
      'peers.get': () => {
        throw new PartylineError('peer.not-found', 'no peer bob', { hint: 'look again' })
      },
    })
    using app = await PlainApp.greeted(host.app)
    app.call(1, 'peers.get', { peer: 'bob' })
    expect(await app.answer()).toMatchObject({
      error: { code: -32000, message: 'no peer bob', data: { code: 'peer.not-found', hint: 'look again' } },
    })
  })

  test('by a fault in its handler, and the connection goes on', async () => {
    await using host = await SocketHost.start({
      'peers.get': () => Promise.reject(new TypeError('oops')),
      'peers.list': () => [],
    })
    using app = await PlainApp.greeted(host.app)
    app.call(1, 'peers.get', { peer: 'bob' }).call(2, 'peers.list')
    const answers = [await app.answer(), await app.answer()]
    expect(answers).toContainEqual(expect.objectContaining({ id: 2, result: [] }))
    expect(answers.find(({ id }) => id === 1)).toMatchObject({ error: { data: { code: 'local.internal' } } })
  })
})

test('a notification is never answered', async () => {
  await using host = await SocketHost.start({ 'peers.list': () => [] })
  using app = await PlainApp.greeted(host.app)
  app.send('{"method":"nothing.such"}\n{"method":"peers.list"}\n{"method":"streams.accept","params":{"service":"s"}}\n')
  app.call(1, 'peers.list')
  expect(await app.answer()).toMatchObject({ id: 1 })
})

describe('events', () => {
  const gone = (name: string): { id: string; name: string } => ({ id: SELF, name })

  test('come only with their topics, numbered without gaps that are not told', async () => {
    await using host = await SocketHost.start()
    using app = await PlainApp.greeted(host.app)
    host.server.publish('peers.gone', gone('before'))
    app.call(1, 'events.subscribe', { topics: ['peers'] })
    expect(await app.answer()).toMatchObject({ result: { seq: 1 } })
    host.server.publish('peers.gone', gone('a'))
    host.server.publish('streams.closed', { stream: 's', peer: SELF, service: 'x', clean: true })
    host.server.publish('peers.gone', gone('b'))
    expect(await app.answer()).toEqual({ jsonrpc: '2.0', method: 'peers.gone', params: { seq: 2, ...gone('a') } })
    expect(await app.answer()).toMatchObject({ params: { seq: 4, name: 'b' } })
    app.call(2, 'events.unsubscribe', { topics: ['peers'] })
    await app.answer()
    host.server.publish('peers.gone', gone('c'))
    app.call(3, 'hello', { app: 'x', protocol: 1 })
    expect(await app.answer()).toMatchObject({ id: 3 })
  })
})

describe('messages', () => {
  const about = { from: SELF, channel: 'chess', reliable: true, lane: 0, number: 1, via: 'link' as const, at: 5 }

  test('are handed over as text where they are text, as base64 otherwise', async () => {
    await using host = await SocketHost.start({
      'messages.listen': (_, caller) => {
        void caller.deliver({ ...about, data: Buffer.from('e2e4 ♞') })
        void caller.deliver({ ...about, data: Buffer.of(0xff) })
        return {}
      },
    })
    using app = await PlainApp.greeted(host.app)
    app.socket.setEncoding('utf8')
    app.call(1, 'messages.listen', { channel: 'chess' })
    const answers = [await app.answer(), await app.answer(), await app.answer()]
    expect(answers.filter(({ method }) => method === 'messages.received').map(({ params }) => params)).toEqual([
      { ...about, text: 'e2e4 ♞' },
      { ...about, base64: '/w==' },
    ])
  })

  test('delivering to an app that has left is local.closed', async () => {
    const listening = Promise.withResolvers<Parameters<typeof deliverTo>[0]>()
    function deliverTo(caller: {
      deliver(message: typeof about & { data: Uint8Array }): Promise<void>
    }): Promise<void> {
      return caller.deliver({ ...about, data: Buffer.alloc(1000) })
    }
    await using host = await SocketHost.start({
      'messages.listen': (_, caller) => {
        caller.signal.addEventListener('abort', () => listening.resolve(caller))
        return {}
      },
    })
    using app = await PlainApp.greeted(host.app)
    app.call(1, 'messages.listen', { channel: 'chess' })
    await app.answer()
    app.socket.destroy()
    await expect(deliverTo(await listening.promise)).rejects.toMatchObject({ code: 'local.closed' })
  })
})
