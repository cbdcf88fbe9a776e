/**
 * Many clients of one TURN server in one process: `crowd-worker.ts OPTIONS`. Each has a relayed address, sends a packet through it to an echo and
 * hears it; then all wait for a line on standard input, and give their addresses back. Tells in lines of JSON.
 */
import { randomBytes } from 'node:crypto'
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { StunMessage } from '../../daemon/nat/stun/message.ts'
import { TurnAllocation } from '../../daemon/nat/turn/allocation.ts'

export interface CrowdOptions {
  readonly clients: number
  readonly server: string
  readonly echo: { readonly address: string; readonly port: number }
  readonly username: string
  readonly password: string
}

export interface CrowdTold {
  readonly event: 'all' | 'closed'
  readonly ms: number
}

const options = JSON.parse(process.argv[2] ?? '{}') as CrowdOptions
const began = performance.now()
const tell = (event: CrowdTold['event']): void =>
  void process.stdout.write(`${JSON.stringify({ event, ms: performance.now() - began } satisfies CrowdTold)}\n`)

/** A client with its own port; resolves once the echo came back. */
async function join(n: number): Promise<() => Promise<void>> {
  const { server, echo, username, password } = options
  const socket = createSocket('udp4')
  socket.bind()
  await once(socket, 'listening')
  const heard = Promise.withResolvers<void>()
  const gone = Promise.withResolvers<void>()
  const allocation: TurnAllocation = new TurnAllocation(
    { id: `${n}`, username, password, isStream: false, channels: 'all', random: randomBytes },
    {
      output: (packet) => socket.send(packet, 3478, server),
      data: (packet) => {
        if (packet.toString() === `hello ${n}`) heard.resolve()
      },
      changed: () => {
        if (allocation.state === 'allocated') allocation.send(Buffer.from(`hello ${n}`), echo, performance.now())
        if (allocation.state === 'failed') heard.reject(new Error(allocation.failure?.reason))
        if (allocation.state === 'closed') gone.resolve()
      },
    },
  )
  socket.on('message', (packet) => {
    if ((packet[0] ?? 0) >= 0x40) allocation.receiveChannelData(packet, performance.now())
    else allocation.receive(StunMessage.decode(packet), performance.now())
  })
  const ticking = setInterval(() => allocation.tick(performance.now()), 50)
  allocation.allocate(performance.now())
  await heard.promise
  return async () => {
    allocation.close(performance.now())
    await gone.promise
    clearInterval(ticking)
    socket.close()
  }
}

const leave = await Promise.all(Array.from({ length: options.clients }, (_, n) => join(n)))
tell('all')
await once(process.stdin, 'data')
await Promise.all(leave.map((one) => one()))
tell('closed')
process.exit(0)
