import { type ErrorCode, isErrorCode, PartylineError, toPartylineError } from '../errors.ts'
import type { Milliseconds } from '../types.ts'
import {
  type Control,
  decodeControl,
  encodeControl,
  FLAG,
  FRAME,
  type Frame,
  FrameReader,
  FrameWriter,
} from './frame.ts'
import { type Arrived, MessageInbox } from './inbox.ts'
import { type Message, Outbox } from './outbox.ts'
import { Pace } from './pace.ts'
import type { CloseReason, LaneConfig } from './session.ts'
import type { LaneStatistics } from './statistics.ts'
import { UnconfirmedBytes } from './unconfirmed.ts'

/** A peer that was silent for this long is asked whether it is there. */
export const KEEPALIVE: Milliseconds = 3000
/** While messages go, the round trip is measured this often. */
const MEASURE: Milliseconds = 2000
/** A link that was silent for this long is dead. */
export const DEAD_AFTER: Milliseconds = 9000
/** Keepalives in a row without an answer, each given `KEEPALIVE`, after which a link is dead. */
const MAX_UNANSWERED = DEAD_AFTER / KEEPALIVE - 1
/** How long a link may take to answer whose network has changed under it. */
const DOUBT: Milliseconds = 1000
/** Pings that may be under way at a time. */
const MAX_PINGS = 64
/** Runs of acknowledgements in one frame. */
const MAX_ACKNOWLEDGEMENTS = 512
/** Answers that may wait for the link, in bytes; only who asks much and reads little gets here. */
const MAX_ANSWERS = 1024 * 1024
/** Bytes that the peer has not confirmed; nothing but confirmations is written above that. */
const MAX_UNCONFIRMED = 10 * 1024 * 1024
/** How long an acknowledgement may wait for a message to go with, where one usually follows; a round trip then takes one write each way less. */
const COMPANY: Milliseconds = 1
/** How many replies in a row make it worth the wait, and how many acknowledgements go at once after a wait in vain. */
const REPLIES_WANTED = 4
const AFTER_VAIN = -32
/** Runs of acknowledgements that may wait. */
const MAX_WAITING_RUNS = 64
/** After so many bytes the peer is told what has arrived, asked or not. */
const CONFIRM_AFTER = 64 * 1024

/** What a core tells its owner. */
export interface CoreEvents {
  message(message: Arrived): void
  control(control: Exclude<Control, { kind: 'close' }>): void
  /** A measurement of the round trip. */
  roundTrip(sample: Milliseconds): void
  /** The link is dead: nobody answered. */
  silent(): void
  /** Once, when the session is over; output that is left may still be sent. */
  closed(reason: CloseReason): void
  /** There is output to take. */
  wake(): void
}

/** Called once: with the round trip, or undefined when the answer never came. */
type PingDone = (rtt: Milliseconds | undefined) => void

/** Messages in a row with one fate. */
interface Settled {
  readonly first: number
  count: number
  readonly code: string
}

/** What waits to be written ahead of messages. */
type Urgent =
  | { readonly type: typeof FRAME.ping; readonly id: number }
  | { readonly type: typeof FRAME.pong; readonly id: number }
  | { readonly type: typeof FRAME.control; readonly body: Uint8Array }

const PING_SIZE = 10

/**
 * A session's protocol, free of I/O: bytes and a time in; bytes, events and the next deadline out. All it writes is one sequence of bytes, from
 * the first to the last link: what the peer has not confirmed is kept, and a new link begins with what the peer lacks. So nothing above these
 * bytes, messages, their acknowledgements and control alike, can be lost, doubled or come out of order, whatever happens to links.
 */
