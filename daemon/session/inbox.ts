import { PartylineError } from '../errors.ts'
import { FLAG, type Frame } from './frame.ts'
import { MAX_LANE, MAX_MESSAGE, MAX_NAME } from './session.ts'

/** What a peer may have outstanding here: its own windows are smaller, so only a broken or hostile one gets here. */
const MAX_BYTES = 8 * 1024 * 1024
const MAX_MESSAGES = 8192

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

interface Partial {
  readonly channel: string
  readonly data: Buffer
  readonly reliable: boolean
  readonly lane: number
  filled: number
}

/** Puts messages together, and bounds what is not yet settled. */
export class MessageInbox {
  readonly #partial = new Map<number, Partial>()
  readonly #unsettled = new Map<number, number>()
  readonly #numbers = new Map<number, number>()
  #bytes = 0

  /** Takes a piece; returns the message that it completes. Throws `peer.malformed` or `peer.oversized`. */
  take({ flags, lane, payload }: Frame): Arrived | undefined {
    if (payload.length < 6 || lane > MAX_LANE)
      throw new PartylineError('peer.malformed', 'a message frame is too short, or its lane too high')
    const id = payload.readUIntBE(0, 6)
    const partial = flags & FLAG.first ? this.#begin(id, flags, lane, payload) : this.#partial.get(id)
    if (!partial) throw new PartylineError('peer.malformed', 'a piece of a message that never began')
    const piece = flags & FLAG.first ? payload.subarray(11 + (payload[10] ?? 0)) : payload.subarray(6)
    if (partial.filled + piece.length > partial.data.length)
      throw new PartylineError('peer.malformed', 'a message is longer than it said')
    partial.data.set(piece, partial.filled)
    partial.filled += piece.length
    if (!(flags & FLAG.last)) return undefined
    if (partial.filled !== partial.data.length)
      throw new PartylineError('peer.malformed', 'a message is shorter than it said')
    this.#partial.delete(id)
    const number = (this.#numbers.get(lane) ?? 0) + 1
    this.#numbers.set(lane, number)
    const { channel, data, reliable } = partial
    return { id, channel, data, reliable, lane, number }
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
    const channelLength = payload[10] ?? 0
    if (payload.length < 11 + channelLength || channelLength === 0)
      throw new PartylineError('peer.malformed', 'a message has no channel')
    if (channelLength > MAX_NAME) throw new PartylineError('peer.oversized', "a channel's name is too long")
    const total = payload.readUInt32BE(6)
    if (total > MAX_MESSAGE) throw new PartylineError('peer.oversized', `a message of ${total} bytes`)
    if (this.#unsettled.has(id)) throw new PartylineError('peer.malformed', 'two messages of one number')
    if (this.#bytes + total > MAX_BYTES || this.#unsettled.size >= MAX_MESSAGES)
      throw new PartylineError('peer.oversized', 'more messages outstanding than the windows allow')
    this.#unsettled.set(id, total)
    this.#bytes += total
    const partial: Partial = {
      channel: payload.toString('utf8', 11, 11 + channelLength),
      // A whole message in one piece is copied too: the receive buffer it lies in must not be kept alive by it.
      data: Buffer.allocUnsafe(total),
      reliable: (flags & FLAG.reliable) !== 0,
      lane,
      filled: 0,
    }
    this.#partial.set(id, partial)
    return partial
  }
}
