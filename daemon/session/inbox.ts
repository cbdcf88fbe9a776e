import { PartylineError } from '../errors.ts'
import { FLAG, type Frame } from './frame.ts'
import { MAX_LANE, MAX_MESSAGE, MAX_NAME } from './session.ts'

/** What a peer may have outstanding here: its own windows are smaller, so only a broken or hostile one gets here. */
const MAX_BYTES = 16 * 1024 * 1024
const MAX_MESSAGES = 16_384

/** A message that has arrived whole. */
export interface Arrived {
  readonly id: number
  readonly channel: string
  readonly data: Uint8Array
  readonly reliable: boolean
  readonly lane: number
  /** Number in its lane, from 1. */
  readonly number: number
}

interface Partial extends Arrived {
  readonly data: Buffer
  filled: number
}

/** Bytes before the channel's name in a first piece: id 6, length of the message 4, number in its lane 6, length of the name 1. */
export const FIRST_HEAD = 17
/** Bytes before the content of a further piece: id. */
export const NEXT_HEAD = 6

/** Puts messages together, and bounds what is not yet settled. */
export class MessageInbox {
  readonly #partial = new Map<number, Partial>()
  /** Sizes of the messages that are neither delivered nor refused, by id. */
  readonly #unsettled = new Map<number, number>()
  #channel = ''
  #channelBytes: Buffer = Buffer.alloc(0)
  #bytes = 0

  /** Takes a piece; returns the message that it completes. Throws `peer.malformed` or `peer.oversized`. */
  take({ flags, lane, payload }: Frame): Arrived | undefined {
    if (payload.length < NEXT_HEAD || lane > MAX_LANE)
      throw new PartylineError('peer.malformed', 'a message frame is too short, or its lane too high')
    const id = payload.readUIntBE(0, 6)
    const first = (flags & FLAG.first) !== 0
    const partial = first ? this.#begin(id, flags, lane, payload) : this.#partial.get(id)
    if (!partial) throw new PartylineError('peer.malformed', 'a piece of a message that never began')
    const from = first ? FIRST_HEAD + (payload[FIRST_HEAD - 1] ?? 0) : NEXT_HEAD
    const { data, filled } = partial
    if (filled + payload.length - from > data.length)
      throw new PartylineError('peer.malformed', 'a message is longer than it said')
    // A whole message in one piece is copied too: the receive buffer it lies in must not be kept alive by it.
    partial.filled += payload.copy(data, filled, from)
    if (!(flags & FLAG.last)) {
      if (first) this.#partial.set(id, partial)
      return undefined
    }
    if (partial.filled !== data.length) throw new PartylineError('peer.malformed', 'a message is shorter than it said')
    if (!first) this.#partial.delete(id)
    return partial
  }

  /** True while messages are neither delivered nor refused. */
  get busy(): boolean {
    return this.#unsettled.size > 0
  }

  /** The message was delivered or refused; false when it was settled before. */
  settle(id: number): boolean {
    const size = this.#unsettled.get(id)
    if (size === undefined) return false
    this.#unsettled.delete(id)
    this.#bytes -= size
    return true
  }

  #begin(id: number, flags: number, lane: number, payload: Buffer): Partial {
    const channelLength = payload[FIRST_HEAD - 1] ?? 0
    if (payload.length < FIRST_HEAD + channelLength || channelLength === 0)
      throw new PartylineError('peer.malformed', 'a message has no channel')
    if (channelLength > MAX_NAME) throw new PartylineError('peer.oversized', "a channel's name is too long")
    const total = payload.readUInt32BE(6)
    if (total > MAX_MESSAGE) throw new PartylineError('peer.oversized', `a message of ${total} bytes`)
    if (this.#unsettled.has(id)) throw new PartylineError('peer.malformed', 'two messages of one number')
    if (this.#bytes + total > MAX_BYTES || this.#unsettled.size >= MAX_MESSAGES)
      throw new PartylineError('peer.oversized', 'more messages outstanding than the windows allow')
    this.#unsettled.set(id, total)
    this.#bytes += total
    return {
      id,
      channel: this.#channelOf(payload, channelLength),
      data: Buffer.allocUnsafe(total),
      reliable: (flags & FLAG.reliable) !== 0,
      lane,
      number: payload.readUIntBE(10, 6),
      filled: 0,
    }
  }

  /** Most messages have the channel of the one before: its name is not decoded again. */
  #channelOf(payload: Buffer, length: number): string {
    const same = this.#channelBytes
    if (same.length !== length || payload.compare(same, 0, length, FIRST_HEAD, FIRST_HEAD + length) !== 0) {
      this.#channelBytes = Buffer.from(payload.subarray(FIRST_HEAD, FIRST_HEAD + length))
      this.#channel = this.#channelBytes.toString('utf8')
    }
    return this.#channel
  }
}
