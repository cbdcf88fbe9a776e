import { once } from 'node:events'
import { createServer, connect as dial, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Clock, systemClock } from '../../daemon/clock.ts'
import type { Link } from '../../daemon/link/link.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { LinkSession } from '../../daemon/session/link-session.ts'
import type { CloseReason, IncomingMessage, IncomingStream, SessionStream } from '../../daemon/session/session.ts'
import type { PeerId } from '../../daemon/types.ts'

/** Peer ids for tests: they look like real ones. */
const ANNA = 'a'.repeat(52) as PeerId
export const BERT = 'b'.repeat(52) as PeerId

/** Two ends of a TCP connection on loopback; half-close is kept. */
export async function socketPair(): Promise<[Socket, Socket]> {
  const server = createServer({ allowHalfOpen: true })
  server.listen(0, '127.0.0.1')
  await once(server, 'listening')
  const address = server.address()
  const port = typeof address === 'object' && address ? address.port : 0
  const near = dial({ port, host: '127.0.0.1', allowHalfOpen: true, noDelay: true })
  const [far] = (await once(server, 'connection')) as [Socket]
  far.setNoDelay(true)
  if (near.connecting) await once(near, 'connect')
  server.close()
  for (const socket of [near, far]) socket.on('error', () => socket.destroy())
  return [near, far]
}

/** A socket as the link to a peer. */
export function linkOver(socket: Duplex, peer: PeerId, dialled: boolean): Link {
  const address = '127.0.0.1'
  return {
    peer,
    carrier: 'tcp',
    dialled,
    local: { address, port: dialled ? 50_000 : 47_800 },
    remote: { address, port: dialled ? 47_800 : 50_000 },
    cipher: 'TLS_AES_128_GCM_SHA256',
    group: 'X25519',
    socket,
    destroy: () => socket.destroy(),
  }
}

/** Things that come one by one, to those who wait for them. */
export class Arrivals<T> {
  readonly all: T[] = []
  readonly #waiting: ((item: T) => void)[] = []
  #taken = 0

  add(item: T): void {
    this.all.push(item)
    const taker = this.#waiting.shift()
    if (!taker) return
    this.#taken++
    taker(item)
  }

  /** The next one, in order. */
  next(): Promise<T> {
    const there = this.all[this.#taken]
    if (there !== undefined) {
      this.#taken++
      return Promise.resolve(there)
    }
    return new Promise((resolve) => this.#waiting.push(resolve))
  }
}

/** One side of a session between Anna, who dialled, and Bert. */
export class Side {
  readonly session: LinkSession
  readonly socket: Duplex
  readonly refusals = new Refusals()
  readonly messages = new Arrivals<IncomingMessage>()
  readonly streams = new Arrivals<IncomingStream>()
  readonly ends: CloseReason[] = []
  /** Takes a message as it arrives; without one it waits in `messages` and is not answered. */
  answer: (message: IncomingMessage) => void = (message) => message.accept()

  constructor(link: Link, dialStream: (stream: string) => Promise<Link>, clock: Clock) {
    this.socket = link.socket
    this.session = new LinkSession({
      elected: { link, session: 'session-1', name: 'peer', port: 47_800, group: link.group, replaces: undefined },
      clock,
      refusals: this.refusals,
      dialStream,
      onMessage: (message) => {
        this.messages.add(message)
        this.answer(message)
      },
      onStream: (stream) => this.streams.add(stream),
      onEnd: (_, reason) => this.ends.push(reason),
    })
  }
}

/** A session between two hosts in this process. */
export class Pair implements AsyncDisposable {
  readonly anna: Side
  readonly bert: Side
  /** Waits before Bert hears of a stream's link; his patience with slow links is tested by it. */
  delay: () => Promise<void> = () => Promise.resolve()
  readonly #sockets: Socket[]

  private constructor(sockets: [Socket, Socket], clock: Clock) {
    this.#sockets = [...sockets]
    const [near, far] = sockets
    this.anna = new Side(linkOver(near, BERT, true), (stream) => this.#dial(stream), clock)
    this.bert = new Side(linkOver(far, ANNA, false), () => Promise.reject(new Error('Bert cannot dial')), clock)
  }

  static async open(clock: Clock = systemClock): Promise<Pair> {
    return new Pair(await socketPair(), clock)
  }

  /** A stream from one side to the other, both ends of it. */
  async stream(from: 'anna' | 'bert'): Promise<[SessionStream, SessionStream]> {
    const to = from === 'anna' ? this.bert : this.anna
    const opening = this[from].session.openStream('service', 'about it')
    const incoming = await to.streams.next()
    return Promise.all([opening, incoming.accept()])
  }

  async #dial(stream: string): Promise<Link> {
    const [near, far] = await socketPair()
    this.#sockets.push(near, far)
    void this.delay().then(() => {
      if (!this.bert.session.takeStream(stream, linkOver(far, ANNA, false))) far.destroy()
    })
    return linkOver(near, BERT, true)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.anna.session.close(), this.bert.session.close()])
    for (const socket of this.#sockets) socket.destroy()
  }
}

/** Writes everything and tells the stream that this was all. */
export function finish(stream: SessionStream, data: Uint8Array): void {
  stream.socket.write(data)
  stream.endWriting(data.length)
}

/** Reads to the end; true when the stream says that this is the peer's. */
export async function drain(stream: SessionStream): Promise<{ bytes: number; clean: boolean }> {
  let bytes = 0
  stream.socket.on('data', (chunk: Buffer) => {
    bytes += chunk.length
  })
  await Promise.race([once(stream.socket, 'end'), once(stream.socket, 'close')])
  return { bytes, clean: stream.socket.readableEnded && (await stream.endReading(bytes)) }
}
