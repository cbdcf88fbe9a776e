import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import { afterEach, describe, expect, test } from 'vitest'
import { systemClock } from '../../../daemon/clock.ts'
import { createLogger } from '../../../daemon/logger.ts'
import { listenForAnnouncements } from '../../../daemon/nat/mapping/announcements.ts'
import { askGateway, systemGatewaySocket } from '../../../daemon/nat/mapping/gateway-client.ts'

const sockets = new Set<Socket>()
afterEach(() => {
  for (const socket of sockets) socket.close()
  sockets.clear()
})

/** A UDP socket of its own on the loopback. */
async function listening(address: string): Promise<Socket> {
  const socket = createSocket('udp4')
  sockets.add(socket)
  socket.bind(0, address)
  await once(socket, 'listening')
  return socket
}

const GATEWAY = { family: 4, address: '127.0.0.1', own: '127.0.0.1', interface: 'lo' } as const

function ask(port: number, gateway: Parameters<typeof askGateway>[0]['gateway'] = GATEWAY): Promise<string> {
  return askGateway({
    clock: systemClock,
    open: systemGatewaySocket,
    gateway,
    port,
    packet: Buffer.from('who?'),
    pauses: [20_000],
    read: (packet) => packet.toString(),
    signal: new AbortController().signal,
  })
}

describe('a router', () => {
  test('is heard, and nobody in its place', async () => {
    const router = await listening('127.0.0.1')
    const other = await listening('127.0.0.2')
    router.once('message', (_packet, { port }) => {
      other.send('me', port, '127.0.0.1', () => router.send('the router', port, '127.0.0.1'))
    })
    expect(await ask(router.address().port)).toBe('the router')
  })

  test('cannot be asked from an address that this host does not have', async () => {
    await expect(ask(9, { ...GATEWAY, own: '192.0.2.1' })).rejects.toMatchObject({
      code: 'network.no-mapping',
      message: expect.stringContaining('EADDRNOTAVAIL'),
    })
  })

  test('is not heard where its port is taken, which is no more than a line in the log', async () => {
    const holder = createSocket('udp4')
    // Whoever has it already does as well.
    holder.once('error', () => {})
    holder.bind({ port: 5350, exclusive: true })
    const { promise, resolve } = Promise.withResolvers<unknown>()
    const logger = createLogger('debug', ({ level, facts }) => level === 'debug' && resolve(facts))
    const stop = listenForAnnouncements(logger, () => {})
    expect(await promise).toMatchObject({ group: '224.0.0.1' })
    stop()
    stop()
    holder.close()
  })
})
