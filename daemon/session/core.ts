import { isErrorCode, PartylineError, toPartylineError } from '../errors.ts'
import type { Milliseconds } from '../types.ts'
import {
  type Control,
  decodeControl,
  encodeControl,
  FRAME,
  type Frame,
  FrameReader,
  FrameWriter,
  MAX_PAYLOAD,
} from './frame.ts'
import { type Arrived, MessageInbox } from './inbox.ts'
import { Outbox } from './outbox.ts'
import { RoundTrip } from './round-trip.ts'
import type { CloseReason } from './session.ts'

/** A peer that was silent for this long is asked whether it is there. */
export const KEEPALIVE: Milliseconds = 3000
/** A peer that was silent for this long is gone. */
export const DEAD_AFTER: Milliseconds = 9000
/** Pings that may be under way at a time. */
const MAX_PINGS = 64

/** What a core tells its owner. */
export interface CoreEvents {
  message(message: Arrived): void
  control(control: Exclude<Control, { kind: 'close' }>): void
  /** Once, when the session is over; output that is left may still be sent. */
  closed(reason: CloseReason): void
  /** There is output to take. */
  wake(): void
}

/** A session's protocol, free of I/O: bytes and a time in; bytes, events and the next deadline out. */
export class SessionCore {
  readonly #events: CoreEvents
  readonly #reader = new FrameReader()
  readonly #writer = new FrameWriter()
  readonly #outbox = new Outbox()
  readonly #inbox = new MessageInbox()
  readonly #roundTrip = new RoundTrip()
  readonly #pings = new Map<number, { at: Milliseconds; done: (rtt: Milliseconds) => void }>()
  #acknowledgements: Buffer[] = []
  #lastPing = 0
  #heard: Milliseconds
  #asked: Milliseconds
  #closed: CloseReason | undefined

  constructor(events: CoreEvents, now: Milliseconds) {
    this.#events = events
    this.#heard = now
    this.#asked = now
    this.ping(now, () => {})
  }

  get rtt(): Milliseconds | undefined {
    return this.#roundTrip.smoothed
  }

  get unacknowledged(): number {
    return this.#outbox.unacknowledgedBytes
  }

  get closed(): CloseReason | undefined {
    return this.#closed
  }

