import { type ErrorCode, PartylineError, toPartylineError } from '../errors.ts'
import { type IncomingMessage, MAX_MESSAGE, type Session } from '../session/session.ts'
import type { PeerId, UnixMilliseconds } from '../types.ts'

/** A message on its way to an app. */
export interface DeliveredMessage {
  readonly from: PeerId
  readonly channel: string
  readonly data: Uint8Array
  readonly reliable: boolean
  readonly lane: number
  readonly number: number
  readonly at: UnixMilliseconds
}

/** Takes a message; resolves when the app has it. */
type Deliver = (message: DeliveredMessage) => Promise<void>

/** The daemon's own receivers, on reserved channels: they answer at once or refuse by throwing. */
type InternalHandler = (peer: PeerId, data: Uint8Array) => void | Promise<void>

/** Listeners of one channel, in all. */
const MAX_LISTENERS = 256
/** Bytes that may wait for one slow app, of all peers; of what is over, the sender is told `peer.busy`. */
const MAX_UNDELIVERED = 16 * 1024 * 1024
/** Unreliable messages that wait for one slow app; more are dropped. */
const MAX_UNRELIABLE = 64

interface Listener {
  readonly deliver: Deliver
  unreliable: number
  /** Bytes that it was given and does not have yet. */
  undelivered: number
}

/** Messages on channels, between apps here and apps at peers. */
export class MessageService {
  readonly #open: (peer: PeerId) => Promise<Session>
  readonly #wall: () => UnixMilliseconds
  readonly #listeners = new Map<string, Set<Listener>>()
  readonly #internal = new Map<string, InternalHandler>()

  constructor(options: { open: (peer: PeerId) => Promise<Session>; wall: () => UnixMilliseconds }) {
    this.#open = options.open
    this.#wall = options.wall
  }

  /** Opens a session on demand; resolves when an app at the peer has the message. */
  async send(
    peer: PeerId,
    channel: string,
    data: Uint8Array,
    options: { reliable?: boolean; lane?: number } = {},
  ): Promise<void> {
    if (data.length > MAX_MESSAGE)
      throw new PartylineError('usage.too-large', `a message of ${data.length} bytes; the limit is ${MAX_MESSAGE}`)
    const session = await this.#open(peer)
    await session.send(channel, data, options)
  }

  /** Takes the messages of a channel; returns the way to stop that. Every listener gets each message. */
  listen(channel: string, deliver: Deliver): () => void {
    const listeners = this.#listeners.get(channel) ?? new Set()
    if (listeners.size >= MAX_LISTENERS)
      throw new PartylineError('local.limit', `${MAX_LISTENERS} apps listen to ${channel} already`)
    this.#listeners.set(channel, listeners)
    const listener = { deliver, unreliable: 0, undelivered: 0 }
    listeners.add(listener)
    return () => {
      listeners.delete(listener)
      if (listeners.size === 0 && this.#listeners.get(channel) === listeners) this.#listeners.delete(channel)
    }
  }

  /** Takes a reserved channel for a part of the daemon. */
  handle(channel: string, handler: InternalHandler): void {
    this.#internal.set(channel, handler)
  }

  /** A message came from a peer. It is acknowledged when an app has it: until then it fills its sender's window. */
  take(message: IncomingMessage): void {
    const { peer, channel, data } = message
    const internal = this.#internal.get(channel)
    if (internal) {
      Promise.try(internal, peer, data).then(
        () => message.accept(),
        (error: unknown) => message.refuse(toPartylineError(error).code),
      )
      return
    }
    const listeners = this.#listeners.get(channel)
    if (!listeners) return message.refuse('peer.no-listener')
    const { reliable, lane, number } = message
    const delivered = { from: peer, channel, data, reliable, lane, number, at: this.#wall() }
    if (reliable) this.#deliverReliably(message, delivered, [...listeners])
    else this.#deliverIfFree(message, delivered, listeners)
  }

  /** Done when the slowest app has it; refused only when none of them took it. */
  #deliverReliably(message: IncomingMessage, delivered: DeliveredMessage, listeners: readonly Listener[]): void {
    const free = listeners.filter(({ undelivered }) => undelivered + delivered.data.length <= MAX_UNDELIVERED)
    const refusal: ErrorCode = free.length > 0 ? 'peer.no-listener' : 'peer.busy'
    void Promise.allSettled(free.map((listener) => give(listener, delivered))).then((results) => {
      if (results.some(({ status }) => status === 'fulfilled')) message.accept()
      else message.refuse(refusal)
    })
  }

  #deliverIfFree(message: IncomingMessage, delivered: DeliveredMessage, listeners: Iterable<Listener>): void {
    for (const listener of listeners) {
      if (listener.unreliable >= MAX_UNRELIABLE) continue
      listener.unreliable++
      give(listener, delivered)
        .catch(() => {})
        .finally(() => listener.unreliable--)
    }
    message.accept()
  }
}

/** Hands a message over, and keeps count of what is under way. */
async function give(listener: Listener, message: DeliveredMessage): Promise<void> {
  listener.undelivered += message.data.length
  try {
    await listener.deliver(message)
  } finally {
    listener.undelivered -= message.data.length
  }
}
