import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import type { Duplex } from 'node:stream'
import { buffer } from 'node:stream/consumers'
import { setTimeout as sleep } from 'node:timers/promises'
import { describe, expect, test } from 'vitest'
import { newKey, until } from './tls-host.ts'
import { carriersOf, linked, UdxHost } from './udx-host.ts'

const MIB = 1024 * 1024

/** Unlike `once`, does not mind an error before. */
const closed = (socket: Duplex): Promise<void> => new Promise((resolve) => socket.once('close', () => resolve()))

/** Writes pseudo-random bytes as fast as they are taken, and ends. Returns their hash. */
async function pour(socket: Duplex, bytes: number): Promise<string> {
  const hash = createHash('sha256')
  for (let left = bytes; left > 0; ) {
    const chunk = randomBytes(Math.min(left, 64 * 1024))
    left -= chunk.length
    hash.update(chunk)
    if (!socket.write(chunk)) await once(socket, 'drain')
  }
  socket.end()
  return hash.digest('hex')
}

async function hashOf(socket: Duplex): Promise<string> {
  const hash = createHash('sha256')
  for await (const chunk of socket) hash.update(chunk as Buffer)
  return hash.digest('hex')
}

describe('a link over UDX', () => {
  test('proves both keys, over the same TLS as one over TCP', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const { near, far } = await linked(a, b)
    expect(near).toMatchObject({ peer: b.peer, dialled: true, carrier: 'udx', group: 'X25519MLKEM768' })
    expect(far).toMatchObject({ peer: a.peer, dialled: false, carrier: 'udx', cipher: 'TLS_AES_128_GCM_SHA256' })
    expect(near.remote).toEqual(b.at())
    expect(near.local).toEqual({ address: '0.0.0.0', port: a.endpoint.port })
    const key = near.exportKey('EXPORTER-test', 32)
    expect(key).toHaveLength(32)
    expect(far.exportKey('EXPORTER-test', 32)).toEqual(key)
    expect([a.refusals.snapshot(), b.refusals.snapshot()]).toEqual([{}, {}])
  })

  test.for(['client', 'server'] as const)('refuses another key than the one expected, as %s', async (deceived) => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const { near, far } = carriersOf(a, b)
    const other = (await newKey()).peer
    const [client, server] = await Promise.allSettled([
      a.shake(near, 'client', deceived === 'client' ? other : b.peer),
      b.shake(far, 'server', deceived === 'server' ? other : a.peer),
    ])
    expect(deceived === 'client' ? client : server).toMatchObject({
      status: 'rejected',
      reason: { code: 'peer.wrong-key' },
    })
    await until(() => a.carriers.size === 0 || b.carriers.size === 0)
  })

  test('fails when it is given up, and when the other end speaks no TLS', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const silent = carriersOf(a, b)
    const giveUp = new AbortController()
    const given = a.shake(silent.near, 'client', b.peer, giveUp.signal)
    giveUp.abort()
    await expect(given).rejects.toMatchObject({ code: 'network.unreachable' })
    const babbling = carriersOf(a, b)
    babbling.far.socket.on('error', () => {}).write('SSH-2.0-not-tls\r\n')
    await expect(a.shake(babbling.near, 'client', b.peer)).rejects.toMatchObject({ code: 'peer.wrong-protocol' })
    silent.far.destroy()
    await until(() => a.carriers.size === 0 && b.carriers.size === 0)
  })

  test('keeps half-close', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const { near, far } = await linked(a, b)
    near.socket.end('a question')
    expect(String(await buffer(far.socket))).toBe('a question')
    far.socket.end('an answer')
    expect(String(await buffer(near.socket))).toBe('an answer')
    await until(() => a.carriers.size === 0 && b.carriers.size === 0)
  })

  test('delivers what was written before it was destroyed', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const { near, far } = await linked(a, b)
    const received = buffer(far.socket)
    far.socket.on('end', () => far.socket.end())
    near.socket.on('error', () => {}).resume()
    near.socket.end(Buffer.alloc(MIB, 7), () => near.destroy())
    expect((await received).length).toBe(MIB)
    await until(() => a.carriers.size === 0 && b.carriers.size === 0)
  })

  test('ends on both sides when one destroys it', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const { near, far } = await linked(a, b)
    far.socket.on('error', () => {}).resume()
    const gone = closed(far.socket)
    near.destroy()
    near.destroy()
    await gone
    await until(() => a.carriers.size === 0 && b.carriers.size === 0)
  })

  test('slows a writer down while nobody reads, and goes on afterwards', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const { near, far } = await linked(a, b)
    const size = 24 * MIB
    let isWritten = false
    const hash = pour(near.socket, size).then((value) => {
      isWritten = true
      return value
    })
    let before = -1
    for (let now = 0; now !== before; await sleep(100)) {
      before = now
      now = b.carriers.size === 1 ? a.sent.length + near.socket.writableLength : 0
    }
    expect(isWritten).toBe(false)
    expect(await hashOf(far.socket)).toBe(await hash)
  })
})

