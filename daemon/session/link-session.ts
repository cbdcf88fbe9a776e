import type { Duplex } from 'node:stream'
import type { Clock, Timer } from '../clock.ts'
import type { AnsweredStreamAgain, ElectedLink } from '../connect/connector.ts'
import { rankOf } from '../connect/route.ts'
import type { DatagramPort } from '../datagram/datagram-port.ts'
import { type ErrorCode, isErrorCode, PartylineError, toPartylineError } from '../errors.ts'
import type { Link, PathChange } from '../link/link.ts'
import { isOwnAddress } from '../network/addresses.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { Refusals } from '../refusals.ts'
import type { Carrier, Milliseconds, PeerId, Route } from '../types.ts'
import { SessionCore } from './core.ts'
import { decodeDatagram, encodeDatagram } from './datagram-message.ts'
import { FakeLines } from './fake-lines.ts'
import type { FakeNetworkSettings } from './fake-network.ts'
import type { Control, FrameWriter } from './frame.ts'
import type { Arrived } from './inbox.ts'
import { SessionMeter } from './meter.ts'
import { DROPPED, UNRELIABLE_PATIENCE } from './outbox.ts'
import {
  type CloseReason,
  type IncomingMessage,
  type IncomingStream,
  type LaneConfig,
  MAX_LANE,
  MAX_MESSAGE,
  MAX_NAME,
  MAX_STREAM_META,
  NOW_OR_NEVER,
  type SendOptions,
  type Sent,
  type Session,
  type SessionFacts,
  type SessionState,
  type SessionStream,
} from './session.ts'
import { SessionDatagrams } from './session-datagrams.ts'
import type { SessionStatistics } from './statistics.ts'
import { type DialStream, StreamTable } from './stream-table.ts'

/** Output gathered for one write, and output in the socket above which nothing more is gathered, in bytes. */
const BATCH = 64 * 1024
const HIGH_WATER = 256 * 1024
/** How long a goodbye may take. */
const FAREWELL: Milliseconds = 1000

/** How a session travelled and travels; null: not at all. */
export interface RouteChange {
  readonly from: Route | null
  readonly to: Route | null
  readonly reason: string
}

interface LinkSessionOptions {
  readonly elected: ElectedLink
  readonly clock: Clock
  readonly refusals: Refusals
  readonly writer: FrameWriter
  /** Undefined: no datagrams. */
  readonly datagrams: DatagramPort | undefined
  /** Dials a link for a stream to where `link` goes; one that is dialled beside it is announced to the peer first. */
  readonly dialStream: (
    session: { readonly link: Link; readonly announce: (carrierStream: number) => void },
    ...stream: Parameters<DialStream>
  ) => ReturnType<DialStream>
  readonly onMessage: (message: IncomingMessage) => void
  readonly onStream: (stream: IncomingStream) => void
  readonly routeOf: (link: Link) => Route
  /** The link was lost; another is wanted. */
  readonly onLost: (session: LinkSession, reason: string) => void
  /** The link goes on, on another path. */
  readonly onMoved: (session: LinkSession, change: RouteChange) => void
  /** The peer's traffic stops and bursts in a pattern. */
  readonly onStalled: (session: LinkSession) => void
  /** Called once, in the moment it ends: before anything that comes after it. */
  readonly onEnd: (session: LinkSession, reason: CloseReason) => void
}

