import type { Caller } from '../../../ipc/api.ts'
import { PartylineError } from '../../errors.ts'
import { type LaneConfig, MAX_MESSAGE, type SendOptions, type Sent, type Session } from '../../session/session.ts'
import type { Milliseconds, PeerId } from '../../types.ts'
import type { MessageOptions } from '../messages.ts'
import type { Arrival } from './arrival.ts'
import { Requests } from './requests.ts'
import { Resends } from './resends.ts'
import { SendBudget } from './send-budget.ts'
import type { WaitingRoom } from './waiting-room.ts'

/** A connection of an app, as far as messages need it. */
export type AppConnection = Pick<Caller, 'id' | 'user' | 'signal' | 'deliver' | 'request' | 'hold'>

/** From whom an app takes the messages of a channel: `all`, trusted peers only, or whom it accepts when asked. */
export type Accept = 'all' | 'trusted' | 'ask'

/** How an app wants a message sent. */
export interface AppSendOptions {
  readonly reliable?: boolean | undefined
  readonly lane?: number | undefined
  readonly now?: boolean | undefined
  readonly nodelay?: boolean | undefined
  /** Opens a new session and sends again when the session ends before the peer's word came; reliable messages only. It may then arrive twice. */
  readonly restart?: boolean | undefined
}

/** Channels that one connection listens to. */
export const MAX_CHANNELS = 256
/** Peers for which one connection sets lanes. */
export const MAX_LANED_PEERS = 1024
/** Unreliable messages that wait for one slow app; more are dropped. */
export const MAX_UNRELIABLE = 1024
const MAX_UNRELIABLE_BYTES = 1024 * 1024
/** What `messages.app-receive` may be set to at least, in bytes: below it, there is no need to ask. */
const LEAST_RECEIVE = 1024 * 1024

interface AppOptions extends MessageOptions {
  readonly connection: AppConnection
  readonly room: WaitingRoom
}

/** One connection of an app: what it may send and receive, whom it has accepted, and its lanes. */
export class MessageApp {
  readonly #options: AppOptions
  readonly #connection: AppConnection
  readonly #budget: SendBudget
  readonly #resends: Resends
  readonly #requests: Requests
  readonly #lanes = new Map<PeerId, { lanes: readonly LaneConfig[]; gather: Milliseconds }>()
  /** Bytes handed over that the system has not taken yet. */
  #undelivered = 0
  #unreliable = 0
  #unreliableBytes = 0
  readonly #opening = new Map<PeerId, Promise<Session>>()
  /** True once a session may know of it. */
  #used = false