  /** When `tick` wants to be called next. */
  get deadline(): Milliseconds {
    return Math.min(Math.max(this.#heard, this.#asked) + KEEPALIVE, this.#heard + DEAD_AFTER)
  }

  /** Bytes off the link. Whatever they are, this does not throw: what is illegal ends the session. */
  receive(chunk: Buffer, now: Milliseconds): void {
    if (this.#closed) return
    this.#heard = now
    try {
      this.#reader.push(chunk, (frame) => this.#closed || this.#take(frame, now))
    } catch (error) {
      const { code, message } = toPartylineError(error)
      this.close({ code, message, by: 'local' })
    }
  }

  /** Sends a message. `done` is called once: without an error when an app at the peer has it. */
  send(message: Parameters<Outbox['add']>[0]): void {
    if (this.#closed) return message.done(endError(this.#closed))
    this.#outbox.add(message)
    this.#events.wake()
  }

  /** Tells the sender what became of its message: delivered, or refused with a code. */
  settle({ id, reliable }: Arrived, code = ''): void {
    if (!this.#inbox.settle(id) || !reliable || this.#closed) return
    const entry = Buffer.alloc(7 + code.length)
    entry.writeUIntBE(id, 0, 6)
    entry[6] = code.length
    entry.write(code, 7, 'latin1')
    this.#acknowledgements.push(entry)
    this.#events.wake()
  }

  control(control: Control): void {
    if (this.#closed) return
    this.#writeControl(control)
    this.#events.wake()
  }

  /** Measures a round trip; `done` may never be called if the session ends first. */
  ping(now: Milliseconds, done: (rtt: Milliseconds) => void): void {
    if (this.#pings.size >= MAX_PINGS) return
    const id = ++this.#lastPing
    this.#pings.set(id, { at: now, done })
    this.#asked = now
    const { buffer, at } = this.#writer.frame(FRAME.ping, 0, 0, 4)
    buffer.writeUInt32BE(id, at)
    this.#events.wake()
  }

  /** Ends the session; the peer is told unless it told us, or cannot be. */
  close(reason: CloseReason): void {
    if (this.#closed) return
    if (reason.by === 'local')
      this.#writeControl({ kind: 'close', code: reason.code, message: reason.message.slice(0, 200) })
    this.#closed = reason
    this.#outbox.fail(endError(reason))
    this.#events.closed(reason)
    this.#events.wake()
  }

  tick(now: Milliseconds): void {
    if (this.#closed) return
    if (now - this.#heard >= DEAD_AFTER)
      return this.close({
        code: 'network.lost',
        message: `nothing was heard for ${DEAD_AFTER / 1000} s`,
        by: 'network',
      })
    if (now - Math.max(this.#heard, this.#asked) >= KEEPALIVE) this.ping(now, () => {})
  }

  get hasOutput(): boolean {
    return this.#writer.length > 0 || this.#acknowledgements.length > 0 || (this.#outbox.ready && !this.#closed)
  }

  /** Bytes for the link: control first, then messages, about `limit` bytes in all. */
  takeOutput(limit: number): Buffer {
    this.#writeAcknowledgements()
    if (!this.#closed) this.#outbox.write(this.#writer, limit)
    return this.#writer.take()
  }

  #take(frame: Frame, now: Milliseconds): void {
    const { payload } = frame
    switch (frame.type) {
      case FRAME.message: {
        const message = this.#inbox.take(frame)
        if (message) this.#events.message(message)
        return
      }
      case FRAME.acknowledge:
        return this.#takeAcknowledgements(payload)
      case FRAME.ping:
      case FRAME.pong:
        if (payload.length !== 4) throw new PartylineError('peer.malformed', 'a ping of a wrong length')
        if (frame.type === FRAME.pong) return this.#takePong(payload.readUInt32BE(), now)
        payload.copy(...this.#room(FRAME.pong, 4))
        return this.#events.wake()
      case FRAME.control: {
        const control = decodeControl(payload)
        if (control.kind !== 'close') return this.#events.control(control)
        const code = isErrorCode(control.code) ? control.code : 'done'
        return this.close({ code, message: control.message, by: 'peer' })
      }
      default:
        throw new PartylineError('peer.malformed', `a frame of unknown type ${frame.type}`)
    }
  }

  #takePong(id: number, now: Milliseconds): void {
    const ping = this.#pings.get(id)
    if (!ping) return
    this.#pings.delete(id)
    this.#roundTrip.add(now - ping.at)
    ping.done(now - ping.at)
  }

  #takeAcknowledgements(payload: Buffer): void {
    let at = 0
    while (at + 7 <= payload.length) {
      const id = payload.readUIntBE(at, 6)
      const length = payload[at + 6] ?? 0
      const code = payload.toString('latin1', at + 7, at + 7 + length)
      at += 7 + length
      this.#outbox.acknowledge(
        id,
        length === 0 ? undefined : new PartylineError(isErrorCode(code) ? code : 'peer.busy'),
      )
    }
    if (at !== payload.length) throw new PartylineError('peer.malformed', 'acknowledgements of a wrong length')
    if (this.#outbox.ready) this.#events.wake()
  }

  #writeAcknowledgements(): void {
    const entries = this.#acknowledgements
    this.#acknowledgements = []
    for (let from = 0; from < entries.length; ) {
      let length = 0
      let to = from
      for (let next = entries[to]; next && length + next.length <= MAX_PAYLOAD; next = entries[++to])
        length += next.length
      const [buffer, start] = this.#room(FRAME.acknowledge, length)
      let at = start
      for (const entry of entries.slice(from, to)) at += entry.copy(buffer, at)
      from = to
    }
  }

  #writeControl(control: Control): void {
    const body = encodeControl(control)
    const [buffer, at] = this.#room(FRAME.control, body.length)
    buffer.set(body, at)
  }

  #room(type: number, length: number): [Buffer, number] {
    const { buffer, at } = this.#writer.frame(type, 0, 0, length)
    return [buffer, at]
  }
}

/** What those are told whose messages were not acknowledged when the session ended. */
function endError({ code, message, by }: CloseReason): PartylineError {
  if (by === 'network') return new PartylineError('network.lost', message)
  return new PartylineError(by === 'peer' ? 'peer.closed' : code === 'done' ? 'network.lost' : code, message)
}