/** A session on its links, one after the other: moves bytes between the core and the socket, and streams to links of their own. */
export class LinkSession implements Session {
  readonly id: string
  readonly peer: PeerId
  /** The instance of the peer's daemon that it was begun with. */
  readonly instance: string
  readonly closed: Promise<CloseReason>
  readonly #options: LinkSessionOptions
  readonly #core: SessionCore
  readonly #streams: StreamTable
  readonly #datagrams: SessionDatagrams | undefined
  readonly #began: Milliseconds
  readonly #resolveClosed: (reason: CloseReason) => void
  /** How long small messages of an app wait for others. */
  readonly #gather = new Map<number, Milliseconds>()
  readonly #meter = new SessionMeter()
  readonly #fake: FakeLines
  /** The link is not read while its line is full. */
  #isHeld = false
  #elected: ElectedLink
  #routeNow: Route
  /** The route of the link that was given up for another, until that one is there. */
  #leaving: Route | null = null
  #leavingCarrier: Carrier = 'tcp'
  #forgetPath: (() => void) | undefined
  /** The link's socket; undefined while there is none. */
  #socket: Duplex | undefined
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #flushing = false
  /** Resolves when the goodbye has left, or cannot. */
  readonly #gone = Promise.withResolvers<void>()
  #lastUse: Milliseconds

