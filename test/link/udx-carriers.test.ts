import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { setTimeout as sleep } from 'node:timers/promises'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { until } from './tls-host.ts'
import { carriersOf, linked, UdxHost } from './udx-host.ts'

const MIB = 1024 * 1024

/** Sends from a port of its own on loopback, as any other program on this machine may. */
async function stranger() {
  const socket = createSocket('udp4')
  socket.bind(0, '127.0.0.1')
  await once(socket, 'listening')
  return {
    send: (packet: Uint8Array, { port }: { port: number }) =>
      new Promise((sent) => socket.send(packet, port, '127.0.0.1', sent)),
    [Symbol.dispose]: () => void socket.close(),
  }
}

/** A packet of UDX with a header and nothing else. */
function header(stream: number, kind = 0): Buffer {
  const packet = Buffer.alloc(20)
  packet.set([255, 1, kind, 0])
  packet.writeUInt32LE(stream, 4)
  packet.writeUInt32LE(2 ** 22, 8)
  return packet
}

describe('carriers over UDX', () => {
  test('have an id each, and a bound on how many there are', async () => {
    await using host = await UdxHost.open(3)
    const id = host.carriers.freeId()
    const first = host.carriers.open(id)
    expect(() => host.carriers.open(id)).toThrow(expect.objectContaining({ code: 'local.limit' }))
    for (let i = 0; i < 2; i++) host.carriers.open(host.carriers.freeId())
    expect(() => host.carriers.open(host.carriers.freeId())).toThrow(expect.objectContaining({ code: 'local.limit' }))
    first.destroy()
    for (;;) {
      try {
        host.carriers.open(id)
        break
      } catch {
        await sleep(5)
      }
    }
    expect(host.carriers.size).toBe(3)
  })

  test('are closed with the port, and cannot be opened then', async () => {
    const host = await UdxHost.open()
    const { socket } = host.carriers.open(host.carriers.freeId())
    const closed = once(socket, 'close')
    await host.endpoint.close()
    await closed
    expect(host.carriers.size).toBe(0)
    expect(() => host.carriers.open(1)).toThrow(expect.objectContaining({ code: 'network.none' }))
    host.carriers.close()
    host.carriers.close()
  })

  test('send packets of 1,200 bytes with headers of IP and UDP, and larger ones where a path is known to take them', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const { near, far, carriers } = await linked(a, b)
    far.socket.resume()
    near.socket.write(Buffer.alloc(2 * MIB))
    const largest = (): number => Math.max(...a.sent.map(({ packet }) => packet.length))
    await until(() => a.sent.length >= 1000)
    expect(largest()).toBe(1172)
    for (const [payload, expected] of [
      [1400, 1400],
      [100, 1172],
      [9000, 1472],
    ] as const) {
      carriers.near.move(b.at(), payload)
      await new Promise((flushed) => setTimeout(flushed, 50))
      a.sent.splice(0)
      near.socket.write(Buffer.alloc(MIB))
      await until(() => a.sent.length >= 500)
      expect(largest()).toBe(expected)
    }
  })

  test('tell what they sent and how far away the peer is', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    a.weather = () => 5
    const { near, far, carriers } = await linked(a, b)
    far.socket.resume()
    near.socket.end(Buffer.alloc(100_000))
    await once(far.socket, 'end')
    const { rtt, mtu, sent } = carriers.near.statistics
    expect(mtu).toBe(1200)
    expect(rtt).toBeGreaterThanOrEqual(4)
    expect(sent.bytes).toBeGreaterThan(100_000)
    expect(sent.packets).toBeGreaterThan(80)
  })

  test('ignore what is for no stream, and count what is none of UDX', async () => {
    await using host = await UdxHost.open()
    using other = await stranger()
    for (let i = 0; i < 500; i++) await other.send(header(i), host.at())
    await other.send(Buffer.of(255), host.at())
    await other.send(header(1).fill(9, 1, 2), host.at())
    await until(() => host.refusals.snapshot()['peer.malformed'] === 2)
    expect([host.carriers.size, host.sent.length]).toEqual([0, 0])
  })

  test('take nothing for their own that another program of this machine sends', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const { near } = carriersOf(a, b)
    // The way out for packets has a number of its own, which it would have to guess; and even then it has another port.
    near.socket.write('something')
    const looped: Buffer[] = []
    const stop = a.endpoint.handle('udx', (packet, from) => {
      looped.push(Buffer.from(packet))
      a.carriers.receive(packet, from)
    })
    await until(() => a.sent.length > 0)
    const [first] = looped
    if (!first) throw new Error('nothing was looped')
    const before = a.sent.length
    using other = await stranger()
    for (let i = 0; i < 50; i++) await other.send(first, a.at())
    await until(() => looped.length >= 50)
    expect(a.sent.slice(before).every(({ packet }) => !packet.equals(first))).toBe(true)
    stop()
  })

  test('let a relay bring packets for their streams only', async () => {
    await using host = await UdxHost.open()
    const looped: number[] = []
    const stop = host.endpoint.handle('udx', (packet) => void looped.push(packet.readUInt32LE(4)))
    const carrier = host.carriers.open(host.carriers.freeId(), host.at())
    carrier.socket.write('out')
    await until(() => looped.length > 0)
    const loopId = looped[0] ?? 0
    const from = { address: '192.0.2.1', port: 9, relay: 'turn' }
    const seen = looped.length
    // Neither its number for the way out, which would send it back to the peer, nor any other.
    for (const stream of [loopId, 0, 1, 0xffffffff]) host.carriers.receive(header(stream), from)
    await sleep(20)
    expect(looped.slice(seen).every((stream) => stream === loopId)).toBe(true)
    expect(host.sent).toEqual([])
    stop()
  })

  test('survive whatever comes for their streams', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    using other = await stranger()
    const { near, far } = carriersOf(a, b)
    await fc.assert(
      fc.asyncProperty(fc.uint8Array({ maxLength: 1200 }), fc.nat(255), fc.boolean(), async (rest, kind, viaRelay) => {
        const packet = Buffer.concat([header(near.id, kind), rest])
        if (viaRelay) a.carriers.receive(packet, { ...b.at(), relay: 'turn' })
        else await other.send(packet, a.at())
      }),
      { numRuns: 500 },
    )
    // It may have broken these carriers; others are as before.
    near.destroy()
    far.destroy()
    const { near: link, far: peer } = await linked(a, b)
    link.socket.end('still there')
    const [text] = await once(peer.socket, 'data')
    expect(String(text)).toBe('still there')
  })

  test('break off a peer that sends without end what nobody reads', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const { near, far } = carriersOf(a, b)
    const broken = new Promise((closed) => far.socket.once('close', closed))
    // As if the reader had read everything: the messages that say so are not authenticated either.
    for (let total = MIB; !far.socket.destroyed; total += MIB) {
      await new Promise((written) => near.socket.write(Buffer.alloc(MIB), written))
      const message = Buffer.concat([header(near.id, 8), Buffer.of(1, 0, 0, 0, 0, 0, 0)])
      message.writeUIntBE(total, 21, 6)
      a.carriers.receive(message, { ...b.at(), relay: 'turn' })
    }
    await broken
    expect(far.socket.errored).toMatchObject({ code: 'peer.oversized' })
  })
})
