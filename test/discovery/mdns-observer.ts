/**
 * Another mDNS responder on a host of the lab, without manners: `mdns-observer.ts ADDRESS`. Prints every packet that it hears on the
 * interface of that IPv4 address as a JSON line, and sends the ones it is told to on stdin.
 */
import { createSocket } from 'node:dgram'
import { once } from 'node:events'
import { createInterface } from 'node:readline'
import { decode, encode, type Packet, type TxtData } from 'dns-packet'

/** One record of a packet; strings of TXT as text. */
export interface SeenRecord {
  readonly name: string
  readonly type: string
  readonly ttl: number
  readonly flush: boolean
  readonly data: unknown
}

/** One packet. */
export interface Seen {
  /** Milliseconds since the observer started. */
  readonly at: number
  readonly from: string
  readonly questions: readonly { readonly name: string; readonly type: string }[]
  readonly answers: readonly SeenRecord[]
  readonly additionals: readonly SeenRecord[]
}

const GROUP = '224.0.0.251'
const PORT = 5353
const [address = ''] = process.argv.slice(2)
const socket = createSocket({ type: 'udp4', reuseAddr: true })
socket.bind(PORT, '0.0.0.0')
await once(socket, 'listening')
socket.addMembership(GROUP, address)
socket.setMulticastInterface(address)
socket.setMulticastTTL(255)

const textOf = (data: TxtData): string[] => [data].flat().map(String)
const recordOf = (record: NonNullable<Packet['answers']>[number]): SeenRecord => ({
  name: record.name,
  type: record.type,
  ttl: 'ttl' in record ? (record.ttl ?? 0) : 0,
  flush: 'flush' in record && record.flush === true,
  data: record.type === 'TXT' ? textOf(record.data) : 'data' in record ? record.data : null,
})
socket.on('message', (bytes, from) => {
  const { questions = [], answers = [], additionals = [] } = decode(bytes)
  const seen: Seen = {
    at: performance.now(),
    from: from.address,
    questions: questions.map(({ name, type }) => ({ name, type })),
    answers: answers.map(recordOf),
    additionals: additionals.map(recordOf),
  }
  process.stdout.write(`${JSON.stringify(seen)}\n`)
})
process.stdout.write('{}\n')
for await (const line of createInterface(process.stdin)) socket.send(encode(JSON.parse(line) as Packet), PORT, GROUP)
process.exit(0)
