import { once } from 'node:events'
import { createServer, connect as dial, type Socket } from 'node:net'
import type { Duplex } from 'node:stream'
import { type Clock, systemClock } from '../../daemon/clock.ts'
import type { ElectedLink, StreamAgain } from '../../daemon/connect/connector.ts'
import type { Link } from '../../daemon/link/link.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { FrameWriter } from '../../daemon/session/frame.ts'
import { LinkSession } from '../../daemon/session/link-session.ts'
import type { CloseReason, IncomingMessage, IncomingStream, SessionStream } from '../../daemon/session/session.ts'
import type { DialStream } from '../../daemon/session/stream-table.ts'
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
    exportKey: (label, length) => Buffer.alloc(length, label),
    destroy: () => socket.destroy(),
  }
}

/** A link that became a session's, as the election tells it. */
export function electedLink(session: string, link: Link, more: Partial<ElectedLink> = {}): ElectedLink {
  const elected = {
    link,
    session,
    name: 'peer',
    port: 47_800,
    group: link.group,
    instance: 'first',
    isElector: link.dialled,
  }
  return { ...elected, resumedAt: undefined, ...more }
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
  /** The socket of its link. */
  socket: Duplex
  readonly refusals = new Refusals()
  readonly messages = new Arrivals<IncomingMessage>()
  readonly streams = new Arrivals<IncomingStream>()
  readonly ends: CloseReason[] = []
  /** Takes a message as it arrives; without one it waits in `messages` and is not answered. */
  answer: (message: IncomingMessage) => void = (message) => message.accept()
  /** Why it lost its link, each time. Nobody looks for another: by default it is over. */
  readonly losses: string[] = []
  onLost: (reason: string) => void = (reason) => this.session.fail('network.lost', reason)

  constructor(link: Link, dialStream: DialStream, clock: Clock) {
    this.socket = link.socket
    this.session = new LinkSession({
      elected: electedLink('session-1', link),
      clock,
      refusals: this.refusals,
      writer: new FrameWriter(),
      routeOf: () => 'lan',
      datagrams: undefined,
      dialStream: (_, ...stream) => dialStream(...stream),
      onMessage: (message) => {
        this.messages.add(message)
        this.answer(message)
      },
      onStream: (stream) => this.streams.add(stream),
      onStalled: () => {},
      onMoved: () => {},
      onLost: (_, reason) => {
        this.losses.push(reason)
        this.onLost(reason)
      },
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
    this.anna = new Side(linkOver(near, BERT, true), (...stream) => this.#dial(...stream), clock)
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

  /** Links of streams that were dialled, Anna's ends, in order. */
  readonly streamLinks: Socket[] = []

  /** Both get another link: what was under way on the old one is lost. */
  async relink(): Promise<void> {
    const [near, far] = await socketPair()
    this.#sockets.push(near, far)
    const [has, lacks] = [this.anna.session.suspend() ?? 0, this.bert.session.suspend() ?? 0]
    this.anna.socket = near
    this.bert.socket = far
    this.bert.session.attach(electedLink('session-1', linkOver(far, ANNA, false), { resumedAt: has }))
    this.anna.session.attach(electedLink('session-1', linkOver(near, BERT, true), { resumedAt: lacks }))
  }

  async #dial(stream: string, again?: StreamAgain): Promise<{ link: Link; received: number }> {
    const [near, far] = await socketPair()
    this.#sockets.push(near, far)
    this.streamLinks.push(near)
    const answered = Promise.withResolvers<number>()
    const answer = (received: number): void => answered.resolve(received)
    void this.delay().then(() => {
      if (this.bert.session.takeStream(stream, linkOver(far, ANNA, false), again && { ...again, answer })) return
      far.destroy()
      answered.reject(new Error('nobody wants it'))
    })
    return { link: linkOver(near, BERT, true), received: again ? await answered.promise : 0 }
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await Promise.all([this.anna.session.close(), this.bert.session.close()])
    for (const socket of this.#sockets) socket.destroy()
  }
}

/** Writes everything, and that this was all. */
export function finish(stream: SessionStream, data: Buffer): void {
  stream.write(data)
  stream.end()
}

/** Reads to the end; not clean when that never came. */
export async function drain(stream: SessionStream): Promise<{ bytes: number; clean: boolean }> {
  let bytes = 0
  const ended = Promise.withResolvers<boolean>()
  stream.read({
    data: (chunk) => {
      bytes += chunk.length
      return true
    },
    end: () => ended.resolve(true),
    drain: () => {},
  })
  void stream.outcome.then(() => ended.resolve(false))
  const clean = await ended.promise
  return { bytes, clean }
}
