import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import type { Caller } from '../../ipc/api.ts'
import { type Client, connect } from '../../ipc/client.ts'
import { MAX_REQUEST, type ParsedParams } from '../../ipc/methods.ts'
import { drain, rawAnswer, SELF, SocketHost, temporaryFolder } from './socket-host.ts'

const CLEAN = { clean: true, sent: 1, received: 1, unconfirmed: 0, error: null }
const GONE = (name: string) => ({ id: SELF, name })

describe.each(['messagepack', 'json'] as const)('the SDK in %s', (encoding) => {
  const dial = (host: SocketHost, more: object = {}): Promise<Client> =>
    connect({ app: 'test', socket: host.app, encoding, ...more })

  test('calls, and gets errors as they were thrown', async () => {
    await using host = await SocketHost.start({
      'sessions.close': ({ peer }) => {
        if (peer === 'bob') throw new PartylineError('peer.not-found', 'no bob', { hint: 'look' })
        return { closed: true }
      },
    })
    await using client = await dial(host)
    expect(client.id).toBe(SELF)
    expect(await client.call('sessions.close', { peer: 'anna' })).toEqual({ closed: true })
    await expect(client.call('sessions.close', { peer: 'bob' })).rejects.toMatchObject({
      name: 'PartylineError',
      code: 'peer.not-found',
      message: 'no bob',
      hint: 'look',
    })
  })

  test('sends bytes as they are', async () => {
    const sent: ParsedParams<'messages.send'>['data'][] = []
    await using host = await SocketHost.start({
      'messages.send': ({ data }) => {
        sent.push(data)
        return { sent: true, number: sent.length, via: 'link' }
      },
    })
    await using client = await dial(host)
    await client.send('anna', 'c', Buffer.of(0, 255))
    expect(await client.send('anna', 'c', 'text', { lane: 3 })).toEqual({ sent: true, number: 2, via: 'link' })
    const [first, second] = sent
    const bytes = first instanceof Uint8Array ? first : Buffer.from((first as { base64: string }).base64, 'base64')
    expect([...bytes]).toEqual([0, 255])
    expect(second).toBe('text')
  })

  test('gets messages as bytes, in order, however slowly it reads', async () => {
    await using host = await SocketHost.start({
      'messages.listen': (_, caller) => {
        for (let number = 0; number < 3000; number++) void caller.deliver(message(number, Buffer.alloc(1000, number)))
        return {}
      },
    })
    await using client = await dial(host)
    let number = 0
    for await (const { data, ...about } of await client.messages('c')) {
      if (number % 500 === 0) await turn()
      expect(about.number).toBe(number)
      expect(data.length).toBe(1000)
      expect(data[0]).toBe(number % 256)
      if (++number === 3000) break
    }
  })

  test('gets an answer of several megabytes', async () => {
    const line = {
      peer: SELF,
      direction: 'in',
      text: 'x'.repeat(4000),
      at: 0,
      encrypted: true,
      via: 'session',
    } as const
    await using host = await SocketHost.start({ 'chat.history': () => Array.from({ length: 5000 }, () => line) })
    await using client = await dial(host)
    expect((await client.call('chat.history', {})).length).toBe(5000)
  })

  test('refuses a request that is too large by itself, and goes on', async () => {
    await using host = await SocketHost.start({ 'sessions.list': () => [] })
    await using client = await dial(host)
    const data = 'x'.repeat(MAX_REQUEST)
    await expect(client.call('messages.send', { peer: 'a', channel: 'c', data })).rejects.toMatchObject({
      code: 'usage.oversized',
    })
    expect(await client.call('sessions.list', {})).toEqual([])
  })

  test('iterates over events of its topics until it leaves, and then wants no more', async () => {
    await using host = await SocketHost.start()
    await using client = await dial(host)
    const events = await client.events(['peers'])
    const others = await client.events(['streams'])
    host.server.publish('peers.gone', GONE('a'))
    host.server.publish('streams.closed', { stream: 's', peer: SELF, service: 'x', clean: true })
    expect((await events.next()).value).toEqual({ name: 'peers.gone', seq: 1, params: GONE('a') })
    expect((await others.next()).value).toMatchObject({ name: 'streams.closed', seq: 2 })
    await events.return?.()
    expect((await events.next()).done).toBe(true)
    host.server.publish('streams.closed', { stream: 't', peer: SELF, service: 'x', clean: true })
    expect((await others.next()).value).toMatchObject({ params: { stream: 't' } })
  })

  test('opens a stream: bytes both ways, half-close, and how it ended', async () => {
    const { answer, attached } = rawAnswer({ stream: 's1', peer: SELF })
    await using host = await SocketHost.start({ 'streams.open': async () => answer, 'streams.outcome': () => CLEAN })
    await using client = await dial(host)
    const stream = await client.openStream('anna', 'files')
    expect(stream).toMatchObject({ id: 's1', peer: SELF, meta: '' })
    const there = await attached
    stream.socket.end('ping')
    expect(await drain(there)).toBe('ping')
    there.end('pong')
    expect(await drain(stream.socket)).toBe('pong')
    expect(await stream.outcome).toEqual(CLEAN)
  })

  test('opens a stream whose bytes and end come with the answer', async () => {
    const { answer, attached } = rawAnswer({ stream: 's1', peer: SELF })
    await using host = await SocketHost.start({ 'streams.open': async () => answer, 'streams.outcome': () => CLEAN })
    await using client = await dial(host)
    void attached.then((there) => there.end('{"all":"at once"}\n'))
    const stream = await client.openStream('anna', 'files')
    stream.socket.end()
    expect(await drain(stream.socket)).toBe('{"all":"at once"}\n')
  })

  test('tells a stream that was cut from one that ended', async () => {
    const { answer, attached } = rawAnswer({ stream: 's1', peer: SELF })
    const outcome = { clean: false, sent: 0, received: 4, unconfirmed: 0, error: 'network.lost' }
    await using host = await SocketHost.start({ 'streams.open': async () => answer, 'streams.outcome': () => outcome })
    await using client = await dial(host)
    const stream = await client.openStream('anna', 'files')
    const there = await attached
    there.end('half')
    await expect(drain(stream.socket)).rejects.toMatchObject({ code: 'network.lost' })
    expect(await stream.outcome).toEqual(outcome)
  })

  test('gives a stream as web streams', async () => {
    const { answer, attached } = rawAnswer({ stream: 's1', peer: SELF })
    await using host = await SocketHost.start({ 'streams.open': async () => answer, 'streams.outcome': () => CLEAN })
    await using client = await dial(host)
    const { web } = await client.openStream('anna', 'files')
    const there = await attached
    const writer = web.writable.getWriter()
    await writer.write(Buffer.from('ping'))
    await writer.close()
    expect(await drain(there)).toBe('ping')
    there.end('pong')
    expect(await drain(web.readable)).toBe('pong')
  })

  test('is told why there is no stream', async () => {
    await using host = await SocketHost.start({
      'streams.open': () => Promise.reject(new PartylineError('peer.no-service', 'none', { hint: 'start one' })),
    })
    await using client = await dial(host)
    await expect(client.openStream('anna', 'x')).rejects.toMatchObject({ code: 'peer.no-service', hint: 'start one' })
    await expect.poll(() => host.server.connections).toBe(1)
  })
})

