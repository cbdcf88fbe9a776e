import type { Socket } from 'node:net'
import type { Clock, Timer } from '../clock.ts'
import { PartylineError } from '../errors.ts'
import type { TokenBucket } from '../token-bucket.ts'
import type { Milliseconds } from '../types.ts'
import { GOODBYE, LanStream, type LanStreamEvents, type LanStreamOptions } from './lan-stream.ts'

/** Bytes that may wait for the other side to read them. */
const MAX_UNSENT = 256 * 1024
/** With more than this waiting, signals are dropped. */
const CONGESTED = MAX_UNSENT / 2
/** Messages that may wait for a receipt. */
const MAX_RECEIPTS = 64
/** Time for a receipt to come. */
export const RECEIPT: Milliseconds = 10_000

/** What a connection tells its owner. */
export interface LanConnectionEvents
  extends Pick<LanStreamEvents, 'asked' | 'chat' | 'composing' | 'signal' | 'refused'> {
  /** It may be used: both headers are there, and the proof of a Partyline host. */
  ready(): void
  /** Once: the stream is over; the socket may last a moment longer. */
  closed(error: PartylineError | undefined): void
  /** Once: the socket is closed as well. */
  gone(): void
}

interface LanConnectionOptions {
  readonly socket: Socket
  readonly clock: Clock
  readonly stream: LanStreamOptions
  /** Bytes that are read, of all streams with the same address together. */
  readonly incoming: TokenBucket
}

/** A serverless stream on its socket. */
export class LanConnection {
  readonly stream: LanStream
  readonly #socket: Socket
  readonly #clock: Clock
  readonly #events: LanConnectionEvents
  readonly #incoming: TokenBucket
  readonly #receipts = new Map<string, (error?: PartylineError) => void>()
  readonly #ready = Promise.withResolvers<void>()
  #written: Promise<boolean> = Promise.resolve(true)
  #timer: { readonly at: Milliseconds; readonly timer: Timer } | undefined
  /** While nothing is read: the other side sent too much, or nobody has decided yet who it is. */
  #rest: Timer | undefined
  #isUndecided = false
  #isOver = false

