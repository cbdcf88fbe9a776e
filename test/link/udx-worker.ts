// A host of the lab with one link over UDX. Commands come as JSON lines on stdin, what happens goes as JSON lines to stdout.
import { createHash } from 'node:crypto'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import type { UdxCarrier } from '../../daemon/link/udx-carrier.ts'
import type { TransportAddress } from '../../daemon/nat/transport-address.ts'
import type { PeerId } from '../../daemon/types.ts'
import { UdxHost } from './udx-host.ts'

/** What the test tells the worker. */
export type Command =
  | {
      readonly do: 'link'
      readonly id: number
      readonly to: TransportAddress
      readonly role: 'client' | 'server'
      readonly expected: PeerId
      /** To be sent by the client. */
      readonly bytes: number
    }
  | { readonly do: 'move'; readonly to: TransportAddress }

/** What the worker tells the test. */
export type Report =
  | { readonly event: 'hello'; readonly port: number; readonly peer: PeerId }
  | { readonly event: 'linked' }
  /** So much came, or was sent, in all. */
  | { readonly event: 'progress'; readonly bytes: number }
  | { readonly event: 'done'; readonly hash: string }

const STEP = 1024 * 1024
const tell = (report: Report): void => void process.stdout.write(`${JSON.stringify(report)}\n`)
const host = await UdxHost.open()
let carrier: UdxCarrier | undefined

async function run({ id, to, role, expected, bytes }: Extract<Command, { do: 'link' }>): Promise<void> {
  carrier = host.carriers.open(id, to)
  const { socket } = await host.shake(carrier, role, expected)
  tell({ event: 'linked' })
  const hash = createHash('sha256')
  let total = 0
  const count = (chunk: Buffer): void => {
    hash.update(chunk)
    const before = Math.floor(total / STEP)
    total += chunk.length
    if (Math.floor(total / STEP) > before) tell({ event: 'progress', bytes: total })
  }
  if (role === 'server') for await (const chunk of socket) count(chunk as Buffer)
  else {
    const chunk = Buffer.alloc(64 * 1024)
    for (let n = 0; total < bytes; n++) {
      chunk.fill(n & 255)
      count(chunk)
      if (!socket.write(Buffer.from(chunk))) await once(socket, 'drain')
    }
    socket.end()
  }
  tell({ event: 'done', hash: hash.digest('hex') })
}

tell({ event: 'hello', port: host.endpoint.port, peer: host.peer })
for await (const line of createInterface(process.stdin)) {
  const command = JSON.parse(line) as Command
  if (command.do === 'move') carrier?.move(command.to)
  else void run(command)
}
process.exit(0)
