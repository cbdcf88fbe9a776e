import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import type { NetworkInterface } from '../../daemon/network/network.ts'

/** The machine's own loopback interface, as `Network` tells it. */
export const LOOPBACK: NetworkInterface = {
  name: 'lo',
  index: 1,
  kind: 'loopback',
  participating: true,
  multicast: false,
  addresses: [{ address: '127.0.0.1', family: 4, prefix: 8, scope: 'loopback', broadcast: '127.255.255.255' }],
}

/** A UDP port that nobody uses. */
export async function freePort(): Promise<number> {
  const socket = createSocket('udp6')
  socket.bind(0)
  await once(socket, 'listening')
  const { port } = socket.address()
  socket.close()
  await once(socket, 'close')
  return port
}