export class SessionCore {
  readonly #events: CoreEvents
  readonly #writer: FrameWriter
  readonly #reader = new FrameReader()
  readonly #outbox = new Outbox()
  readonly #inbox = new MessageInbox()
  readonly #unconfirmed = new UnconfirmedBytes()
  readonly #pace = new Pace()
  readonly #pings = new Map<number, { at: Milliseconds; done: PingDone }>()
  #urgent: Urgent[] = []
  #urgentBytes = 0
  #settled: Settled[] = []
  /** Acknowledgements wait until then for company. */
  #companyUntil = Number.POSITIVE_INFINITY
  /** When the last acknowledgement was due, and how many in a row were followed by a message at once. */
  #settledAt = Number.NEGATIVE_INFINITY
  #replies = 0
  #lastPing = 0
  #attached = true
  #heard: Milliseconds
  /** When a keepalive was last sent, and how many were since something was heard. */
  #asked: Milliseconds
  #unanswered = 0
  /** When the round trip was measured last, and whether messages went since. */
  #pinged: Milliseconds = 0
  #isUsed = false
  /** Until when the link has to prove that it works, after its network changed. */
  #doubtedUntil = Number.POSITIVE_INFINITY
  /** Small messages wait for others until then. */
  #gatheringUntil = Number.POSITIVE_INFINITY
  /** Bytes received in all, and of these, how many the peer knows of. */
  #received = 0
  #told = 0
  /** The peer asked to be told: now, since it waits for that, or with company until then. */
  #isAsked = false
  #confirmUntil = Number.POSITIVE_INFINITY
  #closed: CloseReason | undefined

  /** One `writer` may serve many cores: nothing stays in it between calls. */
  constructor(events: CoreEvents, now: Milliseconds, writer = new FrameWriter()) {
    this.#events = events
    this.#writer = writer
    this.#heard = now
    this.#asked = now
    this.ping(now, () => {})
  }

  get unacknowledged(): number {
    return this.#outbox.unacknowledgedBytes
  }

  get queued(): number {
    return this.#outbox.queuedBytes
  }

  lanes(now: Milliseconds): LaneStatistics[] {
    return this.#outbox.lanes(now)
  }

  /** True while a message waits for somebody's word, here or at the peer. */
  get busy(): boolean {
    return this.#outbox.busy || this.#inbox.busy
  }

  get closed(): CloseReason | undefined {
    return this.#closed
  }

  /** Bytes received so far: where the peer has to go on after a new link. */
  get received(): number {
    return this.#received
  }

