/**
 * The two ends of relayed traffic, for `relay.ts`: `relay-load.ts sink` counts what comes to UDP port 9 and tells on each line of standard input;
 * `relay-load.ts source OPTIONS` sends through a relayed address, as many packets a second as it is told.
 */
import { randomBytes } from 'node:crypto'
import { createInterface } from 'node:readline'
import Udx from 'udx-native'
import { StunMessage } from '../../daemon/nat/stun/message.ts'
import { TurnAllocation } from '../../daemon/nat/turn/allocation.ts'
import { DatagramSocket } from '../../daemon/network/datagram-socket.ts'

/** Where the sink listens. */
export const SINK_PORT = 9009
/** Bytes of a packet. */
export const SIZE = 1000
/** Sent before there is a channel. */
const WARM_UP = 50

export interface SourceOptions {
  readonly server: string
  readonly sink: string
  readonly username: string
  readonly password: string
}

/** What the source is told: packets a second, 0 for as many as it can, and for how long. */
export interface Order {
  readonly rate: number
  readonly ms: number
}

const tell = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)

function open(port: number, received: (packet: Buffer) => void): DatagramSocket {
  const socket = new DatagramSocket({ udx: new Udx(), locate: () => undefined, received, failed: () => {} })
  socket.open('0.0.0.0', port, false)
  return socket
}

function sink(): void {
  let packets = 0
  open(SINK_PORT, () => packets++)
  createInterface(process.stdin).on('line', () => tell({ packets }))
  tell({ ready: true })
}

async function source({ server, sink: address, username, password }: SourceOptions): Promise<void> {
  const to = { address: server, port: 3478 }
  const peer = { address, port: SINK_PORT }
  const opened = Promise.withResolvers<void>()
  const socket = open(0, (packet) => {
    if ((packet[0] ?? 0) < 0x40) allocation.receive(StunMessage.decode(packet), performance.now())
  })
  let dropped = 0
  const allocation: TurnAllocation = new TurnAllocation(
    { id: 'load', username, password, isStream: false, channels: 'all', random: randomBytes },
    {
      output: (packet) => {
        if (socket.transmit(packet, to, to.address, 4) === 'dropped') dropped++
      },
      data: () => {},
      changed: () => {
        if (allocation.state === 'allocated') opened.resolve()
        if (allocation.state === 'failed') opened.reject(new Error(allocation.failure?.reason))
      },
    },
  )
  setInterval(() => allocation.tick(performance.now()), 100)
  allocation.allocate(performance.now())
  await opened.promise
  const packet = Buffer.alloc(SIZE, 1)
  const pause = (ms: number): Promise<void> => new Promise((resolve) => setTimeout(resolve, ms))
  for (let n = 0; n < WARM_UP; n++) {
    allocation.send(packet, peer, performance.now())
    await pause(2)
  }
  tell({ ready: true })
  for await (const line of createInterface(process.stdin)) {
    const { rate, ms } = JSON.parse(line) as Order
    dropped = 0
    let sent = 0
    const began = performance.now()
    for (let now = began; now < began + ms; now = performance.now()) {
      const due = rate === 0 ? sent + 64 : ((now - began) / 1000) * rate
      for (; sent < due; sent++) allocation.send(packet, peer, now)
      await (rate === 0 ? new Promise(setImmediate) : pause(1))
    }
    tell({ sent: sent - dropped })
  }
}

const [, , role, options] = process.argv
if (role === 'sink') sink()
else if (role === 'source') await source(JSON.parse(options ?? '{}') as SourceOptions)
