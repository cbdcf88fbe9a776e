import type { Milliseconds } from '../../types.ts'
import { FIRST_CHANNEL, LAST_CHANNEL } from './channel-data.ts'

/** How long a channel is bound at the server (RFC 8656 section 12), and when it is bound again. */
const LIFETIME: Milliseconds = 600_000
const REFRESH: Milliseconds = 450_000
/** How long after its end neither its number nor its peer may be bound otherwise. */
const QUARANTINE: Milliseconds = 300_000
/** When a server that did not answer, or refused, is asked again. */
const RETRY: Milliseconds = 60_000
const MIDDLE_CHANNEL = (FIRST_CHANNEL + LAST_CHANNEL + 1) / 2

/** Two hosts that are clients and servers of each other share the numbers. */
export type ChannelRange = 'all' | 'lower' | 'upper'

/** A channel of a peer. */
export interface Channel<Peer> {
  readonly number: number
  readonly peer: Peer
  /** Until when it surely is bound. */
  until: Milliseconds
  /** When it may be asked for; infinite while that is under way. */
  askAt: Milliseconds
  /** When its number may go to another peer, as far as is known. */
  freeAt: Milliseconds
}

/**
 * The numbers of one relay's channels (RFC 8656 section 12): 0x4000 to 0x4fff, which are 4,096, fewer than RFC 5766 had. A number belongs to
 * its peer until five minutes after the server may have forgotten it.
 */
export class Channels<Peer extends object> {
  readonly #channels = new Map<number, Channel<Peer>>()
  readonly #first: number
  readonly #last: number
  #next: number

  constructor(range: ChannelRange = 'all') {
    this.#first = range === 'upper' ? MIDDLE_CHANNEL : FIRST_CHANNEL
    this.#last = range === 'lower' ? MIDDLE_CHANNEL - 1 : LAST_CHANNEL
    this.#next = this.#first
  }

  get size(): number {
    return this.#channels.size
  }

  get(number: number): Channel<Peer> | undefined {
    return this.#channels.get(number)
  }

  /** A number for a peer that has none; undefined while all are taken. */
  open(peer: Peer, now: Milliseconds): Channel<Peer> | undefined {
    if (this.#channels.size > this.#last - this.#first) return undefined
    while (this.#channels.has(this.#next)) this.#advance()
    const channel = { number: this.#next, peer, until: 0, askAt: now, freeAt: Number.POSITIVE_INFINITY }
    this.#channels.set(channel.number, channel)
    this.#advance()
    return channel
  }

  asked(channel: Channel<Peer>): void {
    channel.askAt = Number.POSITIVE_INFINITY
    channel.freeAt = Number.POSITIVE_INFINITY
  }

  /** `asked`: when the request left; the server counts from some moment between that and now. */
  bound(channel: Channel<Peer>, asked: Milliseconds, now: Milliseconds): void {
    channel.until = asked + LIFETIME
    channel.askAt = asked + REFRESH
    channel.freeAt = now + LIFETIME + QUARANTINE
  }

  /** The server refused, or did not answer: it may have bound it even so. */
  failed(channel: Channel<Peer>, now: Milliseconds): void {
    channel.askAt = now + RETRY
    channel.freeAt = now + LIFETIME + QUARANTINE
  }

  /** What was under way is asked for again: no answer to it will be understood. */
  forgetAsked(now: Milliseconds): void {
    for (const channel of this.#channels.values()) {
      if (channel.askAt !== Number.POSITIVE_INFINITY) continue
      channel.askAt = now
      channel.freeAt = now + LIFETIME + QUARANTINE
    }
  }

  /** Takes back the numbers that may go to others; returns those who had them. */
  sweep(now: Milliseconds): readonly Peer[] {
    const free = [...this.#channels.values()].filter(({ freeAt }) => now >= freeAt)
    for (const { number } of free) this.#channels.delete(number)
    return free.map(({ peer }) => peer)
  }

  #advance(): void {
    this.#next = this.#next === this.#last ? this.#first : this.#next + 1
  }
}
