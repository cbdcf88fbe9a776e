import { setTimeout as sleep } from 'node:timers/promises'
import { RecentSet } from '../daemon/recent-set.ts'
import type { Params } from './methods.ts'
import type { SocketClient } from './socket-client.ts'

/** A message on a channel. */
export interface Message {
  readonly from: string
  readonly channel: string
  readonly data: Uint8Array
  readonly reliable: boolean
  readonly lane: number
  /** In its lane, from 1. */
  readonly number: number
  /** How it travelled. */
  readonly via: 'link' | 'datagram'
  /** When it came, in Unix milliseconds. */
  readonly at: number
}

/** A peer that this app has not accepted wants to send messages. */
export interface MessageRequest {
  readonly from: string
  readonly name: string
  readonly channel: string
  /** How long there is to answer, in milliseconds. */
  readonly expires: number
}

/** Whose messages an app takes. */
export interface ListenOptions {
  /** `all` (default), `trusted` peers only, or `ask`: whom `onRequest` accepts, or the client sends to. */
  readonly accept?: NonNullable<Params<'messages.listen'>['accept']>
  /** True accepts the peer, what it sent meanwhile included; false refuses it; anything else, an error included, lets the request lapse. */
  readonly onRequest?: (request: MessageRequest) => boolean | undefined | Promise<boolean | undefined>
}

/** As it comes: JSON has no bytes. */
type ReceivedMessage = Omit<Message, 'data'> & { data?: Uint8Array; text?: string; base64?: string }

/** What waits for the app to iterate on; more is left with the daemon, whose senders then wait. */
const MAX_WAITING = 1000
const MAX_WAITING_BYTES = 1024 * 1024
/** Peers that are accepted again after a reconnection. */
const MAX_ACCEPTED = 4096
const RETRY_DELAY = 100

interface FeedOptions extends ListenOptions {
  readonly channel: string
  /** Listens again when the connection is lost. */
  readonly reconnect: boolean
  /** Dials a connection of the feed's own; with `reconnect`, waits for the daemon. */
  readonly dial: (onNotification: (method: string, params: unknown) => void) => Promise<SocketClient>
  readonly onReturn: () => void
}

/**
 * The messages of one channel, for one reader that iterates. It has a connection of its own, which is not read while the app is busy: a reliable
 * message that an app was handed is never dropped, and answers to calls do not wait behind messages.
 */
export class MessageFeed implements AsyncIterableIterator<Message> {
  readonly #options: FeedOptions
  readonly #items: Message[] = []
  /** Names and ids of peers that are accepted, as the app gave them. */
  readonly #accepted = new RecentSet<string>(MAX_ACCEPTED)
  readonly #waiting: ((result: IteratorResult<Message>) => void)[] = []
  #connection: SocketClient | undefined
  #bytes = 0
  #paused = false
  #done = false

  constructor(options: FeedOptions) {
    this.#options = options
  }

  /** Resolves when the daemon has taken the listener in. */
  async start(): Promise<void> {
    const connection = await this.#options.dial((method, params) => {
      if (method === 'messages.received') this.#take(params as ReceivedMessage)
      else if (method === 'messages.request') void this.#ask(connection, params as MessageRequest)
    })
    const { channel, accept } = this.#options
    try {
      for (const peer of this.#accepted) connection.call('messages.accept', { peer }).catch(() => {})
      await connection.call('messages.listen', { channel, ...(accept && { accept }) })
    } catch (error) {
      connection.close()
      throw error
    }
    if (this.#done) return connection.close()
    this.#connection = connection
    this.#paused = false
    void connection.closed.then(() => this.#lost())
  }

  /** True where nobody has to ask for this peer. */
  takes(peer: string): boolean {
    return this.#options.accept !== 'ask' || this.#accepted.has(peer)
  }

  /** Takes the messages of a peer without asking. Nobody waits for the answer, which is not read while the app is busy. */
  accept(peer: string): void {
    this.#accepted.add(peer)
    this.#connection?.call('messages.accept', { peer }).catch(() => this.#accepted.delete(peer))
  }

  /** Ends the iteration, after what has been received. */
  end(): void {
    this.#done = true
    this.#connection?.close()
    for (const reader of this.#waiting.splice(0)) reader({ value: undefined, done: true })
  }

  next(): Promise<IteratorResult<Message>> {
    const item = this.#items.shift()
    if (item) {
      this.#bytes -= item.data.length
      if (this.#paused && !this.#isFull()) {
        this.#paused = false
        this.#connection?.resume()
      }
      return Promise.resolve({ value: item, done: false })
    }
    if (this.#done) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  return(): Promise<IteratorResult<Message>> {
    this.end()
    this.#items.length = 0
    this.#options.onReturn()
    return Promise.resolve({ value: undefined, done: true })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #isFull(): boolean {
    return this.#items.length >= MAX_WAITING || this.#bytes >= MAX_WAITING_BYTES
  }

  #take({ text, base64, data: bytes, ...about }: ReceivedMessage): void {
    if (this.#done) return
    const data = bytes ?? (text === undefined ? Buffer.from(base64 ?? '', 'base64') : Buffer.from(text, 'utf8'))
    const message = { ...about, data }
    const reader = this.#waiting.shift()
    if (reader) return reader({ value: message, done: false })
    this.#items.push(message)
    this.#bytes += data.length
    if (this.#paused || !this.#isFull()) return
    this.#paused = true
    this.#connection?.pause()
  }

  async #ask(connection: SocketClient, request: MessageRequest): Promise<void> {
    const { onRequest } = this.#options
    try {
      const answer = await onRequest?.(request)
      if (answer === undefined) return
      if (answer) this.#accepted.add(request.from)
      else this.#accepted.delete(request.from)
      await connection.call(answer ? 'messages.accept' : 'messages.refuse', { peer: request.from })
    } catch {
      // It lapses.
    }
  }

  async #lost(): Promise<void> {
    if (this.#done || !this.#options.reconnect) return this.end()
    try {
      await this.start()
    } catch {
      if (this.#done) return
      await sleep(RETRY_DELAY)
      return this.#lost()
    }
  }
}
