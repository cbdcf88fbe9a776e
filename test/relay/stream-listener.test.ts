import { once } from 'node:events'
import { connect, type Socket } from 'node:net'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { silentLogger } from '../../daemon/logger.ts'
import { StunWriter } from '../../daemon/nat/stun/message.ts'
import { METHOD } from '../../daemon/nat/stun/registry.ts'
import { encodeChannelData } from '../../daemon/nat/turn/channel-data.ts'
import { MAX_PER_ADDRESS, MAX_UNSENT, StreamListener } from '../../daemon/relay/stream-listener.ts'
import type { TurnClient } from '../../daemon/relay/turn-client.ts'
import { VirtualClock } from '../virtual-clock.ts'

const binding = new StunWriter('request', METHOD.binding, Buffer.alloc(12, 1)).finish()

let clock: VirtualClock
let listener: StreamListener
let port: number
let received: { packet: Buffer; client: TurnClient }[]
let gone: TurnClient[]
let used: boolean
let told: () => void
const sockets: Socket[] = []

beforeEach(async () => {
  clock = new VirtualClock()
  received = []
  gone = []
  used = false
  told = () => {}
  listener = new StreamListener({
    clock,
    logger: silentLogger,
    received: (packet, client) => {
      received.push({ packet: Buffer.from(packet), client })
      told()
    },
    gone: (client) => {
      gone.push(client)
      told()
    },
    isUsed: () => used,
  })
  port = await listener.listen(0)
})

afterEach(async () => {
  for (const socket of sockets.splice(0)) socket.destroy()
  await listener.close()
})

async function dial(): Promise<Socket> {
  const socket = connect({ port, host: '127.0.0.1' })
  sockets.push(socket)
  socket.on('error', () => {})
  // Without a reader its end is never told.
  socket.resume()
  await once(socket, 'connect')
  return socket
}

/** Resolves once that many packets came, or clients went. */
async function until(condition: () => boolean): Promise<void> {
  while (!condition()) {
    const { promise, resolve } = Promise.withResolvers<void>()
    told = resolve
    await promise
  }
}

test('takes messages however they are cut, old channels among them, and answers', async () => {
  const socket = await dial()
  const data = encodeChannelData(0x7ffe, Buffer.from('hello'), true)
  const bytes = Buffer.concat([binding, data])
  for (const byte of bytes) socket.write(Buffer.from([byte]))
  await until(() => received.length === 2)
  expect(received.map(({ packet }) => packet)).toEqual([binding, data])
  received[0]?.client.send(Buffer.from('answer'))
  const [answer] = (await once(socket, 'data')) as [Buffer]
  expect(answer.toString()).toBe('answer')
  expect(received[0]?.client).toMatchObject({ transport: 'tcp', from: { address: '127.0.0.1' } })
})

test.each(['GET / HTTP/1.1\r\n\r\n', '\x16\x03\x01\x02\x00\x01', 'SSH-2.0-x\r\n'])('ends who says %j', async (text) => {
  const socket = await dial()
  socket.write(text)
  await once(socket, 'close')
  await until(() => gone.length > 0)
})

test('ends whoever has no relay after a while, whatever they send; and nobody else', async () => {
  const socket = await dial()
  socket.write(binding)
  await until(() => received.length === 1)
  used = true
  clock.advance(60_000)
  socket.write(binding)
  await until(() => received.length === 2)
  used = false
  clock.advance(10_000)
  socket.write(binding)
  await until(() => received.length === 3)
  const closed = once(socket, 'close')
  clock.advance(10_000)
  await closed
})

test('keeps so much for a client that does not read, and loses the rest', async () => {
  const socket = await dial()
  socket.pause()
  socket.write(binding)
  await until(() => received.length === 1)
  const { client } = received[0] ?? expect.fail('nobody')
  const before = process.memoryUsage().arrayBuffers
  const packet = Buffer.alloc(1000)
  for (let n = 0; n < 100_000; n++) client.send(packet)
  expect(process.memoryUsage().arrayBuffers - before).toBeLessThan(100 * MAX_UNSENT)
  let bytes = 0
  socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  socket.resume()
  await listener.close()
  if (!socket.destroyed) await once(socket, 'close')
  expect(bytes).toBeLessThan(50_000_000)
})

test('admits so many connections of one address', async () => {
  const all = await Promise.all(Array.from({ length: MAX_PER_ADDRESS + 5 }, () => dial()))
  await Promise.all(all.slice(-5).map((socket) => socket.destroyed || once(socket, 'close')))
  expect(all.filter(({ destroyed }) => !destroyed)).toHaveLength(MAX_PER_ADDRESS)
})