test('messages that an app does not iterate over stay with the daemon, and calls are answered meanwhile', async () => {
  let delivered = 0
  const count = 400
  await using host = await SocketHost.start({
    'sessions.list': () => [],
    'messages.listen': (_, caller) => {
      setImmediate(() => {
        for (let number = 0; number < count; number++)
          void caller.deliver(message(number, Buffer.alloc(64 * 1024))).then(() => delivered++)
      })
      return {}
    },
  })
  await using client = await connect({ app: 'test', socket: host.app })
  const messages = await client.messages('c')
  for (let i = 0; i < 50; i++) await client.call('sessions.list', {})
  expect(delivered).toBeLessThan(count / 2)
  for (let number = 0; number < count; number++)
    expect((await messages.next()).value).toMatchObject({ number, data: { length: 64 * 1024 } })
  await expect.poll(() => delivered).toBe(count)
})

describe('listening for streams', () => {
  /** Hands streams to whoever waits, in order. */
  class Acceptors {
    readonly waiting: ((stream: string) => void)[] = []
    readonly left: string[] = []
    readonly accept = (
      _: unknown,
      { signal }: Caller,
    ): ReturnType<typeof rawAnswer>['answer'] extends infer A
      ? Promise<A & { result: { stream: string; peer: string; meta: string } }>
      : never =>
      new Promise((resolve, reject) => {
        const take = (stream: string): void => {
          const { answer, attached } = rawAnswer({ stream, peer: SELF, meta: 'm' })
          void attached.then((socket) => {
            socket.on('error', () => {})
            socket.once('close', () => this.left.push(stream))
            socket.once('end', () => socket.end())
            socket.resume()
            socket.write(stream)
          })
          resolve(answer)
        }
        this.waiting.push(take)
        signal.addEventListener('abort', () => {
          const index = this.waiting.indexOf(take)
          if (index >= 0) this.waiting.splice(index, 1)
          reject(new PartylineError('local.closed'))
        })
      }) as never
  }

  test('keeps two acceptors waiting, and none after it is left', async () => {
    const acceptors = new Acceptors()
    await using host = await SocketHost.start({ 'streams.accept': acceptors.accept, 'streams.outcome': () => CLEAN })
    await using client = await connect({ app: 'test', socket: host.app })
    const streams = client.listen('files')
    const first = streams.next()
    await expect.poll(() => acceptors.waiting.length).toBe(2)
    acceptors.waiting.shift()?.('one')
    const { value } = await first
    expect(value).toMatchObject({ id: 'one', peer: SELF, meta: 'm' })
    await expect.poll(() => acceptors.waiting.length).toBe(2)
    // One that came while the app was busy, and which nobody will take: it must not stay open.
    acceptors.waiting.shift()?.('two')
    await turn()
    await streams.return()
    await expect.poll(() => acceptors.waiting.length).toBe(0)
    value?.socket.destroy()
    await expect.poll(() => acceptors.left.sort()).toEqual(['one', 'two'])
    await expect.poll(() => host.server.connections).toBe(1)
  })

  test('ends with the error when the daemon goes', async () => {
    const acceptors = new Acceptors()
    const host = await SocketHost.start({ 'streams.accept': acceptors.accept })
    await using client = await connect({ app: 'test', socket: host.app })
    const ended = expect(client.listen('files').next()).rejects.toMatchObject({ code: 'local.closed' })
    await expect.poll(() => acceptors.waiting.length).toBe(2)
    await host[Symbol.asyncDispose]()
    await ended
  })

  test('goes on with the next daemon where it may reconnect', async () => {
    const folder = await temporaryFolder()
    const acceptors = new Acceptors()
    const handlers = { 'streams.accept': acceptors.accept, 'streams.outcome': () => CLEAN }
    const first = await SocketHost.start(handlers, undefined, folder)
    await using client = await connect({ app: 'test', socket: first.app, reconnect: true })
    const streams = client.listen('files')
    const next = streams.next()
    await expect.poll(() => acceptors.waiting.length).toBe(2)
    await first.server.stop()
    await using _ = await SocketHost.start(handlers, undefined, folder)
    await expect.poll(() => acceptors.waiting.length).toBe(2)
    acceptors.waiting.shift()?.('again')
    const { value } = await next
    expect(value?.id).toBe('again')
    value?.socket.destroy()
    await streams.return()
  })

  test('stops waiting when told so', async () => {
    const acceptors = new Acceptors()
    await using host = await SocketHost.start({ 'streams.accept': acceptors.accept })
    await using client = await connect({ app: 'test', socket: host.app })
    const stop = new AbortController()
    const accepting = client.acceptStream('files', stop.signal)
    await expect.poll(() => acceptors.waiting.length).toBe(1)
    stop.abort()
    await expect(accepting).rejects.toMatchObject({ code: 'local.closed' })
    await expect.poll(() => acceptors.waiting.length).toBe(0)
  })
})