describe('a link over UDX that moves', () => {
  test('carries 64 MiB over IPv4, IPv6, a relay that delays and loses, and back, both ends moving when they want to', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const { near, far, carriers } = await linked(a, b)
    let count = 0
    const weather = (_: Buffer, to: { relay?: string | undefined }): 'lost' | number => {
      if (to.relay === undefined) return 0
      return count++ % 50 === 0 ? 'lost' : 3
    }
    a.weather = weather
    b.weather = weather
    let received = 0
    far.socket.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    const hashes = Promise.all([pour(near.socket, 64 * MIB), hashOf(far.socket)])
    await until(() => received > 8 * MIB)
    carriers.near.move(b.at('::1'))
    await until(() => received > 16 * MIB)
    expect(near.remote).toEqual(b.at('::1'))
    expect(near.local.address).toBe('::')
    carriers.far.move(a.at('::1'))
    await until(() => received > 24 * MIB)
    carriers.far.move({ ...a.at(), relay: 'turn' })
    await until(() => received > 28 * MIB)
    carriers.near.move({ ...b.at(), relay: 'turn' })
    await until(() => received > 32 * MIB)
    carriers.near.move(b.at())
    carriers.far.move(a.at())
    const [sent, arrived] = await hashes
    expect(arrived).toBe(sent)
    expect(received).toBe(64 * MIB)
  }, 60_000)

  test('loses nothing when the path it leaves is dead, and goes on within a second', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const { near, far, carriers } = await linked(a, b)
    let received = 0
    far.socket.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    const hashes = Promise.all([pour(near.socket, 32 * MIB), hashOf(far.socket)])
    await until(() => received > 4 * MIB)
    const dead = (_: Buffer, to: { address: string }): 'lost' | number => (to.address === '127.0.0.1' ? 'lost' : 0)
    a.weather = dead
    b.weather = dead
    // Longer than UDX takes to note that something is wrong.
    await sleep(1500)
    const before = received
    const movedAt = performance.now()
    carriers.near.move(b.at('::1'))
    carriers.far.move(a.at('::1'))
    await until(() => received > before + MIB)
    expect(performance.now() - movedAt).toBeLessThan(1000)
    const [sent, arrived] = await hashes
    expect(arrived).toBe(sent)
  }, 30_000)

  test('takes packets that were lost on a wide path over a narrow one', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const { near, far, carriers } = await linked(a, b)
    let received = 0
    far.socket.on('data', (chunk: Buffer) => {
      received += chunk.length
    })
    carriers.near.move(b.at(), 1472)
    const hashes = Promise.all([pour(near.socket, 16 * MIB), hashOf(far.socket)])
    await until(() => received > 4 * MIB)
    a.weather = (packet, to) => (to.address === '127.0.0.1' || packet.length > 1172 ? 'lost' : 0)
    await sleep(200)
    carriers.near.move(b.at('::1'))
    const [sent, arrived] = await hashes
    expect(arrived).toBe(sent)
  }, 30_000)

  test('may be moved many times at once, to where it is, and when it is over', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const { near, far, carriers } = await linked(a, b)
    for (let i = 0; i < 100; i++) carriers.near.move(b.at(i % 2 ? '::1' : '127.0.0.1'))
    carriers.near.move(b.at('::1'))
    near.socket.end('moved')
    far.socket.end()
    expect(String(await buffer(far.socket))).toBe('moved')
    near.socket.resume()
    await until(() => a.carriers.size === 0)
    carriers.near.move(b.at())
  })

  test('may be closed while it moves', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const { near, far, carriers } = await linked(a, b)
    far.socket.on('error', () => {}).resume()
    near.socket.on('error', () => {}).write(Buffer.alloc(2 * MIB))
    carriers.near.move(b.at('::1'))
    carriers.near.destroy()
    carriers.far.move(a.at('::1'))
    await until(() => a.carriers.size === 0 && b.carriers.size === 0)
  })
})

describe('a handshake over UDX', () => {
  test('does not wait for a second when the peer opens its end late', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const id = a.carriers.freeId()
    const near = a.shake(a.carriers.open(id, b.at()), 'client', b.peer)
    await sleep(200)
    const openedAt = performance.now()
    await Promise.all([near, b.shake(b.carriers.open(id, a.at()), 'server', a.peer)])
    expect(performance.now() - openedAt).toBeLessThan(500)
  })

  test('does not wait for a second when first packets are lost', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    for (const host of [a, b]) {
      let left = 3
      host.weather = () => (left-- > 0 ? 'lost' : 0)
    }
    const startedAt = performance.now()
    await linked(a, b)
    expect(performance.now() - startedAt).toBeLessThan(700)
  })

  test('begins when a path is found, where there was none at first', async () => {
    await using a = await UdxHost.open()
    await using b = await UdxHost.open()
    const id = a.carriers.freeId()
    const [near, far] = [a.carriers.open(id), b.carriers.open(id)]
    const links = Promise.all([a.shake(near, 'client', b.peer), b.shake(far, 'server', a.peer)])
    await sleep(20)
    expect([near.to, a.sent.length]).toEqual([undefined, 0])
    near.move(b.at())
    far.move(a.at())
    const [link] = await links
    expect(link.remote).toEqual(b.at())
  })
})
