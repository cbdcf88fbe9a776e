import { setImmediate as turn } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { messageHandlers } from '../../daemon/services/messages/handlers.ts'
import { MAX_MESSAGE } from '../../daemon/session/session.ts'
import type { PeerId } from '../../daemon/types.ts'
import { type Client, type ConnectOptions, connect } from '../../ipc/client.ts'
import type { Message, MessageRequest } from '../../ipc/message-feed.ts'
import { ANNA, MessageHost } from '../services/message-apps.ts'
import { PlainApp, SocketHost, temporaryFolder } from './socket-host.ts'

/** The service behind real sockets; `anna` is somebody that sessions can be opened to. */
async function start(host = new MessageHost(), folder?: string): Promise<{ host: MessageHost; sockets: SocketHost }> {
  const handlers = messageHandlers({
    people: { host: () => ANNA },
    sessions: { get: (peer: PeerId) => host.sessions.get(peer)?.asSession },
    messages: host.messages,
  })
  return { host, sockets: await SocketHost.start(handlers, undefined, folder) }
}

const dial = (sockets: SocketHost, more: Partial<ConnectOptions> = {}): Promise<Client> =>
  connect({ app: 'test', socket: sockets.app, ...more })

const textOf = ({ value }: IteratorResult<Message>): string => Buffer.from(value.data).toString()

describe.each(['messagepack', 'json'] as const)('messages in %s', (encoding) => {
  test('are sent with what the app wants of them, and it learns what became of them', async () => {
    const { host, sockets } = await start()
    await using _ = sockets
    await using client = await dial(sockets, { encoding })
    const session = host.open()
    const sending = client.send('anna', 'chess', 'e2e4', { lane: 2, nodelay: true })
    await expect.poll(() => session.sent.length).toBe(1)
    expect(session.sent[0]).toMatchObject({ channel: 'chess', text: 'e2e4', options: { lane: 2, nodelay: true } })
    session.sent[0]?.resolve({ sent: true, number: 4, via: 'datagram' })
    expect(await sending).toEqual({ sent: true, number: 4, via: 'datagram' })
    const refused = client.send(ANNA, 'chess', Buffer.from('x'))
    await expect.poll(() => session.sent.length).toBe(2)
    session.sent[1]?.reject('peer.not-accepted')
    await expect(refused).rejects.toMatchObject({ code: 'peer.not-accepted' })
    await expect(client.send('anna', 'partyline.chat', 'x')).rejects.toMatchObject({ code: 'usage.invalid-argument' })
    await expect(client.send('anna', 'c', 'x', { lane: 16 })).rejects.toMatchObject({ code: 'usage.invalid-argument' })
  })

  test('come with all that is known of them', async () => {
    const { host, sockets } = await start()
    await using _ = sockets
    await using client = await dial(sockets, { encoding })
    const feed = await client.messages('chess')
    const contents = ['', 'e2e4 ♞', '\ufeff"\u0000', 'x'.repeat(70_000)].map((text) => Buffer.from(text))
    contents.push(Buffer.of(0xff), Buffer.alloc(70_000, 0xfe))
    const about = { lane: 15, number: 5_000_000_000, via: 'datagram', reliable: false } as const
    for (const content of contents) host.arrive(content, about)
    for (const content of contents) {
      const { data, ...rest } = ((await feed.next()) as IteratorYieldResult<Message>).value
      expect(Buffer.from(data).equals(content)).toBe(true)
      expect(rest).toEqual({ from: ANNA, channel: 'chess', at: host.clock.wall(), ...about })
    }
  })

  test('of a peer that is not accepted are asked about first', async () => {
    const { host, sockets } = await start()
    await using _ = sockets
    await using client = await dial(sockets, { encoding })
    const requests: MessageRequest[] = []
    const feed = await client.messages('chess', {
      accept: 'ask',
      onRequest: (request) => {
        requests.push(request)
        return request.channel === 'chess'
      },
    })
    const refusing = await client.messages('go', { accept: 'ask', onRequest: async () => false })
    host.arrive('a')
    host.arrive('b')
    expect([textOf(await feed.next()), textOf(await feed.next())]).toEqual(['a', 'b'])
    expect(requests).toEqual([{ from: ANNA, name: 'anna', channel: 'chess', expires: 30_000 }])
    const answers = host.arrive('c', { channel: 'go' })
    await expect.poll(() => answers).toEqual(['peer.not-accepted'])
    await refusing.return?.()
  })
})

