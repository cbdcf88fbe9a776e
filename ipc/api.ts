import type { Duplex } from 'node:stream'
import type { EventName, EventParams, METHODS, MethodName, ParsedParams, Result } from './methods.ts'

/** Methods that turn their connection into a raw byte stream. */
export type RawMethod = { [M in MethodName]: (typeof METHODS)[M] extends { raw: true } ? M : never }[MethodName]
export type PlainMethod = Exclude<MethodName, RawMethod | 'hello' | 'events.subscribe' | 'events.unsubscribe'>

/** A message to hand to an app; the server encodes `data` as the connection's encoding wants it. */
export interface MessageDelivery {
  readonly from: string
  readonly channel: string
  readonly data: Uint8Array
  readonly reliable: boolean
  readonly lane: number
  readonly number: number
  readonly via: 'link' | 'datagram'
  readonly at: number
}

/** A peer's first message, to an app that wants to be asked. */
export interface MessageRequest {
  readonly from: string
  readonly name: string
  readonly channel: string
  /** How long it stands, in milliseconds. */
  readonly expires: number
}

/** One connection of an app, as handlers see it. */
export interface Caller {
  /** Unique among the connections of this daemon's life. */
  readonly id: number
  /** What it called itself in `hello`. */
  readonly app: string
  /** True on the control socket. */
  readonly owner: boolean
  /** Whose it is. Users of one daemon do not see each other's channels, services and offers; a user's own daemon has one user. */
  readonly user: string
  /** Hands over a message; resolves when the system has taken all of it, rejects with `local.closed`. */
  deliver(message: MessageDelivery): Promise<void>
  /** Asks whether the app takes the messages of a peer. */
  request(request: MessageRequest): void
  /** Reads no more calls of the app, or goes on: it sends more than it may have on its way. */
  hold(on: boolean): void
  /** Aborted when the connection closes. */
  readonly signal: AbortSignal
}

/** What a raw method gives the server: the answer, and what to do with the connection after it was written. */
export interface RawAnswer<R> {
  readonly result: R
  /** Takes the connection over: `socket` yields the app's bytes, those sent behind the request included. */
  attach(socket: Duplex): void
  /** Called instead of `attach` when the app went away before the answer could be written. */
  abandon(): void
}

/** What the daemon implements: one handler a method. Thrown `PartylineError`s become error answers. */
export type Handlers = {
  readonly [M in PlainMethod]: (params: ParsedParams<M>, caller: Caller) => Promise<Result<M>> | Result<M>
} & {
  readonly [M in RawMethod]: (params: ParsedParams<M>, caller: Caller) => Promise<RawAnswer<Result<M>>>
}

/** Sends an event to every connection that subscribed to its topic; with a user, to those of that user and of the owner only. */
export type Publish = <E extends EventName>(event: E, params: EventParams<E>, user?: string) => void