  constructor(options: AppOptions) {
    const { clock, connection, appSend, requestFor, refusals, room, nameOf } = options
    this.#options = options
    this.#connection = connection
    this.#budget = new SendBudget(appSend, (on) => connection.hold(on))
    this.#resends = new Resends(clock, (peer) => this.#sessionTo(peer))
    this.#requests = new Requests({
      clock,
      refusals,
      room,
      requestFor,
      announce: (from, channel, expires) => connection.request({ from, name: nameOf(from), channel, expires }),
      deliver: (arrival) => this.#deliver(arrival),
    })
  }

  /**
   * Sends a message on a channel, opening a session on demand; the peer is accepted by it. Waits while the app has too much on its way already.
   * Rejects with `usage.too-large`, `local.limit`, and what `Session.send` and opening a session reject with.
   */
  send(peer: PeerId, channel: string, data: Uint8Array, options: AppSendOptions = {}): Promise<Sent> {
    const { length } = data
    if (length > MAX_MESSAGE)
      return Promise.reject(
        new PartylineError('usage.too-large', `a message of ${length} bytes; the limit is ${MAX_MESSAGE}`),
      )
    this.#requests.accept(peer)
    if (options.reliable === false) return this.#sendUnreliable(peer, channel, data, options)
    const room = this.#budget.take(length)
    return room
      ? room.then(() => this.#sendReliable(peer, channel, data, options))
      : this.#sendReliable(peer, channel, data, options)
  }

  /** Sets the lanes of this connection's messages to a peer, in every session from now on. Throws `local.limit`. */
  setLanes(peer: PeerId, lanes: readonly LaneConfig[], gather: Milliseconds = 0): void {
    if (lanes.length === 0 && gather === 0) this.#lanes.delete(peer)
    else if (!this.#lanes.has(peer) && this.#lanes.size >= MAX_LANED_PEERS)
      throw new PartylineError('local.limit', `one connection sets the lanes of at most ${MAX_LANED_PEERS} peers`)
    else this.#lanes.set(peer, { lanes, gather })
    this.#used = true
    this.#options.session(peer)?.configure(this.#connection.id, lanes, gather)
  }

  /** A session has opened. */
  sessionOpened(session: Session): void {
    const set = this.#lanes.get(session.facts.peer)
    if (set) session.configure(this.#connection.id, set.lanes, set.gather)
  }

  /** A peer has no session any more: its sender was told that what waits here is lost. */
  sessionClosed(peer: PeerId): void {
    this.#requests.drop(peer, 'peer.busy')
  }

  /** A message on a channel that this app listens to. */
  take(arrival: Arrival, accept: Accept): void {
    if (accept === 'all') this.#deliver(arrival)
    else if (accept === 'ask') this.#requests.take(arrival)
    else if (this.#options.isTrusted(arrival.message.from)) this.#deliver(arrival)
    else {
      this.#options.refusals.count('peer.not-accepted')
      arrival.declined('peer.not-accepted')
    }
  }

  accept(peer: PeerId): void {
    this.#requests.accept(peer)
  }

  refuse(peer: PeerId): void {
    this.#requests.refuse(peer)
  }

  /** It listens to a channel no more. */
  left(channel: string): void {
    this.#requests.dropChannel(channel)
  }

  /** The connection is gone. */
  close(): void {
    this.#budget.close('local.closed')
    this.#resends.close()
    this.#requests.close()
    if (this.#used) for (const session of this.#options.sessions()) session.forget(this.#connection.id)
  }

  async #sendReliable(peer: PeerId, channel: string, data: Uint8Array, options: AppSendOptions): Promise<Sent> {
    try {
      const how = this.#optionsFor(options)
      if (!options.restart) return await this.#transmit(peer, channel, data, how)
      this.#used = true
      return await this.#resends.send(peer, channel, data, how)
    } finally {
      this.#budget.release(data.length)
    }
  }

  async #sendUnreliable(peer: PeerId, channel: string, data: Uint8Array, options: AppSendOptions): Promise<Sent> {
    if (!this.#budget.takeUnreliable(data.length)) return { sent: false, number: 0, via: 'link' }
    try {
      return await this.#transmit(peer, channel, data, this.#optionsFor(options))
    } finally {
      this.#budget.releaseUnreliable(data.length)
    }
  }

  #transmit(peer: PeerId, channel: string, data: Uint8Array, options: SendOptions): Promise<Sent> {
    const there = this.#sessionTo(peer)
    if (there instanceof Promise) return there.then((session) => this.#sendIn(session, channel, data, options))
    return this.#sendIn(there, channel, data, options)
  }

  #sendIn(session: Session, channel: string, data: Uint8Array, options: SendOptions): Promise<Sent> {
    // A session must not learn of an app that it would never be told to forget.
    if (this.#connection.signal.aborted) return Promise.reject(new PartylineError('local.closed'))
    this.#used = true
    return session.send(channel, data, options)
  }

  /** The session to a peer. Who comes while it opens waits behind those who wait already. */
  #sessionTo(peer: PeerId): Session | Promise<Session> {
    const opening = this.#opening.get(peer)
    if (opening) return opening
    const session = this.#options.session(peer)
    if (session) return session
    const promise = this.#options.open(peer)
    const done = (): void => void this.#opening.delete(peer)
    promise.then(done, done)
    this.#opening.set(peer, promise)
    return promise
  }

  #optionsFor({ reliable = true, lane = 0, now = false, nodelay = false }: AppSendOptions): SendOptions {
    return { reliable, lane, now, nodelay, app: this.#connection.id }
  }

  #deliver(arrival: Arrival): void {
    const { message } = arrival
    const { reliable } = message
    const size = message.data.length
    if (!(reliable ? this.#hasRoom(size) : this.#hasRoomUnreliable(size))) {
      this.#options.refusals.count('peer.busy')
      return arrival.declined('peer.busy')
    }
    this.#count(reliable, 1, size)
    this.#connection.deliver(message).then(
      () => {
        this.#count(reliable, -1, -size)
        arrival.taken()
      },
      () => {
        this.#count(reliable, -1, -size)
        arrival.declined('peer.no-listener')
      },
    )
  }

  #hasRoom(size: number): boolean {
    const bytes = this.#undelivered + size
    return bytes <= LEAST_RECEIVE || bytes <= this.#options.appReceive()
  }

  #hasRoomUnreliable(size: number): boolean {
    return this.#unreliable < MAX_UNRELIABLE && this.#unreliableBytes + size <= MAX_UNRELIABLE_BYTES
  }

  #count(reliable: boolean, messages: number, bytes: number): void {
    if (reliable) {
      this.#undelivered += bytes
      return
    }
    this.#unreliable += messages
    this.#unreliableBytes += bytes
  }
}