  constructor(options: LinkSessionOptions) {
    const { elected, clock } = options
    this.#options = options
    this.#elected = elected
    this.#routeNow = options.routeOf(elected.link)
    this.id = elected.session
    this.peer = elected.link.peer
    this.instance = elected.instance
    this.#began = clock.now()
    this.#lastUse = this.#began
    const { promise, resolve } = Promise.withResolvers<CloseReason>()
    this.closed = promise
    this.#resolveClosed = resolve
    this.#fake = new FakeLines({
      clock,
      random: Math.random,
      onRoom: () => {
        if (this.#isHeld && !this.#fake.isFull('in')) this.#socket?.resume()
        this.#isHeld = this.#isHeld && this.#fake.isFull('in')
        this.#flushSoon()
      },
    })
    this.#streams = new StreamTable({
      session: elected.session,
      peer: this.peer,
      isElector: elected.isElector,
      dials: elected.link.dialled,
      clock,
      dialStream: (stream, again) =>
        options.dialStream(
          { link: this.#elected.link, announce: (id) => this.#core.control({ kind: 'link', stream: id }) },
          stream,
          again,
        ),
      control: (control) => this.#core.control(control),
      onStream: options.onStream,
    })
    this.#core = new SessionCore(
      {
        message: (message) => this.#arrived(message),
        control: (control) => this.#takeControl(control),
        roundTrip: (sample) => this.#meter.roundTrip(sample),
        silent: () => this.#lose('nobody answered on its link'),
        closed: (reason) => this.#ended(reason),
        wake: () => this.#flushSoon(),
      },
      this.#began,
      options.writer,
    )
    const { datagrams: port, refusals } = options
    this.#datagrams =
      port &&
      new SessionDatagrams({
        clock,
        port,
        refusals,
        control: (control) => this.#core.control(control),
        onMessage: (message) => this.#datagramArrived(message),
        fake: this.#fake,
      })
    this.#use(elected.link)
    this.#route({ from: null, to: this.#routeNow, reason: 'opened' })
  }

  get state(): SessionState {
    return this.#socket ? 'open' : 'resuming'
  }

  /** True once anything of the peer has arrived. */
  get heard(): boolean {
    return this.#core.received > 0
  }

  get facts(): SessionFacts {
    const { link, group } = this.#elected
    return {
      id: this.id,
      peer: this.peer,
      route: this.#routeNow,
      carrier: link.carrier,
      cipher: link.cipher,
      group,
      local: link.local,
      remote: link.remote,
      ...(link.path && { path: link.path }),
      state: this.state,
      datagrams: this.#datagrams?.state ?? 'none',
      fake: this.#fake.settings !== undefined,
      dialled: link.dialled,
      rtt: this.#meter.smoothed,
      age: this.#options.clock.now() - this.#began,
      streams: this.#streams.size,
      unacknowledged: this.#core.unacknowledged,
    }
  }

  /** Time since a message or a stream last went either way; 0 while a stream is open or a message waits for its word. */
  get idle(): Milliseconds {
    return this.#streams.size > 0 || this.#core.busy ? 0 : this.#options.clock.now() - this.#lastUse
  }

  async send(channel: string, data: Uint8Array, options: SendOptions = {}): Promise<Sent> {
    const { reliable = true, lane = 0, app = 0, now = false, nodelay = false } = options
    if (data.length > MAX_MESSAGE)
      throw new PartylineError('usage.too-large', `a message of ${data.length} bytes; the limit is ${MAX_MESSAGE}`)
    if (channel === '' || Buffer.byteLength(channel) > MAX_NAME)
      throw new PartylineError('usage.invalid-argument', `a channel's name has 1 to ${MAX_NAME} bytes`)
    if (!Number.isInteger(lane) || lane < 0 || lane > MAX_LANE)
      throw new PartylineError('usage.invalid-argument', `a lane is a number from 0 to ${MAX_LANE}`)
    const at = this.#options.clock.now()
    this.#lastUse = at
    if (!reliable) {
      const sent = this.#sendDatagram(app, lane, channel, data, now ? NOW_OR_NEVER : UNRELIABLE_PATIENCE)
      if (sent) return sent
      if (this.#isCongested) return this.#notSent()
    }
    this.#meter.messageOut(data.length, at)
    return new Promise((resolve, reject) => {
      const gather = nodelay || now ? 0 : (this.#gather.get(app) ?? 0)
      const number = this.#core.send(
        {
          app,
          lane,
          channel,
          data,
          reliable,
          ...(now && { patience: NOW_OR_NEVER }),
          done: (error) => {
            if (!error) resolve({ sent: true, number, via: 'link' })
            else if (error === DROPPED) resolve(this.#notSent())
            else reject(error)
          },
        },
        at,
        gather,
      )
    })
  }

  configure(app: number, lanes: readonly LaneConfig[], gather: Milliseconds = 0): void {
    this.#core.configure(app, lanes)
    if (gather > 0) this.#gather.set(app, gather)
    else this.#gather.delete(app)
  }

  flush(): void {
    this.#core.flush()
  }

  forget(app: number): void {
    this.#gather.delete(app)
    this.#core.forget(app)
  }

  statistics(): SessionStatistics {
    const { clock } = this.#options
    const now = clock.now()
    return this.#meter.snapshot({
      now,
      wall: clock.wall(),
      lanes: this.#core.lanes(now),
      queued: this.#core.queued,
      unacknowledged: this.#core.unacknowledged,
      datagrams: this.#datagrams?.statistics,
      fake: this.#fake.settings ?? null,
    })
  }

  fake(network: FakeNetworkSettings | undefined): void {
    this.#fake.set(network)
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
        else reject(new PartylineError(this.#socket && !this.#core.closed ? 'network.timeout' : 'network.lost'))
      })
      if (!isSent) reject(new PartylineError(this.#socket ? 'local.limit' : 'network.lost'))
    })
  }

  async close(reason: { code: CloseReason['code']; message: string } = { code: 'done', message: '' }): Promise<void> {
    this.#core.close({ ...reason, by: 'local' })
    await this.#gone.promise
  }

  /** It cannot go on: what is not acknowledged is lost. */
  fail(code: 'network.lost' | 'peer.restarted', message: string): void {
    this.#core.close({ code, message, by: 'network' })
  }

  /** Takes it off its link, for another one; returns how many bytes have arrived, or undefined when it is over. */
  suspend(): number | undefined {
    if (this.#core.closed) return undefined
    if (this.#socket) {
      this.#leaving = this.#routeNow
      this.#leavingCarrier = this.#elected.link.carrier
    }
    this.#drop()
    return this.#core.received
  }

  /** Goes on with another link; tells what that changes, or undefined when it cannot. */
  attach(elected: ElectedLink): RouteChange | undefined {
    if (this.#core.closed) {
      elected.link.destroy()
      return undefined
    }
    this.#drop()
    const from = this.#leaving
    this.#leaving = null
    this.#elected = elected
    try {
      const lacks = this.#core.attach(elected.resumedAt ?? 0, this.#options.clock.now())
      for (const chunk of lacks) elected.link.socket.write(chunk)
    } catch (error) {
      const { code, message } = toPartylineError(error)
      elected.link.destroy()
      this.#core.close({ code, message, by: 'local' })
      return undefined
    }
    this.#use(elected.link)
    const to = this.#routeNow
    const change = { from, to, reason: this.#reasonFor(from, to) }
    this.#route(change, true)
    this.#streams.attached(elected.link.dialled)
    this.#flushSoon()
    return change
  }

  #reasonFor(from: Route | null, to: Route): string {
    if (from !== null && rankOf(to) < rankOf(from)) return 'a better route was found'
    const isFaster = from === to && this.#leavingCarrier === 'udx' && this.#elected.link.carrier === 'tcp'
    return isFaster ? 'TCP works there, which is faster' : 'resumed on another link'
  }

  /** A link that carries a stream of this session has come in; false when nobody waits for it. */
  takeStream(stream: string, link: Link, again?: AnsweredStreamAgain): boolean {
    return !this.#core.closed && this.#streams.takeLink(stream, link, again)
  }

  /** The link is given up when its address is no longer this machine's, and put to the test otherwise. */
  networkChanged(interfaces: readonly NetworkInterface[]): void {
    if (!this.#socket) return
    const { local, path } = this.#elected.link
    if (!path && !isOwnAddress(local.address, interfaces)) return this.#lose('the network it ran on is gone')
    this.#core.doubt(this.#options.clock.now())
    this.#datagrams?.networkChanged()
    this.#schedule()
  }

  /** An unreliable message would wait behind this much. */
  get #isCongested(): boolean {
    return !this.#socket || this.#socket.writableLength > HIGH_WATER
  }

  /** Undefined where no path is open: the link has to do. */
  #sendDatagram(app: number, lane: number, channel: string, data: Uint8Array, patience: number): Sent | undefined {
    if (!this.#datagrams?.ready()) return undefined
    const number = this.#core.number(app, lane)
    const outcome = this.#datagrams.send(encodeDatagram({ lane, number, channel, data }), patience)
    if (outcome === 'no-path') return undefined
    if (outcome === 'dropped') return this.#notSent()
    this.#meter.messageOut(data.length, this.#lastUse)
    return { sent: true, number, via: 'datagram' }
  }

  #datagramArrived(bytes: Buffer): void {
    this.#lastUse = this.#options.clock.now()
    const message = decodeDatagram(bytes)
    if (!message) return this.#options.refusals.count('peer.malformed')
    this.#heard(message.data.length)
    this.#options.onMessage({
      ...message,
      peer: this.peer,
      reliable: false,
      via: 'datagram',
      accept: () => {},
      refuse: () => {},
    })
  }

  #arrived(message: Arrived): void {
    this.#lastUse = this.#options.clock.now()
    const { channel, data, reliable, lane, number } = message
    this.#heard(data.length)
    this.#options.onMessage({
      peer: this.peer,
      channel,
      data,
      reliable,
      lane,
      number,
      via: 'link',
      accept: () => this.#settle(message),
      refuse: (code) => this.#settle(message, code),
    })
  }

  #settle(message: Arrived, code?: ErrorCode): void {
    this.#core.settle(message, this.#options.clock.now(), code)
    this.#schedule()
  }

  #takeControl(control: Exclude<Control, { kind: 'close' }>): void {
    this.#lastUse = this.#options.clock.now()
    if (control.kind === 'datagram') {
      const { address } = this.#elected.link.remote
      const { path } = this.#elected.link
      return this.#datagrams?.peer(control.cid, path ? path.to : { address, port: control.port })
    }
    if (control.kind === 'link') return this.#elected.link.path?.take(control.stream)
    this.#streams.take(control)
  }

  #use(link: Link): void {
    const { socket } = link
    this.#socket = socket
    const { clock, routeOf } = this.#options
    this.#routeNow = routeOf(link)
    this.#forgetPath = link.path?.onChange((change) => this.#moved(link, change))
    socket.on('data', (chunk: Buffer) => {
      this.#fake.chunk('in', chunk.length, () => {
        if (this.#socket === socket) this.#core.receive(chunk, clock.now())
      })
      if (!this.#fake.isFull('in')) return
      this.#isHeld = true
      socket.pause()
    })
    socket.on('drain', () => this.#flushSoon())
    const lost = (): void => {
      if (this.#socket === socket) this.#lose('the link was lost')
    }
    socket.on('end', lost)
    socket.on('close', lost)
    socket.on('error', lost)
    socket.resume()
    this.#datagrams?.linked(link)
    this.#schedule()
    if (socket.destroyed) queueMicrotask(lost)
  }

  /** A message of so many bytes came. */
  #heard(bytes: number): void {
    if (this.#meter.messageIn(bytes, this.#lastUse)) this.#options.onStalled(this)
  }

  #route(change: RouteChange, resumed = false): void {
    this.#meter.route({ at: this.#options.clock.wall(), ...change }, resumed)
  }

  /** The link's carrier sends along another path. */
  #moved(link: Link, change: PathChange): void {
    this.#routeNow = change.to
    this.#datagrams?.moved(link)
    this.#route(change)
    this.#options.onMoved(this, change)
  }

  #notSent(): Sent {
    this.#meter.dropped()
    return NOT_SENT
  }

  /** The link is gone: the session waits for another. */
  #lose(reason: string): void {
    if (this.#core.closed || !this.#socket) return
    this.#route({ from: this.#routeNow, to: null, reason })
    this.#drop()
    this.#options.onLost(this, reason)
  }

  #drop(): void {
    if (!this.#socket) return
    this.#socket = undefined
    this.#isHeld = false
    this.#forgetPath?.()
    this.#elected.link.destroy()
    this.#core.detach()
    this.#datagrams?.unlinked()
    this.#streams.detached()
    this.#schedule()
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
    const socket = this.#socket
    if (!socket) return
    const now = this.#options.clock.now()
    while (this.#core.hasOutput && socket.writable && socket.writableLength < HIGH_WATER && !this.#fake.isFull('out')) {
      const output = this.#core.takeOutput(BATCH, now)
      if (output.length === 0) break
      this.#fake.chunk('out', output.length, () => void (socket.writable && socket.write(output)))
    }
    this.#schedule()
  }

  /** Sets the timer to the core's deadline; a timer that is early enough is left alone. */
  #schedule(): void {
    const { clock } = this.#options
    const { deadline } = this.#core
    if (this.#core.closed || (this.#timer && this.#timerAt <= deadline)) return
    this.#timer?.cancel()
    this.#timerAt = deadline
    if (deadline === Number.POSITIVE_INFINITY) return
    this.#timer = clock.after(Math.max(1, deadline - clock.now()), () => {
      this.#timer = undefined
      this.#core.tick(clock.now())
      this.#schedule()
    })
  }

  #ended(reason: CloseReason): void {
    const { clock, refusals, onEnd } = this.#options
    this.#timer?.cancel()
    if (reason.by === 'local' && isErrorCode(reason.code) && reason.code.startsWith('peer.'))
      refusals.count(reason.code)
    this.#datagrams?.close()
    this.#fake.close()
    this.#streams.end(reason.by === 'network' ? 'network.lost' : 'peer.reset')
    const socket = this.#socket
    const { link } = this.#elected
    if (socket) {
      // However much waits in the socket: there is only control left, and the goodbye is its end.
      if (this.#core.hasOutput && socket.writable) socket.write(this.#core.takeOutput(BATCH, clock.now()))
      const farewell = clock.after(reason.by === 'network' ? 0 : FAREWELL, () => link.destroy())
      socket.once('close', () => {
        farewell.cancel()
        this.#gone.resolve()
      })
      socket.end(() => this.#gone.resolve())
    }
    if (!socket || socket.destroyed) this.#gone.resolve()
    onEnd(this, reason)
    this.#resolveClosed(reason)
  }
}

const NOT_SENT: Sent = { sent: false, number: 0, via: 'link' }