describe('a daemon that goes', () => {
  test('ends calls, events and messages', async () => {
    const host = await SocketHost.start({
      'sessions.close': () => new Promise(() => {}),
      'messages.listen': () => ({}),
    })
    await using client = await connect({ app: 'test', socket: host.app })
    const events = await client.events(['peers'])
    const messages = await client.messages('c')
    const calling = client.call('sessions.close', { peer: 'anna' })
    const refused = expect(calling).rejects.toMatchObject({ code: 'local.closed' })
    await host[Symbol.asyncDispose]()
    await refused
    expect((await events.next()).done).toBe(true)
    expect((await messages.next()).done).toBe(true)
    await expect(client.call('peers.list', {})).rejects.toMatchObject({ code: 'local.closed' })
    await expect(client.openStream('anna', 'x')).rejects.toMatchObject({ code: 'local.closed' })
  })

  test('and comes back is found again: calls wait, subscriptions and listeners are renewed, the app is told', async () => {
    const folder = await temporaryFolder()
    const listeners: Caller[] = []
    const handlers = {
      'sessions.list': () => [],
      'messages.listen': (_: unknown, caller: Caller) => {
        listeners.push(caller)
        return {}
      },
    }
    const first = await SocketHost.start(handlers, undefined, folder)
    await using client = await connect({ app: 'test', socket: first.app, reconnect: true })
    const events = await client.events(['peers'])
    const messages = await client.messages('c')
    await first.server.stop()
    // By now the client has noticed, and looks for the daemon.
    await new Promise((resolve) => setTimeout(resolve, 20))
    const waiting = client.call('sessions.list', {})
    await using second = await SocketHost.start(handlers, undefined, folder)
    expect(await waiting).toEqual([])
    expect((await events.next()).value).toMatchObject({ name: 'reconnected' })
    second.server.publish('peers.gone', GONE('a'))
    expect((await events.next()).value).toMatchObject({ name: 'peers.gone' })
    await expect.poll(() => listeners.length).toBe(2)
    void listeners[1]?.deliver(message(5, Buffer.from('hello')))
    expect((await messages.next()).value).toMatchObject({ number: 5 })
  })

  test('again, just as it was found, is found once more', async () => {
    const folder = await temporaryFolder()
    const first = await SocketHost.start({}, undefined, folder)
    await using client = await connect({ app: 'test', socket: first.app, reconnect: true })
    const events = await client.events(['peers'])
    await first.server.stop()
    for (let i = 0; i < 3; i++) {
      const next = await SocketHost.start({}, undefined, folder)
      await expect.poll(() => next.server.connections).toBe(1)
      await next.server.stop()
    }
    await using last = await SocketHost.start({ 'sessions.list': () => [] }, undefined, folder)
    await expect.poll(() => client.call('sessions.list', {}).catch(() => undefined)).toEqual([])
    last.server.publish('peers.gone', GONE('a'))
    for await (const { name } of events) if (name === 'peers.gone') break
  })
})

