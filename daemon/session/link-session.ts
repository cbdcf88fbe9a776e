import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../clock.ts'
import type { ElectedLink } from '../connect/connector.ts'
import { isErrorCode, PartylineError } from '../errors.ts'
import { isOwnAddress } from '../network/addresses.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { Refusals } from '../refusals.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import { SessionCore } from './core.ts'
import {
  type CloseReason,
  type IncomingMessage,
  type IncomingStream,
  MAX_LANE,
  MAX_MESSAGE,
  MAX_NAME,
  MAX_STREAM_META,
  type Session,
  type SessionFacts,
  type SessionStream,
} from './session.ts'
import { type DialStream, StreamTable } from './stream-table.ts'

/** Output gathered for one write, and output in the socket above which nothing more is gathered, in bytes. */
const BATCH = 64 * 1024
const HIGH_WATER = 256 * 1024
/** An unreliable message is dropped rather than queued behind this much. */
const UNRELIABLE_LIMIT = HIGH_WATER
/** How long a goodbye may take. */
const FAREWELL: Milliseconds = 1000

interface LinkSessionOptions {
  readonly elected: ElectedLink
  readonly clock: Clock
  readonly refusals: Refusals
  readonly dialStream: DialStream
  readonly onMessage: (message: IncomingMessage) => void
  readonly onStream: (stream: IncomingStream) => void
  /** Called once, in the moment it ends: before anything that comes after it. */
  readonly onEnd: (session: LinkSession, reason: CloseReason) => void
}

/** A session on its link: moves bytes between the core and the socket, and streams to links of their own. */
export class LinkSession implements Session {
  readonly peer: PeerId
  readonly closed: Promise<CloseReason>
  readonly #options: LinkSessionOptions
  readonly #core: SessionCore
  readonly #streams: StreamTable
  readonly #socket: Duplex
  readonly #began: Milliseconds
  readonly #resolveClosed: (reason: CloseReason) => void
  #timer: Timer | undefined
  #flushing = false
  /** Resolves when the goodbye has left, or cannot. */
  readonly #gone = Promise.withResolvers<void>()
  #lastUse: Milliseconds

