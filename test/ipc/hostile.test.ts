import { randomBytes } from 'node:crypto'
import { encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { METHODS } from '../../ipc/methods.ts'
import { HELLO, PlainApp, SocketHost } from './socket-host.ts'

describe.each(['app', 'control'] as const)('the %s socket', (which) => {
  test('refuses arbitrary bytes with a line that says so, counts them, and serves others on', async () => {
    await using host = await SocketHost.start({ 'peers.list': () => [] })
    using other = await PlainApp.greeted(host[which])
    let refused = 0
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ minLength: 1, maxLength: 400 }), fc.boolean(), async (bytes, behindHello) => {
        using app = await PlainApp.connect(host[which])
        if (behindHello) {
          app.send(HELLO)
          await app.answer()
        }
        app.socket.end(bytes)
        const told = await app.ended
        if (told.includes('usage.')) refused++
        other.call(1, 'peers.list')
        expect(await other.answer()).toMatchObject({ result: [] })
      }),
      { numRuns: 100 },
    )
    const counted = Object.values(host.refusals.snapshot()).reduce((sum, count) => sum + count, 0)
    expect(refused).toBeGreaterThan(50)
    expect(counted).toBeGreaterThanOrEqual(refused)
    await expect.poll(() => host.server.connections).toBe(1)
  })

  test.each([
    ['text', 'GET / HTTP/1.1\r\n\r\n', 'usage.malformed'],
    ['a TLS greeting', Buffer.concat([Buffer.of(22, 3, 1, 2, 0), randomBytes(512)]), 'usage.malformed'],
    ['a line that is no JSON', '{"id":1,,}\n', 'usage.malformed'],
    ['a batch', '[{"id":1,"method":"peers.list"}]\n', 'usage.invalid-request'],
    ['an answer', '{"id":1,"result":{}}\n', 'usage.invalid-request'],
    ['deeply nested JSON', `{"a":${'['.repeat(200_000)}\n`, 'usage.malformed'],
    ['MessagePack that is no call', encode([9, 9, 9, 9]), 'usage.invalid-request'],
    ['half a MessagePack message', encode([0, 1, 'hello', {}]).subarray(0, 6), 'usage.malformed'],
  ])('refuses %s', async (_, bytes, code) => {
    await using host = await SocketHost.start()
    using app = await PlainApp.connect(host[which])
    app.socket.end(bytes)
    expect(await app.ended).toContain(code)
    expect(host.refusals.snapshot()).toEqual({ [code]: 1 })
  })
})

test('any parameters are refused with a code or reach the handler: nothing is ever "internal"', async () => {
  const reached = new Map<string, number>()
  const handlers = Object.fromEntries(
    Object.keys(METHODS).map((method) => [
      method,
      async () => {
        reached.set(method, (reached.get(method) ?? 0) + 1)
        return { result: {}, attach: () => {}, abandon: () => {} }
      },
    ]),
  )
  const methods = Object.entries(METHODS).filter(([, entry]) => !('raw' in entry))
  await using host = await SocketHost.start(handlers)
  using app = await PlainApp.greeted(host.control)
  const params = fc.oneof(
    fc.jsonValue(),
    fc.constantFrom(...methods.map(([, { example }]) => example.params)),
    fc.record({ peer: fc.string(), channel: fc.string(), data: fc.jsonValue() }),
  )
  let id = 0
  await fc.assert(
    fc.asyncProperty(fc.constantFrom(...methods.map(([name]) => name)), params, async (method, given) => {
      app.send(`${JSON.stringify({ id: ++id, method, params: given })}\n`)
      const answer = await app.answer()
      expect(answer.id).toBe(id)
      if (answer.error) expect(answer.error.data.code).toMatch(/^usage\./)
    }),
    { numRuns: 400 },
  )
  expect(reached.size).toBeGreaterThan(3)
})

test('a slow writer, one byte at a time, is served like any other', async () => {
  await using host = await SocketHost.start({ 'peers.list': () => [] })
  using app = await PlainApp.connect(host.app)
  for (const byte of `${HELLO}{"id":1,"method":"peers.list"}\n`) {
    app.send(byte)
    await new Promise((resolve) => setImmediate(resolve))
  }
  expect(await app.answer()).toMatchObject({ id: 0 })
  expect(await app.answer()).toMatchObject({ id: 1, result: [] })
})