  /** When `tick` wants to be called next. */
  get deadline(): Milliseconds {
    if (!this.#attached) return this.#gatheringUntil
    const silence = Math.max(this.#heard, this.#asked) + KEEPALIVE
    const next = this.#isUsed ? Math.min(silence, this.#pinged + MEASURE) : silence
    return Math.min(next, this.#doubtedUntil, this.#gatheringUntil, this.#companyUntil, this.#confirmUntil)
  }

  /** Bytes off the link. Whatever they are, this does not throw: what is illegal ends the session. */
  receive(chunk: Buffer, now: Milliseconds): void {
    if (this.#closed) return
    this.#heard = now
    this.#unanswered = 0
    this.#doubtedUntil = Number.POSITIVE_INFINITY
    this.#received += chunk.length
    try {
      this.#reader.push(chunk, (frame) => this.#closed || this.#take(frame, now))
      // An acknowledgement takes 9 bytes and a code.
      if (this.#urgentBytes + this.#settled.length * 32 > MAX_ANSWERS)
        throw new PartylineError('peer.oversized', 'the peer asks for more answers than it reads')
    } catch (error) {
      const { code, message } = toPartylineError(error)
      this.close({ code, message, by: 'local' })
    }
    if (this.#received - this.#told >= CONFIRM_AFTER) this.#events.wake()
  }

  /** The link is gone. What the peer may not have had is kept. */
  detach(): void {
    this.#attached = false
    this.#doubtedUntil = Number.POSITIVE_INFINITY
    this.#dropPings(() => true)
  }

  /**
   * A new link: the peer has `has` bytes of ours. Returns what it lacks, to be written first. Throws `peer.malformed` when that cannot be:
   * the session cannot go on then.
   */
  attach(has: number, now: Milliseconds): readonly Buffer[] {
    const lacks = this.#unconfirmed.after(has)
    this.#pace.restart(has)
    this.#attached = true
    this.#heard = now
    this.#asked = now
    this.#unanswered = 0
    // What the peer was told may be lost with the link; it learned it with the new one.
    this.#told = this.#received
    this.#isAsked = false
    this.#confirmUntil = Number.POSITIVE_INFINITY
    this.ping(now, () => {})
    return lacks
  }

  /** The network changed under the link: it has to answer soon, or it is dead. */
  doubt(now: Milliseconds): void {
    if (!this.#attached || this.#closed || this.#doubtedUntil < Number.POSITIVE_INFINITY) return
    this.#doubtedUntil = now + DOUBT
    this.ping(now, () => {})
  }

  configure(app: number, lanes: readonly LaneConfig[]): void {
    this.#outbox.configure(app, lanes)
  }

  forget(app: number): void {
    this.#outbox.forget(app)
  }

  /** Numbers a message that goes another way. */
  number(app: number, lane: number): number {
    return this.#outbox.number(app, lane)
  }

  /** Sends a message, `gather` later at most; returns its number in its lane, 0 when it was not taken. */
  send(message: Message, now: Milliseconds, gather: Milliseconds = 0): number {
    if (this.#closed) {
      message.done(endError(this.#closed))
      return 0
    }
    if (now - this.#settledAt <= COMPANY && this.#replies < REPLIES_WANTED) this.#replies++
    this.#settledAt = Number.NEGATIVE_INFINITY
    this.#isUsed = true
    const number = this.#outbox.add(message, now)
    if (gather === 0 || this.#outbox.queuedBytes >= 1200) this.flush()
    else this.#gatheringUntil = Math.min(this.#gatheringUntil, now + gather)
    return number
  }

  /** Sends what was gathered. */
  flush(): void {
    this.#gatheringUntil = Number.POSITIVE_INFINITY
    this.#events.wake()
  }

  /** Tells the sender what became of its message: delivered, or refused with a code. */
  settle({ id, reliable }: Arrived, now: Milliseconds, code = ''): void {
    if (!this.#inbox.settle(id) || !reliable || this.#closed) return
    const last = this.#settled.at(-1)
    if (last && last.code === code && last.first + last.count === id && last.count < 0xffff) last.count++
    else this.#settled.push({ first: id, count: 1, code })
    this.#settledAt = now
    if (this.#replies < REPLIES_WANTED || this.#settled.length >= MAX_WAITING_RUNS) return this.#acknowledge()
    if (this.#companyUntil === Number.POSITIVE_INFINITY) this.#companyUntil = now + COMPANY
  }

  #acknowledge(): void {
    this.#companyUntil = Number.POSITIVE_INFINITY
    this.#events.wake()
  }

  control(control: Control): void {
    if (this.#closed) return
    this.#pushUrgent({ type: FRAME.control, body: encodeControl(control) })
    this.#events.wake()
  }

  /** Measures a round trip; false when too many are under way already, there is no link, or the session is over. */
  ping(now: Milliseconds, done: PingDone): boolean {
    if (this.#closed || !this.#attached || this.#pings.size >= MAX_PINGS) return false
    // An id has 32 bits.
    this.#lastPing = (this.#lastPing + 1) >>> 0
    this.#pinged = now
    this.#isUsed = false
    this.#pings.set(this.#lastPing, { at: now, done })
    this.#pushUrgent({ type: FRAME.ping, id: this.#lastPing })
    this.#events.wake()
    return true
  }

  /** Ends the session; the peer is told unless it told us, or cannot be. */
  close(reason: CloseReason): void {
    if (this.#closed) return
    if (reason.by === 'local') {
      const body = encodeControl({ kind: 'close', code: reason.code, message: reason.message.slice(0, 200) })
      this.#pushUrgent({ type: FRAME.control, body })
    }
    this.#closed = reason
    this.#outbox.fail(endError(reason))
    this.#dropPings(() => true)
    this.#events.closed(reason)
    this.#events.wake()
  }

  tick(now: Milliseconds): void {
    if (this.#closed) return
    if (now >= this.#gatheringUntil) this.flush()
    if (now >= this.#companyUntil) {
      this.#replies = AFTER_VAIN
      this.#acknowledge()
    }
    if (now >= this.#confirmUntil) {
      this.#confirmUntil = Number.POSITIVE_INFINITY
      this.#isAsked = true
      this.#events.wake()
    }
    this.#dropPings(({ at }) => now - at >= DEAD_AFTER)
    if (!this.#attached) return
    if (now >= this.#doubtedUntil) return this.#events.silent()
    if (this.#isUsed && now >= this.#pinged + MEASURE) this.ping(now, () => {})
    if (now < Math.max(this.#heard, this.#asked) + KEEPALIVE) return
    // Counted in questions, not in time alone: a machine that slept has asked nobody, and finds its peers where they were.
    if (this.#unanswered >= MAX_UNANSWERED) return this.#events.silent()
    this.#unanswered++
    this.#asked = now
    this.ping(now, () => {})
  }

  get hasOutput(): boolean {
    if (!this.#attached) return false
    if (this.#isAsked || this.#received - this.#told >= CONFIRM_AFTER) return true
    if (this.#unconfirmed.size >= MAX_UNCONFIRMED) return false
    if (this.#urgent.length > 0) return true
    if (this.#settled.length > 0 && this.#companyUntil === Number.POSITIVE_INFINITY) return true
    return !this.#closed && this.#gatheringUntil === Number.POSITIVE_INFINITY && this.#isOpen && this.#outbox.ready
  }

  /** Bytes for the link: control first, then messages, about `limit` bytes in all. The buffer does not change any more. */
  takeOutput(limit: number, now: Milliseconds): Buffer {
    const isAsked = this.#isAsked || this.#confirmUntil < Number.POSITIVE_INFINITY
    if (isAsked || this.#received - this.#told >= CONFIRM_AFTER) this.#writeConfirm()
    if (this.#unconfirmed.size < MAX_UNCONFIRMED) {
      // What an app here has must not be told lost: the peer reads nothing behind a goodbye.
      this.#writeSettled()
      this.#writeUrgent()
      if (!this.#closed && this.#gatheringUntil === Number.POSITIVE_INFINITY) this.#writeMessages(limit, now)
      const isLimited = this.#unconfirmed.size + this.#writer.length >= this.#pace.window
      if (this.#pace.sent(this.#unconfirmed.end + this.#writer.length, now, isLimited))
        this.#writer.frame(FRAME.mark, isLimited || this.#outbox.ready ? FLAG.waits : 0, 0, 0)
    }
    const output = this.#writer.take()
    if (output.length > 0) this.#unconfirmed.push(output)
    return output
  }

  get #isOpen(): boolean {
    return this.#unconfirmed.size < this.#pace.window
  }

  #writeMessages(limit: number, now: Milliseconds): void {
    const room = this.#pace.window - this.#unconfirmed.size
    if (room <= 0) return
    this.#outbox.write(
      this.#writer,
      Math.min(limit, this.#writer.length + Math.min(room, this.#pace.burst)),
      this.#pace.piece,
      now,
    )
  }

  #take(frame: Frame, now: Milliseconds): void {
    const { payload } = frame
    switch (frame.type) {
      case FRAME.message: {
        const message = this.#inbox.take(frame)
        this.#isUsed = true
        if (message) this.#events.message(message)
        return
      }
      case FRAME.acknowledge:
        return this.#takeAcknowledgements(payload)
      case FRAME.ping:
      case FRAME.pong: {
        if (payload.length !== PING_SIZE) throw new PartylineError('peer.malformed', 'a ping of a wrong length')
        const id = payload.readUInt32BE()
        this.#confirm(payload.readUIntBE(4, 6), now)
        if (frame.type === FRAME.pong) return this.#takePong(id, now)
        this.#pushUrgent({ type: FRAME.pong, id })
        return this.#events.wake()
      }
      case FRAME.confirm:
        if (payload.length !== 6) throw new PartylineError('peer.malformed', 'a confirmation of a wrong length')
        return this.#confirm(payload.readUIntBE(0, 6), now)
      case FRAME.mark:
        if (frame.flags & FLAG.waits) {
          this.#isAsked = true
          return this.#events.wake()
        }
        this.#confirmUntil = Math.min(this.#confirmUntil, now + COMPANY)
        return
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

  #confirm(total: number, now: Milliseconds): void {
    this.#unconfirmed.confirm(total)
    this.#pace.confirmed(total, now)
    if (this.#outbox.ready) this.#events.wake()
  }

  #takePong(id: number, now: Milliseconds): void {
    const ping = this.#pings.get(id)
    if (!ping) return
    this.#pings.delete(id)
    this.#pace.roundTrip(now - ping.at, now)
    this.#events.roundTrip(now - ping.at)
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
    while (at + 9 <= payload.length) {
      const first = payload.readUIntBE(at, 6)
      const count = payload.readUInt16BE(at + 6)
      const length = payload[at + 8] ?? 0
      const code = payload.toString('latin1', at + 9, at + 9 + length)
      at += 9 + length
      this.#outbox.acknowledge(first, count, length === 0 ? undefined : new PartylineError(refusalCode(code)))
    }
    if (at !== payload.length) throw new PartylineError('peer.malformed', 'acknowledgements of a wrong length')
    if (this.#outbox.ready) this.#events.wake()
  }

  #pushUrgent(urgent: Urgent): void {
    this.#urgent.push(urgent)
    this.#urgentBytes += urgent.type === FRAME.control ? urgent.body.length + 64 : 64
  }

  #writeConfirm(): void {
    this.#isAsked = false
    this.#confirmUntil = Number.POSITIVE_INFINITY
    this.#told = this.#received
    const at = this.#writer.frame(FRAME.confirm, 0, 0, 6)
    this.#writer.buffer.writeUIntBE(this.#received, at, 6)
  }

  #writeUrgent(): void {
    const urgent = this.#urgent
    if (urgent.length === 0) return
    this.#urgent = []
    this.#urgentBytes = 0
    for (const item of urgent) {
      if (item.type === FRAME.control) {
        const at = this.#writer.frame(item.type, 0, 0, item.body.length)
        this.#writer.buffer.set(item.body, at)
        continue
      }
      // Who pings also hears how far the other got: a quiet session keeps next to nothing.
      this.#told = this.#received
      const at = this.#writer.frame(item.type, 0, 0, PING_SIZE)
      this.#writer.buffer.writeUInt32BE(item.id, at)
      this.#writer.buffer.writeUIntBE(this.#received, at + 4, 6)
    }
  }

  #writeSettled(): void {
    const entries = this.#settled
    if (entries.length === 0) return
    this.#settled = []
    this.#companyUntil = Number.POSITIVE_INFINITY
    for (let from = 0; from < entries.length; from += MAX_ACKNOWLEDGEMENTS) {
      const some = entries.slice(from, from + MAX_ACKNOWLEDGEMENTS)
      const length = some.reduce((sum, { code }) => sum + 9 + code.length, 0)
      let at = this.#writer.frame(FRAME.acknowledge, 0, 0, length)
      const { buffer } = this.#writer
      for (const { first, count, code } of some) {
        buffer.writeUIntBE(first, at, 6)
        buffer.writeUInt16BE(count, at + 6)
        buffer[at + 8] = code.length
        buffer.write(code, at + 9, 'latin1')
        at += 9 + code.length
      }
    }
  }
}

/** A peer says no for reasons of its own; what it says of this host is not believed. */
function refusalCode(code: string): ErrorCode {
  return isErrorCode(code) && (code.startsWith('peer.') || code.startsWith('policy.')) ? code : 'peer.busy'
}

/** What those are told whose messages were not acknowledged when the session ended. */
function endError({ code, message, by }: CloseReason): PartylineError {
  if (by === 'network') return new PartylineError(code === 'done' ? 'network.lost' : code, message)
  return new PartylineError(by === 'peer' ? 'peer.closed' : code === 'done' ? 'network.lost' : code, message)
}
