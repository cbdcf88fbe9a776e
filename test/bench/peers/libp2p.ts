/** `libp2p` over TCP with Noise and Yamux: a Yamux stream for each stream. It has no unreliable packets. */
import type { Conversation, Pipe, Transport } from '../transport.ts'
import { load } from './load.ts'

interface LibStream {
  send(data: Uint8Array): boolean
  addEventListener(event: 'message', listener: (event: { data: Uint8Array | Iterable<Uint8Array> }) => void): void
  addEventListener(event: 'drain', listener: () => void): void
}

interface Connection {
  newStream(protocol: string): Promise<LibStream>
  close(): Promise<void>
}

interface Node {
  readonly peerId: { toString(): string }
  handle(protocol: string, handler: (stream: LibStream) => void, options: object): Promise<void>
  getMultiaddrs(): { toString(): string }[]
  dial(address: unknown, options: object): Promise<Connection>
}

const PROTOCOL = '/partyline-bench/1'
const CHUNK = 64 * 1024
const MANY = 10_000

type Part = (options?: object) => unknown

async function node(listen: string[]): Promise<Node> {
  const { createLibp2p } = await load<{ createLibp2p: (options: object) => Promise<Node> }>('libp2p')
  const { tcp } = await load<{ tcp: Part }>('@libp2p/tcp')
  const { noise } = await load<{ noise: Part }>('@libp2p/noise')
  const { yamux } = await load<{ yamux: Part }>('@libp2p/yamux')
  return createLibp2p({
    addresses: { listen },
    transports: [tcp({ backlog: 1024 })],
    connectionEncrypters: [noise()],
    streamMuxers: [yamux()],
    connectionManager: { maxConnections: MANY, inboundConnectionThreshold: MANY, maxIncomingPendingConnections: MANY },
  })
}

function pipeOver(stream: LibStream): Pipe {
  const pipe: Pipe = {
    chunk: CHUNK,
    keepsMessages: false,
    onData: () => {},
    onDrain: () => {},
    write: (chunk) => stream.send(chunk),
    cork: () => {},
    uncork: () => {},
  }
  stream.addEventListener('message', ({ data }) => {
    if (data instanceof Uint8Array) pipe.onData(data)
    else for (const chunk of data) pipe.onData(chunk)
  })
  stream.addEventListener('drain', () => pipe.onDrain())
  return pipe
}

export const libp2p: Transport = {
  serve: async (service, { host }) => {
    const served = await node([`/ip4/${host}/tcp/0`])
    const limits = { maxInboundStreams: MANY, maxOutboundStreams: MANY }
    await served.handle(PROTOCOL, (stream) => service.take(pipeOver(stream)), limits)
    return { host, port: 0, detail: String(served.getMultiaddrs()[0]) }
  },

  prepare: async ({ detail }) => {
    const { multiaddr } = await load<{ multiaddr: (text: string) => unknown }>('@multiformats/multiaddr')
    const dialler = await node([])
    const target = multiaddr(detail)
    return async (): Promise<Conversation> => {
      const connection = await dialler.dial(target, { force: true })
      return {
        pipe: async () => pipeOver(await connection.newStream(PROTOCOL)),
        close: () => connection.close(),
      }
    }
  },
}
