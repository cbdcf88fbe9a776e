import type { Clock, Timer } from '../../clock.ts'
import type { ErrorCode } from '../../errors.ts'
import { RecentSet } from '../../recent-set.ts'
import type { Refusals } from '../../refusals.ts'
import type { Milliseconds, PeerId } from '../../types.ts'
import type { Arrival } from './arrival.ts'
import type { WaitingRoom } from './waiting-room.ts'

/** Peers that one app has accepted, and refused; of more, those it decided on longest ago are asked about again. */
export const MAX_DECIDED = 4096
/** Requests that one app may have open. */
export const MAX_REQUESTS = 64
/** Messages of one peer that wait for an answer, and their bytes. */
export const MAX_WAITING_OF_PEER = 64
const MAX_BYTES_OF_PEER = 1024 * 1024

interface Request {
  readonly arrivals: Arrival[]
  readonly lapse: Timer
  bytes: number
}

interface RequestsOptions {
  readonly clock: Clock
  readonly refusals: Refusals
  readonly room: WaitingRoom
  /** How long a request stands. */
  readonly requestFor: () => Milliseconds
  /** Tells the app of a request. */
  readonly announce: (peer: PeerId, channel: string, expires: Milliseconds) => void
  /** Hands a message to the app. */
  readonly deliver: (arrival: Arrival) => void
}

/** Whose messages one app takes, where it wants to be asked: a peer's first message is a request, and waits with what follows it. */
export class Requests {
  readonly #options: RequestsOptions
  readonly #accepted = new RecentSet<PeerId>(MAX_DECIDED)
  readonly #refused = new RecentSet<PeerId>(MAX_DECIDED)
  readonly #open = new Map<PeerId, Request>()

  constructor(options: RequestsOptions) {
    this.#options = options
  }

  /** A message for a channel on which the app wants to be asked. */
  take(arrival: Arrival): void {
    const { from, channel, data } = arrival.message
    if (this.#accepted.has(from)) return this.#options.deliver(arrival)
    if (this.#refused.has(from)) return this.#decline(arrival, 'peer.not-accepted')
    const request = this.#open.get(from) ?? this.#begin(from, channel)
    if (
      !request ||
      request.arrivals.length >= MAX_WAITING_OF_PEER ||
      request.bytes + data.length > MAX_BYTES_OF_PEER ||
      !this.#options.room.enter(data.length)
    )
      return this.#decline(arrival, 'peer.busy')
    request.arrivals.push(arrival)
    request.bytes += data.length
  }

  /** The app takes the peer's messages from now on; what waits is delivered in order. */
  accept(peer: PeerId): void {
    if (this.#accepted.has(peer)) return
    this.#refused.delete(peer)
    this.#accepted.add(peer)
    for (const arrival of this.#end(peer)) this.#options.deliver(arrival)
  }

  /** The app takes none of the peer's messages from now on. */
  refuse(peer: PeerId): void {
    this.#accepted.delete(peer)
    this.#refused.add(peer)
    this.drop(peer, 'peer.not-accepted')
  }

  /** Ends the request of a peer without a decision: what waits is declined. */
  drop(peer: PeerId, code: ErrorCode): void {
    for (const arrival of this.#end(peer)) this.#decline(arrival, code)
  }

  /** The app does not listen to this channel any more. */
  dropChannel(channel: string): void {
    for (const request of this.#open.values()) {
      const leaving = request.arrivals.filter(({ message }) => message.channel === channel)
      if (leaving.length === 0) continue
      const staying = request.arrivals.filter(({ message }) => message.channel !== channel)
      request.arrivals.splice(0, request.arrivals.length, ...staying)
      for (const arrival of leaving) {
        request.bytes -= arrival.message.data.length
        this.#options.room.leave(arrival.message.data.length)
        arrival.declined('peer.no-listener')
      }
    }
  }

  /** The app is gone. */
  close(): void {
    for (const peer of [...this.#open.keys()]) this.drop(peer, 'peer.no-listener')
  }

  #begin(peer: PeerId, channel: string): Request | undefined {
    if (this.#open.size >= MAX_REQUESTS) return undefined
    const { clock, requestFor, announce } = this.#options
    const expires = requestFor()
    const lapse = clock.after(expires, () => this.drop(peer, 'peer.not-accepted'))
    const request: Request = { arrivals: [], bytes: 0, lapse }
    this.#open.set(peer, request)
    announce(peer, channel, expires)
    return request
  }

  #end(peer: PeerId): readonly Arrival[] {
    const request = this.#open.get(peer)
    if (!request) return []
    this.#open.delete(peer)
    request.lapse.cancel()
    for (const { message } of request.arrivals) this.#options.room.leave(message.data.length)
    return request.arrivals
  }

  #decline(arrival: Arrival, code: ErrorCode): void {
    this.#options.refusals.count(code)
    arrival.declined(code)
  }
}
