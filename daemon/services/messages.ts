import type { Clock } from '../clock.ts'
import { PartylineError, toPartylineError } from '../errors.ts'
import type { Refusals } from '../refusals.ts'
import { type IncomingMessage, MAX_MESSAGE, type SendOptions, type Session } from '../session/session.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import { type Accept, type AppConnection, MAX_CHANNELS, MessageApp } from './messages/app.ts'
import { Arrival } from './messages/arrival.ts'
import { WaitingRoom } from './messages/waiting-room.ts'

/** The daemon's own receivers, on reserved channels: they answer at once or refuse by throwing. */
type InternalHandler = (peer: PeerId, data: Uint8Array) => void | Promise<void>

/** Apps that listen to one channel. */
export const MAX_LISTENERS = 256
/** Channels that all connections of one user listen to, each counted for itself. */
export const MAX_USER_CHANNELS = 4096
/** Connections of one user that may have all that an app may have on its way; more share it. */
const FULL_SHARES = 4

interface Listener {
  readonly app: MessageApp
  readonly user: string
  readonly accept: Accept
}

export interface MessageOptions {
  readonly clock: Clock
  readonly refusals: Refusals
  /** Opens a session, or finds the one there is. */
  readonly open: (peer: PeerId) => Promise<Session>
  /** The session there is. */
  readonly session: (peer: PeerId) => Session | undefined
  readonly sessions: () => Iterable<Session>
  readonly isTrusted: (peer: PeerId) => boolean
  readonly isBlocked: (peer: PeerId) => boolean
  /** What people call the peer. */
  readonly nameOf: (peer: PeerId) => string
  /** The settings `messages.request-for`, `messages.app-send` and `messages.app-receive`. */
  readonly requestFor: () => Milliseconds
  readonly appSend: () => number
  readonly appReceive: () => number
}

/** Messages on channels, between apps here and apps at peers. */
export class MessageService {
  readonly #options: MessageOptions
  readonly #room = new WaitingRoom()
  readonly #apps = new Map<number, { app: MessageApp; channels: Map<string, Listener> }>()
  readonly #users = new Map<string, { apps: number; channels: number }>()
  /** By channel; an array is replaced, never changed. */
  readonly #listeners = new Map<string, readonly Listener[]>()
  readonly #internal = new Map<string, InternalHandler>()

  constructor(options: MessageOptions) {
    this.#options = options
  }

  /** Sends for the daemon itself, opening a session on demand; resolves when the peer has the message. */
  async send(peer: PeerId, channel: string, data: Uint8Array, options: SendOptions = {}): Promise<void> {
    if (data.length > MAX_MESSAGE)
      throw new PartylineError('usage.too-large', `a message of ${data.length} bytes; the limit is ${MAX_MESSAGE}`)
    const session = await this.#options.open(peer)
    await session.send(channel, data, options)
  }

  /** Takes a reserved channel for a part of the daemon. */
  handle(channel: string, handler: InternalHandler): void {
    this.#internal.set(channel, handler)
  }

  /** An app, as known by one of its connections; forgotten when that closes. Throws `local.closed`. */
  app(connection: AppConnection): MessageApp {
    return this.#known(connection).app
  }

  /** Takes the messages of a channel for an app; again, to take them from others. Throws `local.limit`, `policy.other-user`. */
  listen(connection: AppConnection, channel: string, accept: Accept): void {
    const { app, channels } = this.#known(connection)
    const { user } = connection
    const use = this.#use(user)
    const before = channels.get(channel)
    const others = (this.#listeners.get(channel) ?? []).filter((listener) => listener !== before)
    if (!before && channels.size >= MAX_CHANNELS)
      throw new PartylineError('local.limit', `one connection listens to at most ${MAX_CHANNELS} channels`)
    if (others.length >= MAX_LISTENERS)
      throw new PartylineError('local.limit', `${MAX_LISTENERS} apps listen to ${channel} already`)
    if (others.some((listener) => listener.user !== user)) throw new PartylineError('policy.other-user')
    if (!before && use.channels >= MAX_USER_CHANNELS)
      throw new PartylineError('local.limit', `one user listens to at most ${MAX_USER_CHANNELS} channels`)
    if (!before) use.channels++
    const listener = { app, user, accept }
    channels.set(channel, listener)
    this.#listeners.set(channel, [...others, listener])
  }

  unlisten(connection: AppConnection, channel: string): void {
    const known = this.#apps.get(connection.id)
    const listener = known?.channels.get(channel)
    if (!known || !listener) return
    known.channels.delete(channel)
    this.#remove(channel, listener)
    known.app.left(channel)
  }

  /** A message came from a peer. It is acknowledged when an app has it: until then it fills its sender's window. */
  take(message: IncomingMessage): void {
    const { peer, channel, data } = message
    const listeners = this.#listeners.get(channel)
    if (listeners) return this.#deliver(message, listeners)
    const internal = this.#internal.get(channel)
    if (!internal) return message.refuse('peer.no-listener')
    Promise.try(internal, peer, data).then(
      () => message.accept(),
      (error: unknown) => message.refuse(toPartylineError(error).code),
    )
  }

  /** Call when a session has opened, before anything is sent in it: it learns the lanes that apps have set for its peer. */
  sessionOpened(session: Session): void {
    for (const { app } of this.#apps.values()) app.sessionOpened(session)
  }

  /** Call when a peer has no session any more: of what waits for an app to accept it, its sender was told that it is lost. */
  sessionClosed(peer: PeerId): void {
    for (const { app } of this.#apps.values()) app.sessionClosed(peer)
  }

  #deliver(message: IncomingMessage, listeners: readonly Listener[]): void {
    if (this.#options.isBlocked(message.peer)) return message.refuse('policy.blocked')
    const arrival = new Arrival(message, this.#options.clock.wall(), listeners.length)
    for (const { app, accept } of listeners) app.take(arrival, accept)
  }

  #known(connection: AppConnection): { app: MessageApp; channels: Map<string, Listener> } {
    const known = this.#apps.get(connection.id)
    if (known) return known
    if (connection.signal.aborted) throw new PartylineError('local.closed')
    const { appSend, appReceive } = this.#options
    const use = this.#use(connection.user)
    const share = (limit: number): number => limit / Math.max(1, use.apps / FULL_SHARES)
    const app = new MessageApp({
      ...this.#options,
      connection,
      room: this.#room,
      appSend: () => share(appSend()),
      appReceive: () => share(appReceive()),
    })
    const entry = { app, channels: new Map<string, Listener>() }
    this.#apps.set(connection.id, entry)
    use.apps++
    connection.signal.addEventListener('abort', () => {
      this.#apps.delete(connection.id)
      for (const [channel, listener] of entry.channels) this.#remove(channel, listener)
      if (--use.apps === 0) this.#users.delete(connection.user)
      app.close()
    })
    return entry
  }

  #use(user: string): { apps: number; channels: number } {
    const use = this.#users.get(user) ?? { apps: 0, channels: 0 }
    this.#users.set(user, use)
    return use
  }

  #remove(channel: string, listener: Listener): void {
    this.#use(listener.user).channels--
    const left = (this.#listeners.get(channel) ?? []).filter((one) => one !== listener)
    if (left.length > 0) this.#listeners.set(channel, left)
    else this.#listeners.delete(channel)
  }
}