  constructor({ socket, clock, stream, incoming }: LanConnectionOptions, events: LanConnectionEvents) {
    this.#socket = socket
    this.#clock = clock
    this.#events = events
    this.#incoming = incoming
    // Whoever waits is told; nobody has to.
    this.#ready.promise.catch(() => {})
    this.stream = new LanStream(
      stream,
      {
        write: (xml) => this.#write(xml),
        asked: (from) => {
          this.#isUndecided = true
          socket.pause()
          events.asked(from)
        },
        opened: () => this.#checkReady(),
        proven: () => this.#checkReady(),
        chat: (text, id) => events.chat(text, id),
        composing: (composing) => events.composing(composing),
        receipt: (id) => this.#receipts.get(id)?.(),
        undelivered: (id) =>
          this.#receipts.get(id)?.(new PartylineError('policy.refused', 'the message was sent back')),
        signal: (sealed) => events.signal(sealed),
        refused: (code) => events.refused(code),
        closed: (error) => this.#closed(error),
      },
      clock.now(),
    )
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('end', () => this.stream.lost())
    socket.on('close', () => {
      this.stream.lost()
      this.#timer?.timer.cancel()
      this.#rest?.cancel()
      events.gone()
    })
    socket.on('data', (bytes: Uint8Array) => this.#receive(bytes))
    this.stream.start()
    this.#schedule()
  }

  get isReady(): boolean {
    return this.stream.isReady
  }

  /** Resolves when it may be used; rejects with `network.timeout`, or why there is no stream. */
  get ready(): Promise<void> {
    return this.#ready.promise
  }

  admit(instance: string, peer: LanStreamOptions['identity']['peer'] | undefined): void {
    this.stream.admit({ instance, peer }, this.#clock.now())
    this.#isUndecided = false
    this.#readOn()
    this.#schedule()
  }

  refuse(): void {
    this.stream.refuse()
  }

  /**
   * Sends a message. Resolves when it is with the system or, where `receipt`, with the other side. Rejects with `network.lost`,
   * `network.timeout`, `policy.refused`, and `peer.busy` when too many wait for their receipts.
   */
  async sendChat(text: string, id: string, receipt: boolean): Promise<void> {
    if (!this.isReady) throw new PartylineError('network.lost')
    if (!receipt) {
      this.stream.sendChat(text, id, this.#clock.now())
      if (!(await this.#written)) throw new PartylineError('network.lost')
      return
    }
    if (this.#receipts.size >= MAX_RECEIPTS) throw new PartylineError('peer.busy')
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const tooLate = this.#clock.after(RECEIPT, () => {
      this.#receipts.get(id)?.(new PartylineError('network.timeout', 'no receipt came in time'))
      // Nobody answers: the next message shall find another way.
      this.end()
    })
    this.#receipts.set(id, (error) => {
      this.#receipts.delete(id)
      tooLate.cancel()
      if (error) reject(error)
      else resolve()
    })
    this.stream.sendChat(text, id, this.#clock.now())
    return promise
  }

  sendChatState(composing: boolean): void {
    this.stream.sendChatState(composing, this.#clock.now())
  }

  sendSignal(sealed: Uint8Array): void {
    if (this.#socket.writableLength < CONGESTED) this.stream.sendSignal(sealed, this.#clock.now())
  }

  /** Ends the stream gracefully. */
  end(): void {
    this.stream.end(this.#clock.now())
    this.#schedule()
  }

  #receive(bytes: Uint8Array): void {
    const now = this.#clock.now()
    this.stream.receive(bytes, now)
    this.#schedule()
    this.#incoming.use(bytes.length, now)
    const wait = this.#incoming.wait(now)
    if (wait === 0 || this.#isOver) return
    this.#socket.pause()
    this.#rest?.cancel()
    this.#rest = this.#clock.after(wait, () => {
      this.#rest = undefined
      this.#readOn()
    })
  }

  #readOn(): void {
    if (!this.#rest && !this.#isUndecided) this.#socket.resume()
  }

  #checkReady(): void {
    if (!this.stream.isReady) return
    this.#ready.resolve()
    this.#events.ready()
  }

  #write(xml: string): void {
    const socket = this.#socket
    if (!socket.writable) return
    this.#written = new Promise((resolve) => socket.write(xml, (error) => resolve(!error)))
    if (socket.writableLength <= MAX_UNSENT) return
    this.#events.refused('peer.slow-reader')
    socket.destroy()
  }

  #closed(error: PartylineError | undefined): void {
    if (this.#isOver) return
    this.#isOver = true
    const reason = error ?? new PartylineError('network.lost', 'the other side ended the stream')
    this.#ready.reject(
      reason.code === 'peer.handshake-timeout'
        ? new PartylineError('network.timeout', 'no stream came in time')
        : reason,
    )
    for (const settle of [...this.#receipts.values()]) settle(new PartylineError('network.lost', reason.message))
    // What still comes is read and dropped, so that the other side can finish.
    this.#rest?.cancel()
    this.#socket.end()
    this.#socket.resume()
    this.#timer?.timer.cancel()
    this.#timer = { at: 0, timer: this.#clock.after(GOODBYE, () => this.#socket.destroy()) }
    this.#events.closed(error)
  }

  #schedule(): void {
    const { deadline } = this.stream
    if (deadline === undefined || this.#isOver || (this.#timer && this.#timer.at <= deadline)) return
    this.#timer?.timer.cancel()
    const timer = this.#clock.after(deadline - this.#clock.now(), () => {
      this.#timer = undefined
      this.stream.tick(this.#clock.now())
      this.#schedule()
    })
    this.#timer = { at: deadline, timer }
  }
}
