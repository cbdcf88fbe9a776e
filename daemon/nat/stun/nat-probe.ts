import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Clock, Timer } from '../../clock.ts'
import type { HostPort } from '../../types.ts'
import { BehaviourTest, type NatBehaviour } from './behaviour.ts'
import { StunMessage } from './message.ts'

/**
 * What NAT there is before this host, as a server sees it. On a socket of its own: the tests ask who gets in that nothing was sent to, and the
 * daemon's port has sent to many. Rejects with the system's error where there is no way to the server.
 */
export async function probeNat(server: HostPort, clock: Clock): Promise<NatBehaviour> {
  const socket = createSocket(server.address.includes(':') ? 'udp6' : 'udp4')
  try {
    socket.bind(0)
    await once(socket, 'listening')
    return await runOn(socket, { address: await ownAddress(server), port: socket.address().port }, server, clock)
  } finally {
    socket.close()
  }
}

/** The address that packets to the server leave from: what the system connects a socket with. Nothing is sent. */
async function ownAddress(server: HostPort): Promise<string> {
  const socket = createSocket(server.address.includes(':') ? 'udp6' : 'udp4')
  try {
    const connected = once(socket, 'connect')
    socket.connect(server.port, server.address)
    await connected
    return socket.address().address
  } finally {
    socket.close()
  }
}

function runOn(socket: Socket, own: HostPort, server: HostPort, clock: Clock): Promise<NatBehaviour> {
  return new Promise((resolve, reject) => {
    let timer: Timer | undefined
    const test = new BehaviourTest(
      {
        server,
        own,
        random: randomBytes,
        output: (packet, to) => socket.send(packet, to.port, to.address, () => {}),
      },
      clock.now(),
    )
    const goOn = (): void => {
      timer?.cancel()
      if (test.result) return resolve(test.result)
      timer = clock.after(Math.max(1, test.deadline - clock.now()), () => {
        test.tick(clock.now())
        goOn()
      })
    }
    socket.on('error', reject)
    socket.on('message', (packet) => {
      try {
        test.receive(StunMessage.decode(packet), clock.now())
      } catch {
        return
      }
      goOn()
    })
    goOn()
  })
}
