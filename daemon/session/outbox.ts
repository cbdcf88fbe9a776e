import { PartylineError } from '../errors.ts'
import { FLAG, FRAME, type FrameWriter, PIECE } from './frame.ts'

/** Unacknowledged bytes and messages of one channel, and of a session; what is over waits. The peer bears twice as much (`inbox.ts`). */
const CHANNEL_BYTES = 1024 * 1024
const CHANNEL_MESSAGES = 1024
const SESSION_BYTES = 4 * 1024 * 1024
const SESSION_MESSAGES = 4096
/** Unreliable messages that wait for the link; what is over is dropped. */
const UNRELIABLE_BYTES = 1024 * 1024
const UNRELIABLE_MESSAGES = 4096
/** Messages that may wait for a window, in all. */
export const MAX_WAITING = 8192

/** A message on its way. `done` is called once: without an error when an app at the peer has it. */
interface Outgoing {
  readonly id: number
  readonly channel: Buffer
  readonly key: string
  readonly lane: number
  readonly data: Uint8Array
  readonly reliable: boolean
  readonly done: (error?: PartylineError) => void
  sent: number
}

interface Window {
  bytes: number
  messages: number
  readonly waiting: Outgoing[]
}

/** Messages to send: windows per channel, lanes that take turns, and who still has to be told what became of theirs. */
export class Outbox {
  /** By lane: messages inside their window, of which the first may be under way. */
  readonly #lanes = new Map<number, Outgoing[]>()
  readonly #windows = new Map<string, Window>()
  readonly #unacknowledged = new Map<number, Outgoing>()
  #bytes = 0
  #waiting = 0
  #queued = 0
  #unreliable = 0
  #unreliableBytes = 0
  #lastId = 0

  get unacknowledgedBytes(): number {
    return this.#bytes
  }

  /** True while messages wait for their window or for the peer's word. */
  get busy(): boolean {
    return this.#unacknowledged.size > 0 || this.#waiting > 0
  }

  /** True when there is something to write. */
  get ready(): boolean {
    return this.#queued > 0
  }

  add(message: { channel: string; data: Uint8Array; lane: number; reliable: boolean; done: Outgoing['done'] }): void {
    const outgoing: Outgoing = {
      ...message,
      id: ++this.#lastId,
      channel: Buffer.from(message.channel),
      key: message.channel,
      sent: 0,
    }
    if (!message.reliable) return this.#addUnreliable(outgoing)
    const window = this.#windowOf(outgoing.key)
    if (window.waiting.length === 0 && this.#fits(window, outgoing)) return this.#admit(window, outgoing)
    if (this.#waiting >= MAX_WAITING) {
      this.#forgetIfUnused(window, outgoing.key)
      return message.done(new PartylineError('local.limit', `${MAX_WAITING} messages to this peer are waiting already`))
    }
    this.#waiting++
    window.waiting.push(outgoing)
  }

  /** Writes pieces, a lane after the other, until there are `limit` bytes or no more. */
  write(writer: FrameWriter, limit: number): void {
    while (this.#queued > 0 && writer.length < limit)
      for (const [lane, queue] of this.#lanes) this.#writePiece(writer, lane, queue)
  }

  /** The peer's word on a message; undefined code means delivered. Unknown ids are ignored: their session may be older. */
  acknowledge(id: number, error: PartylineError | undefined): void {
    const outgoing = this.#unacknowledged.get(id)
    if (!outgoing || outgoing.sent < outgoing.data.length) return
    this.#unacknowledged.delete(id)
    const window = this.#windowOf(outgoing.key)
    window.bytes -= outgoing.data.length
    window.messages--
    this.#bytes -= outgoing.data.length
    this.#refill(window, outgoing.key)
    outgoing.done(error)
  }

  /** The session is over: everyone who waits for a word gets this one. */
  fail(error: PartylineError): void {
    const waiting = [...this.#windows.values()].flatMap((window) => window.waiting)
    const queued = [...this.#lanes.values()].flat().filter(({ reliable }) => !reliable)
    const all = [...this.#unacknowledged.values(), ...waiting, ...queued]
    for (const table of [this.#unacknowledged, this.#windows, this.#lanes]) table.clear()
    this.#bytes = 0
    this.#waiting = 0
    this.#queued = 0
    for (const { done } of all) done(error)
  }

  #fits(window: Window, { data }: Outgoing): boolean {
    return (
      this.#unacknowledged.size < SESSION_MESSAGES &&
      window.messages < CHANNEL_MESSAGES &&
      window.bytes + data.length <= CHANNEL_BYTES &&
      this.#bytes + data.length <= SESSION_BYTES
    )
  }

  #admit(window: Window, outgoing: Outgoing): void {
    window.bytes += outgoing.data.length
    window.messages++
    this.#bytes += outgoing.data.length
    this.#unacknowledged.set(outgoing.id, outgoing)
    this.#enqueue(outgoing)
  }

  #addUnreliable(outgoing: Outgoing): void {
    const { data, done } = outgoing
    if (this.#unreliable >= UNRELIABLE_MESSAGES || this.#unreliableBytes + data.length > UNRELIABLE_BYTES) return done()
    this.#unreliable++
    this.#unreliableBytes += data.length
    this.#enqueue(outgoing)
  }

  #enqueue(outgoing: Outgoing): void {
    const queue = this.#lanes.get(outgoing.lane)
    if (queue) queue.push(outgoing)
    else this.#lanes.set(outgoing.lane, [outgoing])
    this.#queued++
  }

  /** Room came free: those who wait for this channel first, then for others that only the session's bytes held back. */
  #refill(freed: Window, key: string): void {
    this.#release(freed)
    this.#forgetIfUnused(freed, key)
    if (this.#waiting > freed.waiting.length) for (const window of this.#windows.values()) this.#release(window)
  }

  #forgetIfUnused({ messages, waiting }: Window, key: string): void {
    if (messages === 0 && waiting.length === 0) this.#windows.delete(key)
  }

  #release(window: Window): void {
    for (let next = window.waiting[0]; next && this.#fits(window, next); next = window.waiting[0]) {
      window.waiting.shift()
      this.#waiting--
      this.#admit(window, next)
    }
  }

  #windowOf(channel: string): Window {
    const known = this.#windows.get(channel)
    if (known) return known
    const window = { bytes: 0, messages: 0, waiting: [] }
    this.#windows.set(channel, window)
    return window
  }

  #writePiece(writer: FrameWriter, lane: number, queue: Outgoing[]): void {
    const [message] = queue
    if (!message) return
    const { id, data, channel } = message
    const first = message.sent === 0
    const piece = data.subarray(message.sent, message.sent + PIECE)
    message.sent += piece.length
    const last = message.sent === data.length
    const head = first ? 11 + channel.length : 6
    const flags = (first ? FLAG.first : 0) | (last ? FLAG.last : 0) | (message.reliable ? FLAG.reliable : 0)
    const { buffer, at } = writer.frame(FRAME.message, flags, lane, head + piece.length)
    buffer.writeUIntBE(id, at, 6)
    if (first) {
      buffer.writeUInt32BE(data.length, at + 6)
      buffer[at + 10] = channel.length
      channel.copy(buffer, at + 11)
    }
    buffer.set(piece, at + head)
    if (!last) return
    queue.shift()
    this.#queued--
    if (queue.length === 0) this.#lanes.delete(lane)
    if (message.reliable) return
    this.#unreliable--
    this.#unreliableBytes -= data.length
    message.done()
  }
}
