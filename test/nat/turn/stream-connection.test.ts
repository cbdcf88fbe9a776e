import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { afterEach, expect, test } from 'vitest'
import { systemClock } from '../../../daemon/clock.ts'
import { encodeChannelData } from '../../../daemon/nat/turn/channel-data.ts'
import { streamOpener } from '../../../daemon/nat/turn/stream-connection.ts'
import { VirtualClock } from '../../virtual-clock.ts'

const servers: Server[] = []
afterEach(() => {
  for (const server of servers.splice(0)) server.close()
})

async function listen(accept: (socket: Socket) => void): Promise<number> {
  const server = createServer((socket) => {
    socket.on('error', () => {})
    accept(socket)
  })
  servers.push(server)
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  return (server.address() as AddressInfo).port
}

/** A connection, and what it tells. */
function open(port: number, clock = systemClock) {
  const opened = Promise.withResolvers<void>()
  const closed = Promise.withResolvers<string>()
  const messages: Buffer[] = []
  const first = Promise.withResolvers<void>()
  const stream = streamOpener(clock, {})(
    { address: '127.0.0.1', port, transport: 'tcp', name: '127.0.0.1' },
    {
      opened: opened.resolve,
      message: (packet) => {
        messages.push(packet)
        first.resolve()
      },
      closed: closed.resolve,
    },
  )
  return { stream, opened: opened.promise, closed: closed.promise, first: first.promise, messages }
}

test('messages arrive whole, and the end is told with its reason', async () => {
  const packet = encodeChannelData(0x4000, Buffer.from('hello'), true)
  const port = await listen((socket) => {
    socket.write(packet.subarray(0, 5))
    setImmediate(() => socket.end(packet.subarray(5)))
  })
  const { messages, first, closed } = open(port)
  await first
  expect(messages).toEqual([packet])
  expect(await closed).toMatch(/closed the connection/)
})

test.each([
  ['SSH-2.0-OpenSSH', /neither STUN nor ChannelData/],
  ['HTTP/1.1 400 Bad Request', /web server or a proxy/],
])('what is no TURN server ends it: %s', async (greeting, reason) => {
  const port = await listen((socket) => socket.write(greeting))
  expect(await open(port).closed).toMatch(reason)
})

test('a port at which nobody listens is told', async () => {
  const port = await listen(() => {})
  servers.splice(0).forEach((server) => void server.close())
  expect(await open(port).closed).toMatch(/nothing listens/)
})

test('a server that does not take the connection is given up after five seconds', async () => {
  const clock = new VirtualClock()
  // Nothing is asked of the network before this turn of the loop ends.
  const { closed } = open(9, clock)
  clock.advance(5000)
  expect(await closed).toMatch(/does not answer over TCP/)
})

test('packets of peers are dropped when the server reads too slowly, requests a while later, and memory stays bounded', async () => {
  const port = await listen((socket) => void socket.pause())
  const { stream, opened } = open(port)
  expect(stream.send(Buffer.alloc(4), true)).toBe(false)
  await opened
  const packet = Buffer.alloc(1200)
  let sent = 0
  for (let n = 0; n < 100_000 && stream.send(packet, false); n++) sent++
  expect(sent * packet.length).toBeLessThan(16 * 1024 * 1024)
  expect(stream.send(packet, false)).toBe(false)
  expect(stream.send(packet, true)).toBe(true)
  let requests = 0
  while (requests < 1000 && stream.send(packet, true)) requests++
  expect(requests).toBeLessThan(1000)
  stream.close()
  stream.close()
  expect(stream.send(packet, true)).toBe(false)
})