  constructor(options: LinkSessionOptions) {
    const { elected, clock } = options
    this.#options = options
    this.peer = elected.link.peer
    this.#socket = elected.link.socket
    this.#began = clock.now()
    this.#lastUse = this.#began
    const { promise, resolve } = Promise.withResolvers<CloseReason>()
    this.closed = promise
    this.#resolveClosed = resolve
    this.#streams = new StreamTable({
      session: elected.session,
      peer: this.peer,
      dialled: elected.link.dialled,
      clock,
      dialStream: options.dialStream,
      control: (control) => this.#core.control(control),
      onStream: options.onStream,
    })
    this.#core = new SessionCore(
      {
        message: (message) => {
          this.#lastUse = clock.now()
          const { channel, data, reliable, lane, number } = message
          options.onMessage({
            peer: this.peer,
            channel,
            data,
            reliable,
            lane,
            number,
            accept: () => this.#core.settle(message),
            refuse: (code) => this.#core.settle(message, code),
          })
        },
        control: (control) => {
          this.#lastUse = clock.now()
          this.#streams.take(control)
        },
        closed: (reason) => this.#ended(reason),
        wake: () => this.#flushSoon(),
      },
      this.#began,
    )
    this.#socket.on('data', (chunk: Buffer) => this.#core.receive(chunk, clock.now()))
    this.#socket.on('drain', () => this.#flushSoon())
    const lost = (): void => this.#core.close({ code: 'network.lost', message: 'the link was lost', by: 'network' })
    this.#socket.on('end', lost)
    this.#socket.on('close', lost)
    this.#socket.on('error', lost)
    this.#socket.resume()
    this.#schedule()
  }

  get facts(): SessionFacts {
    const { link, session, group } = this.#options.elected
    return {
      id: session,
      peer: this.peer,
      route: 'lan',
      carrier: link.carrier,
      cipher: link.cipher,
      group,
      local: link.local,
      remote: link.remote,
      dialled: link.dialled,
      rtt: this.#core.rtt,
      age: this.#options.clock.now() - this.#began,
      streams: this.#streams.size,
      unacknowledged: this.#core.unacknowledged,
    }
  }

  /** Time since a message or a stream last went either way; 0 while a stream is open or a message waits for its word. */
  get idle(): Milliseconds {
    return this.#streams.size > 0 || this.#core.busy ? 0 : this.#options.clock.now() - this.#lastUse
  }

  async send(channel: string, data: Uint8Array, { reliable = true, lane = 0 } = {}): Promise<void> {
    if (data.length > MAX_MESSAGE)
      throw new PartylineError('usage.too-large', `a message of ${data.length} bytes; the limit is ${MAX_MESSAGE}`)
    if (channel === '' || Buffer.byteLength(channel) > MAX_NAME)
      throw new PartylineError('usage.invalid-argument', `a channel's name has 1 to ${MAX_NAME} bytes`)
    if (!Number.isInteger(lane) || lane < 0 || lane > MAX_LANE)
      throw new PartylineError('usage.invalid-argument', `a lane is a number from 0 to ${MAX_LANE}`)
    this.#lastUse = this.#options.clock.now()
    if (!reliable && this.#socket.writableLength > UNRELIABLE_LIMIT) return
    return new Promise((resolve, reject) => {
      this.#core.send({ channel, data, lane, reliable, done: (error) => (error ? reject(error) : resolve()) })
    })
  }

  openStream(service: string, meta = ''): Promise<SessionStream> {
    if (this.#core.closed) return Promise.reject(new PartylineError('network.lost'))
    if (service === '' || Buffer.byteLength(service) > MAX_NAME || Buffer.byteLength(meta) > MAX_STREAM_META)
      return Promise.reject(
        new PartylineError(
          'usage.invalid-argument',
          `a service has 1 to ${MAX_NAME} bytes, what is said of a stream ${MAX_STREAM_META}`,
        ),
      )
    this.#lastUse = this.#options.clock.now()
    return this.#streams.open(service, meta)
  }

  ping(): Promise<Milliseconds> {
    return new Promise((resolve, reject) => {
      const isSent = this.#core.ping(this.#options.clock.now(), (rtt) => {
        if (rtt !== undefined) resolve(rtt)
        else reject(new PartylineError(this.#core.closed ? 'network.lost' : 'network.timeout'))
      })
      if (!isSent) reject(new PartylineError(this.#core.closed ? 'network.lost' : 'local.limit'))
    })
  }

  async close(reason: { code: CloseReason['code']; message: string } = { code: 'done', message: '' }): Promise<void> {
    this.#core.close({ ...reason, by: 'local' })
    await this.#gone.promise
  }

  /** A link that carries a stream of this session has come in; false when nobody waits for it. */
  takeStream(stream: string, link: ElectedLink['link']): boolean {
    return this.#streams.takeLink(stream, link)
  }

  /** Ends at once when the address it runs on is no longer this machine's. */
  networkChanged(interfaces: readonly NetworkInterface[]): void {
    if (isOwnAddress(this.#options.elected.link.local.address, interfaces)) return
    this.#core.close({ code: 'network.lost', message: 'the network it ran on is gone', by: 'network' })
  }

  #flushSoon(): void {
    if (this.#flushing) return
    this.#flushing = true
    // Everything asked for in this turn of the event loop leaves in one write.
    setImmediate(() => {
      this.#flushing = false
      this.#flush()
    })
  }

  #flush(): void {
    while (this.#core.hasOutput && this.#socket.writable && this.#socket.writableLength < HIGH_WATER)
      this.#socket.write(this.#core.takeOutput(BATCH))
  }

  #schedule(): void {
    const { clock } = this.#options
    this.#timer = clock.after(Math.max(10, this.#core.deadline - clock.now()), () => {
      this.#core.tick(clock.now())
      if (!this.#core.closed) this.#schedule()
    })
  }

  #ended(reason: CloseReason): void {
    const { clock, refusals, elected, onEnd } = this.#options
    this.#timer?.cancel()
    if (reason.by === 'local' && isErrorCode(reason.code) && reason.code.startsWith('peer.'))
      refusals.count(reason.code)
    this.#streams.end(reason.by === 'network' ? 'network.lost' : 'peer.reset')
    // However much waits in the socket: there is only control left, and the goodbye is its end.
    if (this.#core.hasOutput && this.#socket.writable) this.#socket.write(this.#core.takeOutput(BATCH))
    const farewell = clock.after(reason.by === 'network' ? 0 : FAREWELL, () => elected.link.destroy())
    this.#socket.once('close', () => {
      farewell.cancel()
      this.#gone.resolve()
    })
    this.#socket.end(() => this.#gone.resolve())
    if (this.#socket.destroyed) this.#gone.resolve()
    onEnd(this, reason)
    this.#resolveClosed(reason)
  }
}
