// A UDP endpoint on a host of the lab. Commands come as JSON lines on stdin, what happens goes as JSON lines to stdout.
import { createInterface } from 'node:readline'
import { systemClock } from '../../daemon/clock.ts'
import { silentLogger } from '../../daemon/logger.ts'
import type { NetworkInterface } from '../../daemon/network/network.ts'
import { SystemNetwork } from '../../daemon/network/system-network.ts'
import { UdpEndpoint } from '../../daemon/network/udp-endpoint.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { HostPort } from '../../daemon/types.ts'

/** What the test tells the worker. */
export type Command =
  /** Sends datagrams of `size` bytes to each of the addresses in turn, `count` times, until one is dropped. */
  | { readonly do: 'send'; readonly to: readonly HostPort[]; readonly size: number; readonly count: number }
  | { readonly do: 'announce'; readonly to: HostPort }

/** What the worker tells the test. */
export type Report =
  | {
      readonly event: 'hello'
      readonly port: number
      readonly interfaces: readonly NetworkInterface[]
    }
  | { readonly event: 'sent'; readonly results: Readonly<Record<string, number>> }
  | { readonly event: 'announced'; readonly error: string }
  | { readonly event: 'received'; readonly size: number; readonly from: HostPort }
  | { readonly event: 'error'; readonly to: HostPort; readonly code: string }

const PORT = 47800
const tell = (report: Report): void => void process.stdout.write(`${JSON.stringify(report)}\n`)
const common = { clock: systemClock, logger: silentLogger, refusals: new Refusals() }
const network = new SystemNetwork({ ...common, include: [], exclude: [], readFacts: async () => [] })
const endpoint = new UdpEndpoint(common)
endpoint.handle('sealed', (packet, from) => tell({ event: 'received', size: packet.length, from }))
endpoint.onSendError((to, code) => tell({ event: 'error', to, code }))

await network.start()
await endpoint.bind(PORT)
endpoint.setInterfaces(network.interfaces())
network.onChange(({ interfaces }) => endpoint.setInterfaces(interfaces))
tell({ event: 'hello', port: endpoint.port, interfaces: network.interfaces() })

for await (const line of createInterface(process.stdin)) {
  const command = JSON.parse(line) as Command
  if (command.do === 'announce') {
    const error = await endpoint.announce(Buffer.alloc(10, 0xd0), command.to).then(
      () => '',
      ({ code }) => String(code),
    )
    tell({ event: 'announced', error })
  } else {
    const results = { sent: 0, queued: 0, dropped: 0 }
    for (let i = 0; i < command.count && results.dropped === 0; i++)
      for (const to of command.to) results[endpoint.send(Buffer.alloc(command.size, 0xd0), to)]++
    tell({ event: 'sent', results })
  }
}
process.exit(0)
