import { statSync } from 'node:fs'
import { homedir } from 'node:os'
import { setTimeout as sleep } from 'node:timers/promises'
import { PartylineError } from '../daemon/errors.ts'
import { resolvePlaces } from '../daemon/places.ts'
import type { RawMethod } from './api.ts'
import { type AppStream, createAppStream, type Outcome } from './app-stream.ts'
import { BoundedQueue } from './bounded-queue.ts'
import { type ListenOptions, type Message, MessageFeed } from './message-feed.ts'
import {
  EVENTS,
  type EventName,
  type EventParams,
  type MethodName,
  type Params,
  PROTOCOL,
  type Result,
  type Topic,
} from './methods.ts'
import { type Encoding, SocketClient } from './socket-client.ts'

/** How to reach the daemon. */
export interface ConnectOptions {
  /** What the app calls itself, at most 64 characters. */
  readonly app: string
  /** The daemon's `--home`; `PARTYLINE_HOME` or the platform's folders otherwise, and then the machine's service. */
  readonly home?: string | undefined
  /** A socket's path, in place of `home`. */
  readonly socket?: string
  /** The owner's socket, for trust and settings. */
  readonly control?: boolean
  readonly encoding?: Encoding
  /** How long to try while the daemon may still be starting, in milliseconds; 0 tries once. */
  readonly patience?: number
  /** Connect again when the daemon was restarted: calls made meanwhile wait, subscriptions are renewed. */
  readonly reconnect?: boolean
}

/** An event, as `events` yields it. `events.lost` tells that this app read too slowly. */
export type ClientEvent =
  | { [E in EventName]: { readonly name: E; readonly seq: number; readonly params: EventParams<E> } }[EventName]
  | { readonly name: 'events.lost'; readonly seq: number; readonly params: { lost: number } }
  | { readonly name: 'reconnected'; readonly seq: number; readonly params: Record<string, never> }

/** How a message is to be sent (`messages.send`). */
export type MessageOptions = Omit<Params<'messages.send'>, 'peer' | 'channel' | 'data'>

/** Events that wait for an app to iterate on. */
const MAX_QUEUED = 10_000
const RETRY_DELAY = 100
/** Peers whose lanes are set again after a reconnection: as many as the daemon takes. */
const MAX_LANED = 1024
/** How long a reconnecting client tries. */
const RECONNECT_PATIENCE = 600_000

/** Connects to the daemon. Rejects with `local.no-daemon`, `local.permission` or `usage.protocol`. */
export async function connect(options: ConnectOptions): Promise<Client> {
  const client = new Client(options)
  await client.start()
  return client
}

/** A connection to the daemon. */
export class Client implements AsyncDisposable {
  readonly #options: ConnectOptions
  readonly #path: string
  readonly #events = new Set<{ queue: BoundedQueue<ClientEvent>; topics: ReadonlySet<Topic> }>()
  readonly #messages = new Set<MessageFeed>()
  readonly #lanes = new Map<string, Params<'messages.lanes'>>()
  #connection: Promise<SocketClient> = Promise.reject(new PartylineError('local.closed'))
  /** The connection while there is one: a call then waits for nothing. */
  #current: SocketClient | undefined
  #closed = false
  #id = ''
  /** The socket of this user on a daemon that users share, once told. */
  #userSocket: string | undefined

  /** Use `connect`. */
  constructor(options: ConnectOptions) {
    this.#options = options
    this.#path = options.socket ?? socketPath(options)
    this.#connection.catch(() => {})
  }

  /** This host's peer id. */
  get id(): string {
    return this.#id
  }

