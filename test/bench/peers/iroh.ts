/**
 * `@number0/iroh`: QUIC, relays off, a stream for each stream. Its binding takes and gives bytes as arrays of numbers; what is written while a write
 * is under way is gathered.
 */
import type { Conversation, Packets, Pipe, Transport } from '../transport.ts'
import { load } from './load.ts'

interface BiStream {
  readonly send: { writeAll(bytes: number[]): Promise<void> }
  readonly recv: { read(limit: number): Promise<number[]> }
}

interface Connection {
  openBi(): Promise<BiStream>
  acceptBi(): Promise<BiStream>
  readDatagram(): Promise<number[]>
  sendDatagramWait(bytes: number[]): Promise<void>
  close(code: bigint, reason: number[]): void
}

interface Endpoint {
  id(): { toString(): string }
  boundSockets(): string[]
  acceptNext(): Promise<{ accept(): Promise<{ connect(): Promise<Connection> }> } | null>
  connect(address: unknown, alpn: number[]): Promise<Connection>
}

interface Builder {
  applyMinimal(): void
  alpns(alpns: number[][]): void
  relayMode(mode: unknown): void
  bindAddr(address: string): void
  bind(): Promise<Endpoint>
}

interface Iroh {
  readonly Endpoint: { builder(): Builder }
  readonly RelayMode: { disabled(): unknown }
  readonly EndpointId: { fromString(text: string): unknown }
  readonly EndpointAddr: new (id: unknown, relay: undefined, addresses: string[]) => unknown
}

const ALPN = Array.from(Buffer.from('partyline-bench'))
const CHUNK = 64 * 1024
const PENDING = 256 * 1024

async function bind(address: string): Promise<{ iroh: Iroh; endpoint: Endpoint }> {
  const { default: iroh } = await load<{ default: Iroh }>('@number0/iroh')
  const builder = iroh.Endpoint.builder()
  builder.applyMinimal()
  builder.alpns([ALPN])
  builder.relayMode(iroh.RelayMode.disabled())
  builder.bindAddr(address)
  return { iroh, endpoint: await builder.bind() }
}

class IrohPipe implements Pipe {
  readonly chunk = CHUNK
  readonly keepsMessages = false
  onData: (chunk: Uint8Array) => void = () => {}
  onDrain: () => void = () => {}
  readonly #stream: BiStream
  #waiting: Uint8Array[] = []
  #bytes = 0
  #writing = false

  constructor(stream: BiStream) {
    this.#stream = stream
  }

  write(chunk: Uint8Array): boolean {
    this.#waiting.push(chunk)
    this.#bytes += chunk.length
    if (!this.#writing) void this.#flush().catch(() => {})
    return this.#bytes < PENDING
  }

  async read(): Promise<void> {
    for (;;) {
      const bytes = await this.#stream.recv.read(CHUNK)
      if (bytes.length === 0) return
      this.onData(Buffer.from(bytes))
    }
  }

  cork(): void {}
  uncork(): void {}

  async #flush(): Promise<void> {
    this.#writing = true
    while (this.#waiting.length > 0) {
      const bytes = Array.from(Buffer.concat(this.#waiting))
      this.#waiting = []
      await this.#stream.send.writeAll(bytes)
      const full = this.#bytes >= PENDING
      this.#bytes -= bytes.length
      if (full && this.#bytes < PENDING) this.onDrain()
    }
    this.#writing = false
  }
}

function packetsOver(connection: Connection): Packets {
  const packets: Packets = {
    onReport: () => {},
    send: (data) => void connection.sendDatagramWait(Array.from(data)).catch(() => {}),
  }
  const read = async (): Promise<void> => {
    for (;;) packets.onReport(Buffer.from(await connection.readDatagram()))
  }
  read().catch(() => {})
  return packets
}

export const iroh: Transport = {
  serve: async (service, { host }) => {
    const { endpoint } = await bind(`${host}:0`)
    const takeStreams = async (connection: Connection): Promise<void> => {
      for (;;) {
        const pipe = new IrohPipe(await connection.acceptBi())
        service.take(pipe)
        pipe.read().catch(() => {})
      }
    }
    const takePackets = async (connection: Connection): Promise<void> => {
      const take = service.packets((report) => void connection.sendDatagramWait(Array.from(report)).catch(() => {}))
      for (;;) take(Buffer.from(await connection.readDatagram()))
    }
    const accept = async (): Promise<void> => {
      for (;;) {
        const incoming = await endpoint.acceptNext()
        if (!incoming) return
        const connection = await (await incoming.accept()).connect()
        takeStreams(connection).catch(() => {})
        takePackets(connection).catch(() => {})
      }
    }
    void accept()
    const address = endpoint.boundSockets().find((socket) => socket.startsWith(host)) ?? ''
    return { host: address, port: 0, detail: endpoint.id().toString() }
  },

  prepare: async ({ host, detail }) => {
    const { iroh, endpoint } = await bind('0.0.0.0:0')
    return async (): Promise<Conversation> => {
      const address = new iroh.EndpointAddr(iroh.EndpointId.fromString(detail), undefined, [host])
      const connection = await endpoint.connect(address, ALPN)
      return {
        pipe: async () => {
          const pipe = new IrohPipe(await connection.openBi())
          pipe.read().catch(() => {})
          return pipe
        },
        packets: () => packetsOver(connection),
        close: async () => connection.close(0n, []),
      }
    }
  },
}
