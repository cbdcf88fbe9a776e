import { Duplex } from 'node:stream'
import { systemClock } from '../../daemon/clock.ts'
import { PartylineError } from '../../daemon/errors.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { FileService } from '../../daemon/services/files.ts'
import type { SessionStream } from '../../daemon/session/session.ts'
import type { PeerId } from '../../daemon/types.ts'
import type { Caller, PlainMethod } from '../../ipc/api.ts'
import type { TransferClient, TransferTiming } from '../../ipc/files/transfer-client.ts'
import type { Params, Result } from '../../ipc/methods.ts'

/** Quick to notice, quick to try again. */
export const QUICK: TransferTiming = { patience: 5000, firstPause: 5, longestPause: 20, stall: 1000, poll: 20 }

/** The parameters of all methods used here together. */
interface AnyParams {
  readonly offer: string
  readonly peer: string
  readonly ok: boolean
  readonly name: string
  readonly files: number
  readonly bytes: number
}

interface Acceptor {
  take(stream: SessionStream, meta: string): void
}

/** One end of a stream: half-close is kept, and an end that is destroyed destroys the other. */
class Pipe extends Duplex {
  other: Pipe | undefined
  #pull: (() => void) | undefined

  override _read(): void {
    const pull = this.#pull
    this.#pull = undefined
    pull?.()
  }

  override _write(chunk: Buffer, _encoding: BufferEncoding, done: (error?: Error | null) => void): void {
    const { other } = this
    if (!other || other.destroyed) return done(new PartylineError('peer.reset'))
    if (other.push(Buffer.from(chunk))) done()
    else other.#pull = done
  }

  override _final(done: (error?: Error | null) => void): void {
    this.other?.push(null)
    done()
  }

  override _destroy(error: Error | null, done: (error?: Error | null) => void): void {
    const { other } = this
    const pull = this.#pull
    this.#pull = undefined
    pull?.()
    if (other && !other.destroyed && !(this.writableFinished && this.readableEnded))
      setImmediate(() => other.destroy(new PartylineError('peer.reset')))
    done(error)
  }
}

function pipes(): [Pipe, Pipe] {
  const a = new Pipe({ readableHighWaterMark: 256 * 1024 })
  const b = new Pipe({ readableHighWaterMark: 256 * 1024 })
  a.other = b
  b.other = a
  for (const pipe of [a, b]) pipe.on('error', () => {})
  return [a, b]
}

/** A daemon as far as files go, with whatever apps connect to it; it can be killed and started again. */
export class FakeHost {
  readonly id: PeerId
  readonly #lan: FakeLan
  service: FileService
  handler: ((peer: PeerId, data: Uint8Array) => void) | undefined
  readonly acceptors = new Map<string, Acceptor[]>()
  readonly backlog = new Map<string, { stream: SessionStream; meta: string }[]>()
  running = true
  trusted = new Set<string>()
  refusals = new Refusals()
  #life = new AbortController()
  readonly #listeners = new Set<() => void>()

  constructor(lan: FakeLan, id: string) {
    this.#lan = lan
    this.id = id.padEnd(52, 'a') as PeerId
    this.service = this.#boot()
  }

