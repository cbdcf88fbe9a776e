import { type ErrorCode, isErrorCode, PartylineError, toPartylineError } from '../errors.ts'
import type { Milliseconds } from '../types.ts'
import { type Control, decodeControl, encodeControl, FRAME, type Frame, FrameReader, FrameWriter } from './frame.ts'
import { type Arrived, MessageInbox } from './inbox.ts'
import { Outbox } from './outbox.ts'
import { RoundTrip } from './round-trip.ts'
import type { CloseReason } from './session.ts'

/** A peer that was silent for this long is asked whether it is there. */
export const KEEPALIVE: Milliseconds = 3000
/** A peer that was silent for this long is gone. */
export const DEAD_AFTER: Milliseconds = 9000
/** Keepalives in a row without an answer, each given `KEEPALIVE`, after which a peer is gone. */
const MAX_UNANSWERED = DEAD_AFTER / KEEPALIVE - 1
/** Pings that may be under way at a time. */
const MAX_PINGS = 64
/** Acknowledgements in one frame. */
const MAX_ACKNOWLEDGEMENTS = 512
/** Answers that may wait for the link, in bytes; only who asks much and reads little gets here. */
const MAX_ANSWERS = 1024 * 1024

/** What a core tells its owner. */
export interface CoreEvents {
  message(message: Arrived): void
  control(control: Exclude<Control, { kind: 'close' }>): void
  /** Once, when the session is over; output that is left may still be sent. */
  closed(reason: CloseReason): void
  /** There is output to take. */
  wake(): void
}

/** Called once: with the round trip, or undefined when the answer never came. */
type PingDone = (rtt: Milliseconds | undefined) => void

/** A session's protocol, free of I/O: bytes and a time in; bytes, events and the next deadline out. */
export class SessionCore {
  readonly #events: CoreEvents
  readonly #reader = new FrameReader()
  readonly #writer = new FrameWriter()
  readonly #outbox = new Outbox()
  readonly #inbox = new MessageInbox()
  readonly #roundTrip = new RoundTrip()
  readonly #pings = new Map<number, { at: Milliseconds; done: PingDone }>()
  #acknowledgements: { id: number; code: string }[] = []
  #lastPing = 0
  #heard: Milliseconds
  /** When a keepalive was last sent, and how many were since something was heard. */
  #asked: Milliseconds
  #unanswered = 0
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

  /** True while a message waits for somebody's word, here or at the peer. */
  get busy(): boolean {
    return this.#outbox.busy || this.#inbox.busy
  }

  get closed(): CloseReason | undefined {
    return this.#closed
  }

  /** When `tick` wants to be called next. */
  get deadline(): Milliseconds {
    return Math.max(this.#heard, this.#asked) + KEEPALIVE
  }

  /** Bytes off the link. Whatever they are, this does not throw: what is illegal ends the session. */
  receive(chunk: Buffer, now: Milliseconds): void {
    if (this.#closed) return
    this.#heard = now
    this.#unanswered = 0
    try {
      this.#reader.push(chunk, (frame) => this.#closed || this.#take(frame, now))
      // An acknowledgement takes 7 bytes and a code.
      if (this.#writer.length + this.#acknowledgements.length * 32 > MAX_ANSWERS)
        throw new PartylineError('peer.oversized', 'the peer asks for more answers than it reads')
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
    this.#acknowledgements.push({ id, code })
    this.#events.wake()
  }

  control(control: Control): void {
    if (this.#closed) return
    this.#writeControl(control)
    this.#events.wake()
  }

  /** Measures a round trip; false when too many are under way already, or the session is over. */
  ping(now: Milliseconds, done: PingDone): boolean {
    if (this.#closed || this.#pings.size >= MAX_PINGS) return false
    // An id has 32 bits.
    this.#lastPing = (this.#lastPing + 1) >>> 0
    const id = this.#lastPing
    this.#pings.set(id, { at: now, done })
    const { buffer, at } = this.#writer.frame(FRAME.ping, 0, 0, 4)
    buffer.writeUInt32BE(id, at)
    this.#events.wake()
    return true
  }

  /** Ends the session; the peer is told unless it told us, or cannot be. */
  close(reason: CloseReason): void {
    if (this.#closed) return
    if (reason.by === 'local') {
      // What an app here has must not be told lost: the peer reads nothing behind the goodbye.
      this.#writeAcknowledgements()
      this.#writeControl({ kind: 'close', code: reason.code, message: reason.message.slice(0, 200) })
    }
    this.#closed = reason
    this.#acknowledgements = []
    this.#outbox.fail(endError(reason))
    this.#dropPings(() => true)
    this.#events.closed(reason)
    this.#events.wake()
  }

  tick(now: Milliseconds): void {
    if (this.#closed) return
    this.#dropPings(({ at }) => now - at >= DEAD_AFTER)
    if (now < this.deadline) return
    // Counted in questions, not in time alone: a machine that slept has asked nobody, and finds its peers where they were.
    if (this.#unanswered >= MAX_UNANSWERED)
      return this.close({ code: 'network.lost', message: `no answer for ${DEAD_AFTER / 1000} s`, by: 'network' })
    this.#unanswered++
    this.#asked = now
    this.ping(now, () => {})
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

  #dropPings(isLost: (ping: { at: Milliseconds }) => boolean): void {
    for (const [id, ping] of this.#pings) {
      if (!isLost(ping)) continue
      this.#pings.delete(id)
      ping.done(undefined)
    }
  }

  #takeAcknowledgements(payload: Buffer): void {
    let at = 0
    while (at + 7 <= payload.length) {
      const id = payload.readUIntBE(at, 6)
      const length = payload[at + 6] ?? 0
      const code = payload.toString('latin1', at + 7, at + 7 + length)
      at += 7 + length
      this.#outbox.acknowledge(id, length === 0 ? undefined : new PartylineError(refusalCode(code)))
    }
    if (at !== payload.length) throw new PartylineError('peer.malformed', 'acknowledgements of a wrong length')
    if (this.#outbox.ready) this.#events.wake()
  }

  #writeAcknowledgements(): void {
    const entries = this.#acknowledgements
    this.#acknowledgements = []
    for (let from = 0; from < entries.length; from += MAX_ACKNOWLEDGEMENTS) {
      const some = entries.slice(from, from + MAX_ACKNOWLEDGEMENTS)
      const length = some.reduce((sum, { code }) => sum + 7 + code.length, 0)
      const [buffer, start] = this.#room(FRAME.acknowledge, length)
      let at = start
      for (const { id, code } of some) {
        buffer.writeUIntBE(id, at, 6)
        buffer[at + 6] = code.length
        buffer.write(code, at + 7, 'latin1')
        at += 7 + code.length
      }
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

/** A peer says no for reasons of its own; what it says of this host is not believed. */
function refusalCode(code: string): ErrorCode {
  return isErrorCode(code) && (code.startsWith('peer.') || code.startsWith('policy.')) ? code : 'peer.busy'
}

/** What those are told whose messages were not acknowledged when the session ended. */
function endError({ code, message, by }: CloseReason): PartylineError {
  if (by === 'network') return new PartylineError('network.lost', message)
  return new PartylineError(by === 'peer' ? 'peer.closed' : code === 'done' ? 'network.lost' : code, message)
}
