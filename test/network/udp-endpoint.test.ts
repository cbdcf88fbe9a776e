import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { silentLogger } from '../../daemon/logger.ts'
import { MAX_DATAGRAM } from '../../daemon/network/datagram-socket.ts'
import { UdpEndpoint } from '../../daemon/network/udp-endpoint.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { HostPort } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'

interface Received {
  readonly packet: Buffer
  readonly from: HostPort
}

const endpoints: UdpEndpoint[] = []
const sockets: Socket[] = []
afterEach(async () => {
  await Promise.all(endpoints.splice(0).map((one) => one.close()))
  for (const socket of sockets.splice(0)) socket.close()
})

function unbound() {
  const refusals = new Refusals()
  const endpoint = new UdpEndpoint({ clock: new VirtualClock(), logger: silentLogger, refusals })
  endpoints.push(endpoint)
  const errors: { to: HostPort; code: string }[] = []
  endpoint.onSendError((to, code) => void errors.push({ to, code }))
  const waiting: ((received: Received) => void)[] = []
  const arrived: Received[] = []
  endpoint.handle('sealed', (packet, from) => {
    const received = { packet, from }
    const taker = waiting.shift()
    if (taker) taker(received)
    else arrived.push(received)
  })
  const next = (): Promise<Received> => {
    const first = arrived.shift()
    return first ? Promise.resolve(first) : new Promise((resolve) => waiting.push(resolve))
  }
  return { endpoint, refusals, errors, next, arrived }
}

async function open() {
  const made = unbound()
  await made.endpoint.bind(0)
  return made
}

async function plainSocket(type: 'udp4' | 'udp6', port = 0): Promise<Socket> {
  const socket = createSocket({ type, ipv6Only: type === 'udp6' })
  socket.bind(port, type === 'udp4' ? '0.0.0.0' : '::')
  await once(socket, 'listening')
  sockets.push(socket)
  return socket
}

const sealed = (text: string): Buffer => Buffer.concat([Buffer.of(0xd0), Buffer.from(text)])