test('closing ends what the app waits for, and is safe to call twice', async () => {
  await using host = await SocketHost.start({ 'messages.listen': () => ({}) })
  const client = await connect({ app: 'test', socket: host.app })
  const event = (await client.events(['peers'])).next()
  const next = (await client.messages('c')).next()
  await Promise.all([client.close(), client.close()])
  expect((await event).done).toBe(true)
  expect((await next).done).toBe(true)
  await expect(client.call('peers.list', {})).rejects.toMatchObject({ code: 'local.closed' })
  await expect.poll(() => host.server.connections).toBe(0)
})

test('events that an app does not iterate over are left out, the oldest first, and it is told how many', async () => {
  await using host = await SocketHost.start()
  await using client = await connect({ app: 'test', socket: host.app })
  const events = await client.events(['peers'])
  const [sent, kept] = [10_250, 10_000]
  for (let i = 1; i <= sent; i++) {
    host.server.publish('peers.gone', GONE('x'))
    if (i % 100 === 0) await client.call('hello', { app: 'test', protocol: 1 })
  }
  await client.call('hello', { app: 'test', protocol: 1 })
  expect((await events.next()).value).toEqual({ name: 'events.lost', seq: sent - kept, params: { lost: sent - kept } })
  expect((await events.next()).value).toMatchObject({ name: 'peers.gone', seq: sent - kept + 1 })
})

test('the reason why the daemon closes a connection reaches the calls on it', async () => {
  await using host = await SocketHost.start({ 'sessions.close': () => new Promise(() => {}) })
  await using client = await connect({ app: 'test', socket: host.app })
  // A map nested more deeply than any call: what the daemon reads is well-formed, but no call.
  const calling = client.callAny('sessions.close', { peer: 'anna' })
  const bad = client.callAny(5 as never, {})
  await expect(bad).rejects.toMatchObject({ code: 'usage.invalid-request' })
  await expect(calling).rejects.toMatchObject({ code: 'usage.invalid-request' })
})

function message(number: number, data: Uint8Array) {
  return { from: SELF, channel: 'c', data, reliable: true, lane: 0, number, via: 'link' as const, at: 1 }
}