test('a peer that the client sends to needs nobody to accept it, on whatever connection', async () => {
  const { host, sockets } = await start()
  await using _ = sockets
  await using client = await dial(sockets)
  const feed = await client.messages('chess', { accept: 'ask', onRequest: () => expect.unreachable() })
  const session = host.open()
  const sending = client.send(ANNA, 'chess', 'hello')
  await expect.poll(() => session.sent.length).toBe(1)
  session.sent[0]?.resolve()
  await sending
  host.arrive('answer')
  expect(textOf(await feed.next())).toBe('answer')
})

test('a request that the app cannot answer lapses', async () => {
  const { host, sockets } = await start()
  await using _ = sockets
  await using client = await dial(sockets)
  let asked = 0
  await client.messages('chess', {
    accept: 'ask',
    onRequest: () => {
      asked++
      throw new Error('no idea')
    },
  })
  const answers = host.arrive('a')
  await expect.poll(() => asked).toBe(1)
  host.clock.advance(30_000)
  expect(answers).toEqual(['peer.not-accepted'])
})

test('lanes are set and gathered messages flushed; lanes and accepted peers outlive the daemon', async () => {
  const folder = await temporaryFolder()
  const first = await start(new MessageHost(), folder)
  await using client = await dial(first.sockets, { reconnect: true })
  const session = first.host.open()
  const lanes = [{ priority: 1, weight: 2 }]
  await client.setLanes(ANNA, lanes, 5)
  await client.flush(ANNA)
  expect(session).toMatchObject({ lanes: [{ lanes, gather: 5 }], flushes: 1 })
  const feed = await client.messages('chess', { accept: 'ask', onRequest: () => true })
  first.host.arrive('a')
  expect(textOf(await feed.next())).toBe('a')
  await first.sockets.server.stop()
  const second = await start(new MessageHost(), folder)
  await using _ = second.sockets
  const again = second.host.open()
  await expect.poll(() => again.lanes.map(({ lanes }) => lanes)).toEqual([])
  await expect.poll(() => second.host.arrive('b').join()).not.toBe('peer.no-listener')
  expect(textOf(await feed.next())).toBe('b')
  await expect.poll(() => second.host.open().lanes.map((set) => set.lanes)).toEqual([lanes])
})

test('an app that sends more than may be on its way is not read, and loses nothing', async () => {
  const { host, sockets } = await start()
  await using _ = sockets
  await using client = await dial(sockets)
  const session = host.open()
  const count = 40
  const sending = Array.from({ length: count }, () => client.send(ANNA, 'c', Buffer.alloc(MAX_MESSAGE)))
  const asked = client.call('messages.flush', { peer: ANNA })
  await expect.poll(() => session.sent.length).toBe(4)
  await turn()
  expect(session.flushes).toBe(0)
  for (let i = 0; i < count; i++) {
    await expect.poll(() => session.sent.length).toBeGreaterThan(i)
    session.sent[i]?.resolve()
  }
  await Promise.all([...sending, asked])
  expect(session.flushes).toBe(1)
})

test('an app that does not read its messages is handed no more than its budget', async () => {
  const { host, sockets } = await start()
  await using _ = sockets
  using app = await PlainApp.greeted(sockets.app)
  app.call(1, 'messages.listen', { channel: 'chess' })
  await app.answer()
  app.socket.pause()
  const answers = Array.from({ length: 8 }, () => host.arrive(Buffer.alloc(MAX_MESSAGE, 'x')))
  await turn()
  expect(answers.filter(([answer]) => answer === 'peer.busy')).toHaveLength(4)
  app.socket.destroy()
  await expect.poll(() => answers.every((given) => given.length === 1)).toBe(true)
})
