/**
 * The relays of a host of the lab: `worker.ts '{"servers":["turn:…"],"ca":"FILE","echo":true}'`. Commands come as JSON lines on stdin, events
 * go as JSON lines to stdout.
 */
import { randomBytes } from 'node:crypto'
import { lookup } from 'node:dns/promises'
import { readFileSync } from 'node:fs'
import { createInterface } from 'node:readline'
import { systemClock } from '../../../daemon/clock.ts'
import { createLogger } from '../../../daemon/logger.ts'
import { StunMessage } from '../../../daemon/nat/stun/message.ts'
import type { TransportAddress } from '../../../daemon/nat/transport-address.ts'
import { Relays } from '../../../daemon/nat/turn/relays.ts'
import { parseTurnServer } from '../../../daemon/nat/turn/server-uri.ts'
import { UdpEndpoint } from '../../../daemon/network/udp-endpoint.ts'
import { Refusals } from '../../../daemon/refusals.ts'

export interface WorkerOptions {
  readonly servers: readonly string[]
  /** A file of certificates to trust. */
  readonly ca?: string
  /** The address of the name `turn.lab.test`. */
  readonly address?: string
  /** Sends back what comes. */
  readonly echo?: boolean
  readonly port?: number
}

/** What the test tells the worker. */
export type Command =
  | { readonly do: 'want' | 'release' | 'state' | 'changed' | 'close' }
  | { readonly do: 'permit' | 'unpermit'; readonly relay: string; readonly address: string }
  | { readonly do: 'send'; readonly to: TransportAddress; readonly text: string; readonly times?: number }

const options = JSON.parse(process.argv[2] ?? '{}') as WorkerOptions
const tell = (line: object): void => void process.stdout.write(`${JSON.stringify(line)}\n`)
const logger = createLogger('debug', ({ message, facts }) => console.error(message, JSON.stringify(facts)))
const refusals = new Refusals()
const endpoint = new UdpEndpoint({ clock: systemClock, logger, refusals })
await endpoint.bind(options.port ?? 0)
const relays = new Relays({
  clock: systemClock,
  logger,
  endpoint,
  random: randomBytes,
  servers: options.servers.map(parseTurnServer),
  resolve: async (host) =>
    host === 'turn.lab.test' && options.address
      ? [options.address]
      : (await lookup(host, { all: true })).map(({ address }) => address),
  ...(options.ca && { tls: { ca: readFileSync(options.ca, 'utf8') } }),
  onData: (packet, from) => {
    tell({ event: 'data', text: packet.toString('utf8', 0, 40), size: packet.length, from })
    if (options.echo) relays.send(packet, from)
  },
})
relays.onChange(() => tell({ event: 'candidates', candidates: relays.candidates() }))
endpoint.handle('stun', (packet, from) => {
  try {
    relays.receiveStun(StunMessage.decode(packet), packet, from)
  } catch (error) {
    tell({ event: 'malformed', error: String(error) })
  }
})
endpoint.handle('channel-data', (packet, from) => void relays.receiveChannelData(packet, from))
tell({ event: 'hello', port: endpoint.port })

let release = (): void => {}
for await (const line of createInterface(process.stdin)) {
  const command = JSON.parse(line) as Command
  if (command.do === 'want') release = relays.want()
  else if (command.do === 'release') release()
  else if (command.do === 'state') tell({ event: 'state', servers: relays.state() })
  else if (command.do === 'changed') relays.networkChanged()
  else if (command.do === 'permit')
    tell({ event: 'permitted', permitted: relays.permit(command.relay, command.address) })
  else if (command.do === 'unpermit') relays.unpermit(command.relay, command.address)
  else if (command.do === 'send')
    for (let n = 0; n < (command.times ?? 1); n++) relays.send(Buffer.from(command.text), command.to)
  else break
}
const started = performance.now()
await relays.close()
await endpoint.close()
tell({ event: 'closed', took: performance.now() - started })
process.exit(0)