describe('the UDP endpoint', () => {
  test.for(['127.0.0.1', '::1', '::ffff:127.0.0.1'])(
    'carries datagrams to %s and tells where they are from',
    async (address) => {
      const [a, b] = [await open(), await open()]
      const to = { address, port: b.endpoint.port }
      a.endpoint.send(sealed('first'), to)
      a.endpoint.send(sealed('second'), to)
      const received = [await b.next(), await b.next()]
      expect(received.map(({ packet }) => packet.toString('latin1', 1))).toEqual(['first', 'second'])
      const expected = { address: address.includes('.') ? '127.0.0.1' : '::1', port: a.endpoint.port }
      expect(received.map(({ from }) => from)).toEqual([expected, expected])
      expect([...a.errors, ...b.errors]).toEqual([])
    },
  )

  test('leaves what it handed over as it is when more comes', async () => {
    const [a, b] = [await open(), await open()]
    const to = { address: '127.0.0.1', port: b.endpoint.port }
    const kept: Buffer[] = []
    for (let i = 0; i < 300; i++) {
      a.endpoint.send(Buffer.alloc(1200, 0xd0).fill(i & 255, 1), to)
      kept.push((await b.next()).packet)
    }
    expect(
      kept.every((packet, i) => packet.length === 1200 && packet.subarray(1).every((byte) => byte === (i & 255))),
    ).toBe(true)
  })

  test.for(['udp4', 'udp6'] as const)(
    'refuses a port that another program has by %s, and takes another then',
    async (type) => {
      const { port } = (await plainSocket(type)).address()
      const { endpoint, next } = unbound()
      await expect(endpoint.bind(port)).rejects.toMatchObject({ code: 'local.port-taken' })
      expect([endpoint.port, [...endpoint.missing.keys()]]).toEqual([0, [4, 6]])
      await endpoint.bind(0)
      endpoint.send(sealed('me'), { address: '127.0.0.1', port: endpoint.port })
      expect((await next()).from).toEqual({ address: '127.0.0.1', port: endpoint.port })
    },
  )

  test('shares its port with nobody, neither another endpoint nor whoever sets SO_REUSEADDR', async () => {
    const [a, b] = [await open(), unbound()]
    await expect(b.endpoint.bind(a.endpoint.port)).rejects.toMatchObject({ code: 'local.port-taken' })
    const thief = createSocket({ type: 'udp4', reuseAddr: true })
    sockets.push(thief)
    thief.bind(a.endpoint.port)
    const [error] = await once(thief, 'error')
    expect(error).toMatchObject({ code: 'EADDRINUSE' })
  })

  test('counts what nobody owns, and what is too large', async () => {
    const { endpoint, refusals, next } = await open()
    const socket = await plainSocket('udp4')
    const send = (bytes: Buffer) => new Promise((done) => socket.send(bytes, endpoint.port, '127.0.0.1', done))
    for (const size of [MAX_DATAGRAM + 1, MAX_DATAGRAM + 2, 9000, 65507]) await send(Buffer.alloc(size, 0xd0))
    for (const first of [4, 22, 63, 0x51, 0xcf, 0xe0, 0xfe]) await send(Buffer.of(first, 1, 2))
    await send(Buffer.alloc(0))
    await send(Buffer.alloc(MAX_DATAGRAM, 0xd0))
    expect((await next()).packet.length).toBe(MAX_DATAGRAM)
    expect(refusals.snapshot()).toEqual({ 'peer.malformed': 8, 'peer.oversized': 4 })
  })

  test('outlives a handler that throws', async () => {
    const { endpoint, refusals, next } = await open()
    endpoint.handle('stun', () => {
      throw new Error('a fault of the owner')
    })
    const to = { address: '127.0.0.1', port: endpoint.port }
    endpoint.send(Buffer.alloc(20), to)
    endpoint.send(sealed('after'), to)
    await next()
    expect(refusals.snapshot()).toEqual({ 'local.internal': 1 })
  })

  test.for([
    ['EMSGSIZE', MAX_DATAGRAM + 1, '127.0.0.1', 9],
    ['EINVAL', 10, '127.0.0.1', 0],
    ['EINVAL', 10, '127.0.0.1', 65536],
    ['EINVAL', 10, 'no address', 9],
    ['EINVAL', 10, '192.0.2.300', 9],
    ['ENODEV', 10, 'fe80::1%nowhere', 9],
    ['ENETUNREACH', 10, '::ffff:none', 9],
  ] as const)('tells %s of %i bytes to %s port %i', async ([code, size, address, port]) => {
    const { endpoint, errors, next } = await open()
    const to = { address, port }
    endpoint.send(Buffer.alloc(size, 0xd0), to)
    const self = { address: '127.0.0.1', port: endpoint.port }
    endpoint.send(sealed('a mark'), self)
    await next()
    expect(errors).toEqual([{ to, code }])
    // The second goes the other way, which says so too.
    endpoint.send(Buffer.alloc(size, 0xd0), to)
    expect(errors).toEqual([
      { to, code },
      { to, code },
    ])
  })

  test('announces from its own port to everyone', async () => {
    const { endpoint } = await open()
    const socket = await plainSocket('udp4')
    const heard = once(socket, 'message')
    await endpoint.announce(sealed('all'), { address: '127.255.255.255', port: socket.address().port })
    const [packet, from] = await heard
    expect([packet, from.port]).toEqual([sealed('all'), endpoint.port])
  })

  test('does nothing before it is bound and after it is closed, which may be twice', async () => {
    const { endpoint, errors, next } = unbound()
    const to = { address: '127.0.0.1', port: 9 }
    expect(endpoint.send(sealed('early'), to)).toBe('dropped')
    await expect(endpoint.announce(sealed('early'), to)).rejects.toMatchObject({ code: 'network.unreachable' })
    await endpoint.bind(0)
    endpoint.send(sealed('now'), { address: '127.0.0.1', port: endpoint.port })
    await next()
    await Promise.all([endpoint.close(), endpoint.close()])
    expect(endpoint.send(sealed('late'), to)).toBe('dropped')
    endpoint.setInterfaces([])
    await expect(endpoint.bind(0)).rejects.toMatchObject({ code: 'local.internal' })
    expect(errors.map(({ code }) => code)).toEqual(['ENETUNREACH', 'ENETUNREACH'])
  })

  test('leaves nothing open when it is closed while it opens', async () => {
    const { endpoint } = unbound()
    const binding = endpoint.bind(0)
    await endpoint.close()
    await binding
    expect(endpoint.port).toBe(0)
    const other = unbound()
    await other.endpoint.bind(0)
  })
})
