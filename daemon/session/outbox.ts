import { PartylineError } from '../errors.ts'
import type { Milliseconds } from '../types.ts'
import { FLAG, FRAME, type FrameWriter } from './frame.ts'
import { FIRST_HEAD, NEXT_HEAD } from './inbox.ts'
import { type Lane, Lanes, type Outgoing } from './lanes.ts'
import type { LaneConfig } from './session.ts'
import type { LaneStatistics } from './statistics.ts'

/** Unacknowledged bytes and messages of one lane, and of a session; what is over waits. The peer bears twice as much (`inbox.ts`). */
const LANE_BYTES = 2 * 1024 * 1024
const LANE_MESSAGES = 4096
const SESSION_BYTES = 8 * 1024 * 1024
const SESSION_MESSAGES = 8192
/** Unreliable messages that wait for the link; what is over is dropped. */
const UNRELIABLE_BYTES = 1024 * 1024
const UNRELIABLE_MESSAGES = 4096
/** How long an unreliable message may wait to leave. */
export const UNRELIABLE_PATIENCE: Milliseconds = 200
/** Reliable messages that may wait, in all. */
export const MAX_WAITING = 16_384

/** What is to be sent; see `Outgoing`. */
export interface Message {
  readonly app: number
  readonly lane: number
  readonly channel: string
  readonly data: Uint8Array
  readonly reliable: boolean
  /** Unreliable only: how long it may wait to leave. */
  readonly patience?: Milliseconds
  readonly done: Outgoing['done']
}

/** Messages to send: lanes that take turns, windows, and who still has to be told what became of theirs. */
export class Outbox {
  readonly #lanes = new Lanes()
  readonly #unacknowledged = new Map<number, Outgoing>()
  #bytes = 0
  #waiting = 0
  #queuedBytes = 0
  #unreliable = 0
  #unreliableBytes = 0
  #lastId = 0
  /** The channel named last, as bytes: most messages have the same. */
  #channel = ''
  #channelBytes = Buffer.alloc(0)

  get unacknowledgedBytes(): number {
    return this.#bytes
  }

  /** Bytes that wait, sent or not. */
  get queuedBytes(): number {
    return this.#queuedBytes + this.#unreliableBytes
  }

  /** True while messages wait, or the peer's word on them is awaited. */
  get busy(): boolean {
    return this.#unacknowledged.size > 0 || this.#waiting > 0
  }

  /** True when there is something that may be written. */
  get ready(): boolean {
    return this.#lanes.next(this.#isReady) !== undefined
  }

  configure(app: number, lanes: readonly LaneConfig[]): void {
    this.#lanes.configure(app, lanes)
  }

  /** Queues a message; returns its number in its lane, or 0 when it was dropped or refused, which `done` tells. */
  add(message: Message, now: Milliseconds): number {
    const lane = this.#lanes.of(message.app, message.lane)
    const { data, reliable, done } = message
    if (reliable && this.#waiting >= MAX_WAITING) {
      done(new PartylineError('local.limit', `${MAX_WAITING} messages to this peer are waiting already`))
      return 0
    }
    const isFull = this.#unreliable >= UNRELIABLE_MESSAGES || this.#unreliableBytes + data.length > UNRELIABLE_BYTES
    if (!reliable && isFull) {
      done(DROPPED)
      return 0
    }
    const outgoing: Outgoing = {
      id: 0,
      lane,
      channel: this.#channelOf(message.channel),
      data,
      reliable,
      number: this.number(message.app, message.lane),
      at: now,
      until: now + (message.patience ?? UNRELIABLE_PATIENCE),
      done,
      sentBytes: 0,
    }
    if (reliable) {
      lane.reliable.push(outgoing)
      lane.reliableBytes += data.length
      this.#queuedBytes += data.length
      this.#waiting++
    } else {
      lane.unreliable.push(outgoing)
      lane.unreliableBytes += data.length
      this.#unreliableBytes += data.length
      this.#unreliable++
    }
    this.#lanes.activate(lane)
    return outgoing.number
  }

  /** The next number of a lane, for a message that goes another way. */
  number(app: number, index: number): number {
    const lane = this.#lanes.of(app, index)
    lane.sent++
    return ++lane.number
  }

  /** Writes pieces of at most `piece` bytes, lane by lane, until there are `limit` bytes or no more. `mark` is set on the last. */
  write(writer: FrameWriter, limit: number, piece: number, now: Milliseconds): void {
    while (writer.length < limit) {
      const lane = this.#lanes.next(this.#isReady)
      if (!lane) return
      this.#writePiece(writer, lane, piece, now)
    }
  }

  /** The peer's word on messages in a row; without an error they were delivered. Throws `peer.malformed` for any that is not with it. */
  acknowledge(first: number, count: number, error: PartylineError | undefined): void {
    for (let id = first; id < first + count; id++) {
      const outgoing = this.#unacknowledged.get(id)
      if (!outgoing || outgoing.sentBytes < outgoing.data.length)
        throw new PartylineError('peer.malformed', 'an acknowledgement of a message that is not there')
      this.#unacknowledged.delete(id)
      const { lane, data } = outgoing
      lane.unacknowledgedBytes -= data.length
      lane.unacknowledgedMessages--
      this.#bytes -= data.length
      outgoing.done(error)
    }
  }

