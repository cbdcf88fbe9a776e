/**
 * `@hyperswarm/secret-stream` over `udx-native`: a Noise stream for each stream. In place of the DHT a datagram each way tells the two
 * ends of a stream each other's id.
 */
import { type DuplexLike, StreamPipe } from '../stream-pipe.ts'
import type { Packets, Transport } from '../transport.ts'
import { load } from './load.ts'

interface UdxSocket {
  bind(port: number, host: string): void
  address(): { port: number }
  on(event: 'message', listener: (data: Uint8Array, from: { host: string; port: number }) => void): unknown
  trySend(data: Uint8Array, port: number, host: string): void
}

interface UdxStream {
  connect(socket: UdxSocket, remoteId: number, port: number, host: string): void
}

interface Udx {
  createSocket(): UdxSocket
  createStream(id: number): UdxStream
}

interface SecretStream extends DuplexLike {
  once(event: 'connect' | 'close', listener: () => void): unknown
  trySend(data: Uint8Array): void
  readonly opened: Promise<boolean>
}

const CHUNK = 64 * 1024

const packages = async () => {
  const { default: Udx } = await load<{ default: new () => Udx }>('udx-native')
  const { default: SecretStream } = await load<{ default: new (initiator: boolean, raw: UdxStream) => SecretStream }>(
    '@hyperswarm/secret-stream',
  )
  return { udx: new Udx(), SecretStream }
}

const options = { chunk: CHUNK, keepsMessages: true }

export const secretStream: Transport = {
  serve: async (service, { host }) => {
    const { udx, SecretStream } = await packages()
    const socket = udx.createSocket()
    socket.bind(0, host)
    let last = 0
    socket.on('message', (hello, from) => {
      const id = ++last
      const raw = udx.createStream(id)
      raw.connect(socket, Buffer.from(hello).readUInt32BE(0), from.port, from.host)
      const stream = new SecretStream(false, raw)
      stream.on(
        'message',
        service.packets((report) => stream.trySend(report)),
      )
      service.take(new StreamPipe(stream, options))
      const answer = Buffer.alloc(8)
      answer.set(hello.subarray(0, 4), 0)
      answer.writeUInt32BE(id, 4)
      socket.trySend(answer, from.port, from.host)
    })
    return { host, port: socket.address().port, detail: '' }
  },

  prepare: async ({ host, port }) => {
    const { udx, SecretStream } = await packages()
    const socket = udx.createSocket()
    socket.bind(0, '0.0.0.0')
    const waiting = new Map<number, (theirs: number) => void>()
    socket.on('message', (answer) => {
      const bytes = Buffer.from(answer)
      waiting.get(bytes.readUInt32BE(0))?.(bytes.readUInt32BE(4))
    })
    let last = 0
    const dial = async (): Promise<SecretStream> => {
      const id = ++last
      const raw = udx.createStream(id)
      const theirs = new Promise<number>((resolve) => waiting.set(id, resolve))
      const hello = Buffer.alloc(4)
      hello.writeUInt32BE(id, 0)
      socket.trySend(hello, port, host)
      raw.connect(socket, await theirs, port, host)
      waiting.delete(id)
      const stream = new SecretStream(true, raw)
      await stream.opened
      return stream
    }
    return async () => {
      const first = await dial()
      const streams = [first]
      let unused: SecretStream | undefined = first
      return {
        pipe: async () => {
          const stream = unused ?? (await dial())
          unused = undefined
          streams.push(stream)
          return new StreamPipe(stream, options)
        },
        packets: () => {
          const packets: Packets = { onReport: () => {}, send: (data) => first.trySend(data) }
          first.on('message', (report) => packets.onReport(report))
          return packets
        },
        close: async () => {
          for (const stream of streams) stream.destroy()
        },
      }
    }
  },
}
