import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createServer } from 'node:net'
import { expect, test } from 'vitest'
import { linuxPortHolders, socketsAt } from '../../daemon/doctor/port-holders.ts'

/** Lines as the kernel has them; the last has another end. */
const UDP = `   sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode ref pointer drops
  101: 00000000:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000   107        0 21345 2 0000000000000000 0
  102: FB0000E0:14E9 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 21346 2 0000000000000000 0
  103: 00000000:14E8 00000000:0000 07 00000000:00000000 00:00000000 00000000     0        0 21347 2 0000000000000000 0
  104: 0100007F:14E9 0200007F:0035 01 00000000:00000000 00:00000000 00000000     0        0 21348 2 0000000000000000 0
`
const TCP = `  sl  local_address rem_address   st tx_queue rx_queue tr tm->when retrnsmt   uid  timeout inode
   0: 00000000000000000000000000000000:BAB8 00000000000000000000000000000000:0000 0A 00000000:00000000 00:00000000 00000000     0        0 777 1
   1: 0100007F:BAB8 0100007F:9C40 01 00000000:00000000 00:00000000 00000000     0        0 778 1
   2: 0100007F:BAB8 0100007F:9C41 06 00000000:00000000 00:00000000 00000000     0        0 0 1
`

test('sockets that wait for others at a port are found in the tables of the kernel', () => {
  expect(socketsAt(UDP, 5353, 'udp')).toEqual(['21345', '21346'])
  expect(socketsAt(TCP, 47_800, 'tcp')).toEqual(['777'])
  expect(socketsAt('', 5353, 'udp')).toEqual([])
})

test.skipIf(process.platform !== 'linux')('this process is found at the ports that it holds', async () => {
  const server = createServer().listen(0)
  await once(server, 'listening')
  const { port } = server.address() as { port: number }
  const socket = createSocket('udp4').bind(port)
  await once(socket, 'listening')
  try {
    const holders = await linuxPortHolders(port)
    expect(holders.map(({ transport, pid }) => [transport, pid])).toEqual([
      ['tcp', process.pid],
      ['udp', process.pid],
    ])
    expect(holders[0]?.name).not.toBe('')
  } finally {
    server.close()
    socket.close()
  }
})

test('where the system tells nothing, nobody holds a port', async () => {
  expect(await linuxPortHolders(5353, '/nowhere')).toEqual([])
})