  /** The app is gone: what it has not begun to send is dropped. */
  forget(app: number): void {
    for (const lane of this.#lanes.forget(app)) {
      const left = this.#lanes.empty(lane, true)
      for (const message of left) this.#uncount(message)
      for (const { done } of left) done(new PartylineError('local.closed'))
    }
  }

  /** The session is over: everyone who waits for a word gets this one. */
  fail(error: PartylineError): void {
    const all = new Set([...this.#unacknowledged.values(), ...this.#lanes.clear()])
    this.#unacknowledged.clear()
    this.#bytes = 0
    this.#waiting = 0
    this.#queuedBytes = 0
    this.#unreliable = 0
    this.#unreliableBytes = 0
    for (const { done, reliable } of all) done(reliable ? error : DROPPED)
  }

  /** What every lane has. */
  lanes(now: Milliseconds): LaneStatistics[] {
    return Array.from(this.#lanes.all(), (lane) => ({
      app: lane.app,
      lane: lane.index,
      priority: lane.priority,
      weight: lane.weight,
      queuedReliable: lane.reliableBytes,
      queuedUnreliable: lane.unreliableBytes,
      unacknowledged: lane.unacknowledgedBytes,
      queueTime: now - Math.min(lane.reliable.first?.at ?? now, lane.unreliable.first?.at ?? now),
      sent: lane.sent,
    }))
  }

  readonly #isReady = (lane: Lane): boolean => {
    if (lane.unreliable.length > 0) return true
    const next = lane.reliable.first
    if (!next) return false
    return (
      next.sentBytes > 0 ||
      next.id > 0 ||
      (this.#unacknowledged.size < SESSION_MESSAGES &&
        lane.unacknowledgedMessages < LANE_MESSAGES &&
        lane.unacknowledgedBytes + next.data.length <= LANE_BYTES &&
        this.#bytes + next.data.length <= SESSION_BYTES)
    )
  }

  #channelOf(name: string): Buffer {
    if (name !== this.#channel) {
      this.#channel = name
      this.#channelBytes = Buffer.from(name)
    }
    return this.#channelBytes
  }

  #writePiece(writer: FrameWriter, lane: Lane, size: number, now: Milliseconds): void {
    // A message that has begun goes on: the one of the other kind waits for its end.
    const isReliable = (lane.reliable.first?.sentBytes ?? 0) > 0 || lane.unreliable.length === 0
    const message = isReliable ? lane.reliable.first : lane.unreliable.first
    if (!message) return
    const { data, channel, reliable } = message
    if (!reliable && message.sentBytes === 0 && message.until < now) {
      this.#take(lane, message)
      this.#lanes.wrote(lane, 0)
      return message.done(DROPPED)
    }
    const first = message.id === 0
    if (first) this.#begin(lane, message)
    const length = Math.min(size, data.length - message.sentBytes)
    const last = message.sentBytes + length === data.length
    const head = first ? FIRST_HEAD + channel.length : NEXT_HEAD
    const flags = (first ? FLAG.first : 0) | (last ? FLAG.last : 0) | (reliable ? FLAG.reliable : 0)
    const at = writer.frame(FRAME.message, flags, lane.index, head + length)
    const { buffer } = writer
    buffer.writeUIntBE(message.id, at, 6)
    if (first) {
      buffer.writeUInt32BE(data.length, at + 6)
      buffer.writeUIntBE(message.number, at + 10, 6)
      buffer[at + 16] = channel.length
      buffer.set(channel, at + FIRST_HEAD)
    }
    buffer.set(length === data.length ? data : data.subarray(message.sentBytes, message.sentBytes + length), at + head)
    message.sentBytes += length
    if (last) this.#take(lane, message)
    this.#lanes.wrote(lane, head + length)
    if (last && !reliable) message.done()
  }

  #begin(lane: Lane, message: Outgoing): void {
    message.id = ++this.#lastId
    if (!message.reliable) return
    this.#unacknowledged.set(message.id, message)
    lane.unacknowledgedBytes += message.data.length
    lane.unacknowledgedMessages++
    this.#bytes += message.data.length
  }

  /** It has left, or will not: its place in the queue is free. */
  #take(lane: Lane, message: Outgoing): void {
    if (message.reliable) {
      lane.reliable.shift()
      lane.reliableBytes -= message.data.length
    } else {
      lane.unreliable.shift()
      lane.unreliableBytes -= message.data.length
    }
    this.#uncount(message)
  }

  #uncount({ reliable, data }: Outgoing): void {
    if (reliable) {
      this.#queuedBytes -= data.length
      this.#waiting--
    } else {
      this.#unreliableBytes -= data.length
      this.#unreliable--
    }
  }
}

/** What `done` gets for an unreliable message that was dropped before it left. */
export const DROPPED = new PartylineError('local.limit', 'dropped before it left')