  #boot(): FileService {
    this.refusals = new Refusals()
    return new FileService({
      clock: systemClock,
      logger: silentLogger,
      refusals: this.refusals,
      publish: () => this.tell(),
      isBlocked: () => false,
      messages: {
        send: async (peer, _channel, data) => this.#lan.message(this, peer, data),
        handle: (_channel, handler) => {
          this.handler = handler
        },
      },
      streams: {
        open: async (peer, service, _user, meta) => this.#lan.stream(this, peer, service, meta),
        accept: (service, _user, signal) => this.#accept(service, signal),
      },
    })
  }

  tell(): void {
    for (const listener of this.#listeners) listener()
  }

  kill(): void {
    this.running = false
    this.service.close()
    this.acceptors.clear()
    this.backlog.clear()
    this.#life.abort()
    this.#lan.cut()
  }

  start(): void {
    this.#life = new AbortController()
    this.service = this.#boot()
    this.running = true
    this.#lan.seen()
    this.tell()
  }

  /** A connection of an app; like the SDK's it lives on when the daemon is started again. */
  client(): TransferClient {
    const require = (): void => {
      if (!this.running) throw new PartylineError('local.no-daemon')
    }
    let last: Caller | undefined
    const callerNow = (): Caller => {
      const caller: Caller =
        last && !last.signal.aborted
          ? last
          : {
              id: ++callers,
              app: 'test',
              owner: false,
              user: 'self',
              signal: this.#life.signal,
              deliver: async () => {},
              request: () => {},
              hold: () => {},
            }
      last = caller
      return caller
    }
    const call = async (method: string, params: AnyParams): Promise<unknown> => {
      require()
      const { offer, ok, peer, ...content } = params
      const { service } = this
      if (method === 'files.offer') return service.offer(peer as PeerId, { offer, ...content }, callerNow())
      if (method === 'files.list') return service.list(callerNow())
      if (method === 'files.accept') return service.accept(offer, callerNow())
      if (method === 'files.refuse') return service.refuse(offer, callerNow()).then(() => ({}))
      if (method === 'files.withdraw') return service.withdraw(offer, callerNow()).then(() => ({}))
      if (method === 'files.finish') return service.finish(offer, ok, callerNow()).then(() => ({}))
      if (method === 'peers.get') return { trust: this.trusted.has(peer) ? 'trusted' : 'unknown' }
      throw new PartylineError('usage.unknown-method', method)
    }
    return {
      call: <M extends PlainMethod>(method: M, params: Params<M>) =>
        call(method, params as unknown as AnyParams) as Promise<Result<M>>,
      events: async () => {
        require()
        let wake = (): void => {}
        let done = false
        const listener = (): void => wake()
        this.#listeners.add(listener)
        const iterator: AsyncIterableIterator<unknown> = {
          [Symbol.asyncIterator]: () => iterator,
          next: () =>
            new Promise((resolve) => {
              wake = () => resolve(done ? { value: undefined, done } : { value: 'news', done: false })
            }),
          return: async () => {
            done = true
            this.#listeners.delete(listener)
            wake()
            return { value: undefined, done: true }
          },
        }
        return iterator
      },
      fetchOffer: async (offer, meta) => {
        require()
        return { socket: socketOf(await this.service.fetch(offer, meta, callerNow())), meta }
      },
      serveOffer: async (offer, signal) => {
        require()
        const either = signal ? AbortSignal.any([signal, this.#life.signal]) : this.#life.signal
        const { stream, meta } = await this.service.serve(offer, { ...callerNow(), signal: either })
        return { socket: socketOf(stream), meta }
      },
    }
  }

  #accept(service: string, signal: AbortSignal): Promise<{ stream: SessionStream; meta: string }> {
    return new Promise((resolve, reject) => {
      const waiting = this.backlog.get(service)?.shift()
      if (waiting) return resolve(waiting)
      const acceptor = { take: (stream: SessionStream, meta: string) => resolve({ stream, meta }) }
      const acceptors = this.acceptors.get(service) ?? []
      this.acceptors.set(service, acceptors)
      acceptors.push(acceptor)
      signal.addEventListener('abort', () => {
        const index = acceptors.indexOf(acceptor)
        if (index >= 0) acceptors.splice(index, 1)
        reject(new PartylineError('local.closed'))
      })
    })
  }
}

let callers = 0
let streams = 0

/** Two hosts and the cable between them. */
export class FakeLan {
  readonly a = new FakeHost(this, 'a')
  readonly b = new FakeHost(this, 'b')
  plugged = true
  #session = false
  readonly #streams = new Set<Pipe>()
  /** Called with every stream before it is handed over. */
  onStream: (socket: Duplex, meta: string) => void = () => {}

  /** What breaks everything that is under way. */
  cut(): void {
    for (const pipe of this.#streams) pipe.destroy(new PartylineError('peer.reset'))
    this.#streams.clear()
    if (!this.#session) return
    this.#session = false
    for (const host of [this.a, this.b]) {
      if (host.running) host.service.sessionClosed(this.#other(host).id)
      host.tell()
    }
  }

  unplug(): void {
    this.plugged = false
    this.cut()
  }

  plug(): void {
    this.plugged = true
    this.seen()
  }

  seen(): void {
    if (!this.a.running || !this.b.running || !this.plugged) return
    for (const host of [this.a, this.b]) {
      host.service.peerSeen(this.#other(host).id)
      host.tell()
    }
  }

  close(): void {
    this.cut()
    for (const host of [this.a, this.b]) host.service.close()
  }

  message(from: FakeHost, peer: PeerId, data: Uint8Array): void {
    const to = this.#reach(from, peer)
    to.handler?.(from.id, data)
  }

  stream(from: FakeHost, peer: PeerId, service: string, meta: string): SessionStream {
    const to = this.#reach(from, peer)
    if (!to.service.admits(from.id, service)) throw new PartylineError('peer.no-service')
    const [near, far] = pipes()
    for (const pipe of [near, far]) {
      this.#streams.add(pipe)
      pipe.once('close', () => this.#streams.delete(pipe))
    }
    this.onStream(near, meta)
    const streamOf = (socket: Duplex, other: FakeHost): SessionStream =>
      ({ id: `s${++streams}`, peer: other.id, service, socket }) as unknown as SessionStream
    const acceptor = to.acceptors.get(service)?.shift()
    if (acceptor) acceptor.take(streamOf(far, from), meta)
    else {
      const waiting = to.backlog.get(service) ?? []
      to.backlog.set(service, waiting)
      waiting.push({ stream: streamOf(far, from), meta })
    }
    return streamOf(near, to)
  }

  #reach(from: FakeHost, peer: PeerId): FakeHost {
    const to = this.#other(from)
    if (!this.plugged || !to.running || !from.running || to.id !== peer) throw new PartylineError('network.unreachable')
    if (!this.#session) {
      this.#session = true
      for (const host of [this.a, this.b]) host.service.sessionOpened(this.#other(host).id)
    }
    return to
  }

  #other(host: FakeHost): FakeHost {
    return host === this.a ? this.b : this.a
  }
}

/** The end of a fake stream that an app holds. */
function socketOf(stream: SessionStream): Duplex {
  return (stream as unknown as { readonly socket: Duplex }).socket
}