  async start(): Promise<void> {
    this.#connection = this.#dialPatiently(this.#options.patience ?? 0, (method, params) =>
      this.#notified(method, params),
    )
    this.#watch(await this.#connection)
  }

  /** Calls a method of the table. Rejects with a `PartylineError`. */
  call<M extends Exclude<MethodName, RawMethod>>(method: M, params: Params<M>): Promise<Result<M>> {
    return this.callAny(method, params) as Promise<Result<M>>
  }

  /** Calls a method by name, unchecked; for tools. */
  callAny(method: string, params: unknown): Promise<unknown> {
    const calling = this.#current?.call(method, params)
    return calling ?? this.#connection.then((connection) => connection.call(method, params))
  }

  /** Events of these topics from now on, until the iteration is left. */
  async events(topics: readonly Topic[]): Promise<AsyncIterableIterator<ClientEvent>> {
    const queue = new BoundedQueue<ClientEvent>(
      MAX_QUEUED,
      (lost, last) => ({ name: 'events.lost', seq: last.seq, params: { lost } }),
      () => this.#unsubscribe(entry),
    )
    const entry = { queue, topics: new Set(topics) }
    this.#events.add(entry)
    try {
      await this.call('events.subscribe', { topics: [...topics] })
    } catch (error) {
      this.#events.delete(entry)
      throw error
    }
    return queue
  }

  /**
   * Sends a message to a channel of a peer: text, or bytes. Resolves when an app there has it; an unreliable one, when it has left or was
   * dropped. The peer is thereby accepted by every `messages` of this client that asks. Await it now and then: what a peer does not take up
   * waits here.
   */
  send(
    peer: string,
    channel: string,
    data: string | Uint8Array,
    options: MessageOptions = {},
  ): Promise<Result<'messages.send'>> {
    for (const feed of this.#messages) if (!feed.takes(peer)) feed.accept(peer)
    return this.call('messages.send', { peer, channel, data, ...options })
  }

  /**
   * Sets the lanes of what this client sends to a peer, by number: lower priorities go first, weights share among equal ones. `gather`: how long
   * small messages wait for others, in milliseconds. They hold for later sessions, and with `reconnect` when the daemon was restarted.
   */
  async setLanes(peer: string, lanes: Params<'messages.lanes'>['lanes'], gather?: number): Promise<void> {
    const params = { peer, lanes, ...(gather !== undefined && { gather }) }
    await this.call('messages.lanes', params)
    this.#lanes.delete(peer)
    if (lanes.length === 0 && !gather) return
    if (this.#lanes.size < MAX_LANED) this.#lanes.set(peer, params)
  }

  /** Sends at once what was gathered for a peer. */
  async flush(peer: string): Promise<void> {
    await this.call('messages.flush', { peer })
  }

  /**
   * Messages on a channel from now on, until the iteration is left. While the app does not iterate, their senders wait. With `accept: 'ask'`
   * the first message of each peer is a request that `onRequest` answers.
   */
  async messages(channel: string, options: ListenOptions = {}): Promise<AsyncIterableIterator<Message>> {
    const reconnect = this.#options.reconnect ?? false
    const feed: MessageFeed = new MessageFeed({
      channel,
      reconnect,
      ...options,
      dial: (onNotification) => this.#dialAnother(onNotification),
      onReturn: () => this.#messages.delete(feed),
    })
    this.#messages.add(feed)
    try {
      await feed.start()
    } catch (error) {
      this.#messages.delete(feed)
      throw error
    }
    return feed
  }

  /** Opens a byte stream to a service of a peer. */
  openStream(peer: string, service: string, meta?: string): Promise<AppStream> {
    return this.#raw('streams.open', { peer, service, ...(meta !== undefined && { meta }) })
  }

  /** Waits for one stream to a service. */
  acceptStream(service: string, signal?: AbortSignal): Promise<AppStream> {
    return this.#raw('streams.accept', { service }, signal)
  }

  /**
   * Streams to a service, one after another, until the iteration is left; two acceptors are always waiting. With `reconnect` it goes on when the
   * daemon was restarted.
   */
  async *listen(service: string): AsyncGenerator<AppStream, void, void> {
    const stop = new AbortController()
    const arm = (index: number): Promise<{ stream: AppStream; index: number }> => {
      const next = this.#acceptPatiently(service, stop.signal).then((stream) => ({ stream, index }))
      // It may fail while the app is busy with another stream; it is told when it comes back for the next.
      next.catch(() => {})
      return next
    }
    const waiting = [arm(0), arm(1)]
    try {
      for (;;) {
        const { stream, index } = await Promise.race(waiting)
        waiting[index] = arm(index)
        yield stream
      }
    } finally {
      stop.abort()
      for (const next of waiting) next.then(({ stream }) => stream.socket.destroy()).catch(() => {})
    }
  }

  /** Asks the sender of an offer for something; `meta` is what its app reads. */
  fetchOffer(offer: string, meta: string): Promise<AppStream> {
    return this.#raw('files.fetch', { offer, meta })
  }

  /** Waits until the receiver of an own offer asks for something. */
  serveOffer(offer: string, signal?: AbortSignal): Promise<AppStream> {
    return this.#raw('files.serve', { offer }, signal)
  }

  async close(): Promise<void> {
    this.#closed = true
    for (const { queue } of this.#events) queue.end()
    for (const feed of this.#messages) feed.end()
    const connection = await this.#connection.catch(() => undefined)
    connection?.close()
    await connection?.closed
  }

  [Symbol.asyncDispose](): Promise<void> {
    return this.close()
  }

  /** A raw method on a connection of its own, which becomes the stream. */
  async #raw(method: RawMethod, params: object, signal?: AbortSignal): Promise<AppStream> {
    const connection = await this.#dialAnother(() => {})
    const abort = (): void => connection.close()
    signal?.addEventListener('abort', abort)
    if (signal?.aborted) abort()
    try {
      const { result, socket } = await connection.callRaw(method, params)
      const { stream, peer, meta = '' } = result as { stream: string; peer: string; meta?: string }
      const ask = async (side: 'both' | 'incoming'): Promise<Outcome> => this.call('streams.outcome', { stream, side })
      return createAppStream({ id: stream, peer, meta }, socket, ask)
    } catch (error) {
      connection.close()
      throw error
    } finally {
      signal?.removeEventListener('abort', abort)
    }
  }

  /** By the socket of this user's own where there is one: what is known of it may be out of date. */
  async #dial(onNotification: (method: string, params: unknown) => void): Promise<SocketClient> {
    const known = this.#userSocket
    if (known !== undefined) {
      try {
        return (await this.#greet(known, onNotification)).connection
      } catch (error) {
        if (!isAway(error)) throw error
        this.#userSocket = undefined
      }
    }
    const uid = this.#options.control ? undefined : process.getuid?.()
    const { connection, socket } = await this.#greet(this.#path, onNotification, uid)
    if (socket === undefined) return connection
    connection.close()
    this.#userSocket = socket
    return (await this.#greet(socket, onNotification)).connection
  }

  async #greet(
    path: string,
    onNotification: (method: string, params: unknown) => void,
    uid?: number,
  ): Promise<{ connection: SocketClient; socket: string | undefined }> {
    const connection = await SocketClient.dial(path, this.#options.encoding ?? 'messagepack', onNotification)
    try {
      const params = { app: this.#options.app, protocol: PROTOCOL, ...(uid !== undefined && { uid }) }
      const { id, socket } = (await connection.call('hello', params)) as Result<'hello'>
      this.#id = id
      return { connection, socket }
    } catch (error) {
      connection.close()
      throw error
    }
  }

  /** A connection beside the first, which may be on its way back. */
  async #dialAnother(onNotification: (method: string, params: unknown) => void): Promise<SocketClient> {
    await this.#connection
    if (this.#closed) throw new PartylineError('local.closed')
    return this.#dial(onNotification)
  }

  async #acceptPatiently(service: string, signal: AbortSignal): Promise<AppStream> {
    for (;;) {
      try {
        return await this.acceptStream(service, signal)
      } catch (error) {
        if (!this.#options.reconnect || this.#closed || signal.aborted || !isAway(error)) throw error
        await sleep(RETRY_DELAY)
      }
    }
  }

  async #dialPatiently(
    patience: number,
    onNotification: (method: string, params: unknown) => void,
  ): Promise<SocketClient> {
    const until = performance.now() + patience
    for (;;) {
      try {
        return await this.#dial(onNotification)
      } catch (error) {
        if (!isAway(error) || this.#closed || performance.now() >= until) throw error
        await sleep(RETRY_DELAY)
      }
    }
  }

  #watch(connection: SocketClient): void {
    this.#current = connection
    void connection.closed.then(() => this.#lost())
  }

  /** The daemon is gone: everyone is told, or it is waited for. */
  #lost(): void {
    this.#current = undefined
    if (this.#closed) return
    if (!this.#options.reconnect) {
      void this.close()
      return
    }
    this.#connection = this.#reconnect()
    this.#connection.then(
      (connection) => this.#watch(connection),
      () => this.close(),
    )
  }

  async #reconnect(): Promise<SocketClient> {
    const notified = (method: string, params: unknown): void => this.#notified(method, params)
    for (;;) {
      const connection = await this.#dialPatiently(RECONNECT_PATIENCE, notified)
      try {
        const topics = this.#topics()
        if (topics.length > 0) await connection.call('events.subscribe', { topics })
        for (const params of this.#lanes.values())
          await connection.call('messages.lanes', params).catch((error: unknown) => {
            // A peer that is not known any more has no use for lanes.
            if (isAway(error)) throw error
          })
      } catch (error) {
        connection.close()
        if (this.#closed || !isAway(error)) throw error
        continue
      }
      for (const { queue } of this.#events) queue.push({ name: 'reconnected', seq: 0, params: {} })
      return connection
    }
  }

  #topics(): Topic[] {
    return [...new Set([...this.#events].flatMap((entry) => [...entry.topics]))]
  }

  #unsubscribe(entry: { queue: BoundedQueue<ClientEvent>; topics: ReadonlySet<Topic> }): void {
    this.#events.delete(entry)
    const wanted = new Set(this.#topics())
    const topics = [...entry.topics].filter((topic) => !wanted.has(topic))
    if (topics.length > 0 && !this.#closed) this.call('events.unsubscribe', { topics }).catch(() => {})
  }

  #notified(method: string, params: unknown): void {
    const { seq, ...rest } = params as { seq: number }
    const event = { name: method, seq, params: rest } as unknown as ClientEvent
    const topic = (EVENTS as Record<string, { topic: Topic }>)[method]?.topic
    for (const { queue, topics } of this.#events) if (topic === undefined || topics.has(topic)) queue.push(event)
  }
}

/** True when the daemon is not there now but may come back. */
function isAway(error: unknown): boolean {
  return error instanceof PartylineError && ['local.no-daemon', 'local.closed', 'local.stopping'].includes(error.code)
}

/** The socket of this user's daemon; of the machine's service where there is one, and no daemon of the user's own. */
function socketPath({ home, control }: ConnectOptions): string {
  const pick = (system: boolean): string => {
    const places = resolvePlaces({ home, system, env: process.env, platform: process.platform, userHome: homedir() })
    return control ? places.controlSocket : places.appSocket
  }
  const [own, shared] = [pick(false), pick(true)]
  // One and the same with a home that was given, and for the pipes of Windows.
  return own === shared || isThere(own) || !isThere(shared) ? own : shared
}

/** True also for a socket in a folder that this user may not look into: connecting tells so. */
function isThere(path: string): boolean {
  try {
    statSync(path)
    return true
  } catch (error) {
    return (error as NodeJS.ErrnoException).code === 'EACCES'
  }
}
