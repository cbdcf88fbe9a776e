import { EventEmitter } from 'node:events'
import type { TLSSocket } from 'node:tls'
import type { Clock, Timer } from '../clock.ts'
import { type Allowance, TokenBucket } from '../token-bucket.ts'
import type { Milliseconds } from '../types.ts'
import { XmlError } from '../xmpp/xml-error.ts'

/** Looks through the bytes of one XMPP stream. */
export interface Guard {
  /** Throws where the bytes hold what no XMPP stream may (`XmlError`), text that is no UTF-8 among it. */
  push(bytes: Uint8Array): void
}

/** What one client may do. */
export interface ClientLimits {
  /** Bytes a client may send. */
  readonly bytes: Allowance
  /** Stanzas a client may send; one that makes the hub send much counts for more (see `charge`). */
  readonly stanzas: Allowance
  /** Bytes a client may send before it has logged in. */
  readonly beforeLogIn: number
  /** Bytes that may wait for a client to read them, for longer than `patience`. */
  readonly unsent: number
  readonly patience: Milliseconds
  /** Silence after which a client is asked whether it is there; when it must have answered after that. */
  readonly idle: Milliseconds
  readonly answer: Milliseconds
  /** Time a client has to close its side once we have closed ours. */
  readonly goodbye: Milliseconds
}

export const CLIENT_LIMITS: ClientLimits = {
  bytes: { rate: 64 * 1024, burst: 256 * 1024 },
  stanzas: { rate: 20, burst: 100 },
  beforeLogIn: 16 * 1024,
  unsent: 256 * 1024,
  patience: 2000,
  idle: 60_000,
  answer: 30_000,
  goodbye: 2000,
}

/** Bytes the hub sends for one token of a client's stanzas. */
const BYTES_PER_TOKEN = 4096

/** The parser is fed at most so much at a time, so that a client whose tokens are gone is stopped a few stanzas later. */
const MAX_SLICE = 4096
const TAG_ENDS_PER_SLICE = 8
const TAG_END = 0x3e

interface ClientStreamOptions {
  readonly socket: TLSSocket
  readonly clock: Clock
  readonly limits: ClientLimits
  /** A guard for a stream that begins. */
  readonly guard: () => Guard
  /** Bytes that may wait for a client at any moment: a newcomer is sent everyone's presence at once. */
  readonly maxUnsent: () => number
  /** What was refused; the reader of this stream ends it. */
  readonly onViolation: (error: unknown) => void
  /** The client reads too slowly, and has been cut off. */
  readonly onSlow: () => void
  /** The client has been silent; when nothing comes, it is cut off. */
  readonly onIdle: () => void
}

/**
 * One client's connection as `node-xmpp-server` uses a socket, with the limits in between: what comes is held against the rates and the
 * guard before it is emitted as `data` (text), and who does not read what is written is cut off.
 */
export class ClientStream extends EventEmitter {
  readonly #options: ClientStreamOptions
  readonly #decoder = new TextDecoder('utf-8', { ignoreBOM: true })
  #guard: Guard
  #bytes: TokenBucket
  #stanzas: TokenBucket
  #pending: Buffer = Buffer.alloc(0)
  #beforeLogIn: number
  #loggedIn = false
  #held = false
  #pumping = false
  #ended = false
  #heardAt: Milliseconds
  #rest: Timer | undefined
  #slow: Timer | undefined
  #silence: Timer | undefined
  #leave: Timer | undefined

  constructor(options: ClientStreamOptions) {
    super()
    this.#options = options
    const { socket, clock, limits, guard } = options
    const now = clock.now()
    this.#guard = guard()
    this.#bytes = new TokenBucket(limits.bytes, now)
    this.#stanzas = new TokenBucket(limits.stanzas, now)
    this.#beforeLogIn = limits.beforeLogIn
    this.#heardAt = now
    this.#listen(limits.idle)
    socket.on('data', (chunk: Buffer) => this.#take(chunk))
    socket.on('drain', () => this.emit('drain'))
    socket.on('error', () => socket.destroy())
    socket.once('end', () => {
      this.emit('end')
      this.end()
    })
    socket.once('close', () => {
      this.#ended = true
      for (const timer of [this.#rest, this.#slow, this.#silence, this.#leave]) timer?.cancel()
      this.#pending = Buffer.alloc(0)
      this.emit('close')
    })
  }

  get writable(): boolean {
    return !this.#ended && this.#options.socket.writable
  }

  write(text: string): boolean {
    if (!this.writable) return false
    const { socket, clock, limits, maxUnsent } = this.#options
    // Everything for a client that comes of one event leaves in one piece: everyone's presence is many small stanzas.
    if (socket.writableCorked === 0) {
      socket.cork()
      process.nextTick(() => socket.uncork())
    }
    const flushed = socket.write(text)
    if (socket.writableLength > maxUnsent()) this.#cutOff()
    else if (socket.writableLength > limits.unsent)
      this.#slow ??= clock.after(limits.patience, () => {
        this.#slow = undefined
        if (socket.writableLength > limits.unsent) this.#cutOff()
      })
    return flushed
  }

  /** Closes our side, and everything soon after. What still comes is not read. */
  end(): void {
    if (this.#ended) return
    this.#ended = true
    const { socket, clock, limits } = this.#options
    socket.end()
    socket.resume()
    this.#leave = clock.after(limits.goodbye, () => socket.destroy())
  }

  destroy(): void {
    this.#options.socket.destroy()
  }

  /** Nothing is read until `release`. */
  hold(): void {
    this.#held = true
  }

  release(): void {
    this.#held = false
    this.#pump()
  }

  /** The client has logged in and begins a new stream. */
  restart(): void {
    this.#loggedIn = true
    this.#guard = this.#options.guard()
  }

  /** Counts a stanza, which made the hub send so many bytes. */
  charge(sent: number): void {
    this.#stanzas.use(1 + Math.floor(sent / BYTES_PER_TOKEN), this.#options.clock.now())
  }

  #take(chunk: Buffer): void {
    if (this.#ended) return
    this.#heardAt = this.#options.clock.now()
    this.emit('heard')
    this.#pending = this.#pending.length === 0 ? chunk : Buffer.concat([this.#pending, chunk])
    this.#pump()
  }

  /** Feeds what has come as far as the client's tokens reach; what is left stops the socket, and so the client. */
  #pump(): void {
    if (this.#pumping) return
    this.#pumping = true
    try {
      while (this.#pending.length > 0 && !this.#held && !this.#ended && this.#rested()) this.#feed()
    } catch (error) {
      this.#pending = Buffer.alloc(0)
      this.#options.onViolation(error)
    } finally {
      this.#pumping = false
    }
    const { socket } = this.#options
    if (this.#pending.length > 0 && !this.#ended) socket.pause()
    else socket.resume()
  }

  #rested(): boolean {
    const { clock } = this.#options
    const now = clock.now()
    const wait = Math.max(this.#bytes.wait(now), this.#stanzas.wait(now))
    if (wait === 0) return true
    this.#rest?.cancel()
    this.#rest = clock.after(wait, () => this.#pump())
    return false
  }

  #feed(): void {
    const slice = this.#pending.subarray(0, sliceLength(this.#pending))
    this.#pending = this.#pending.subarray(slice.length)
    this.#bytes.use(slice.length, this.#options.clock.now())
    if (!this.#loggedIn) this.#beforeLogIn -= slice.length
    if (this.#beforeLogIn < 0) throw new XmlError('policy-violation', 'too much was sent before a log-in')
    this.#guard.push(slice)
    this.emit('data', this.#decoder.decode(slice, { stream: true }))
  }

  #listen(delay: Milliseconds): void {
    const { clock, limits, onIdle, socket } = this.#options
    this.#silence = clock.after(delay, () => {
      const silent = clock.now() - this.#heardAt
      if (silent >= limits.idle + limits.answer) socket.destroy()
      else if (silent >= limits.idle) {
        this.#listen(limits.idle + limits.answer - silent)
        onIdle()
      } else this.#listen(limits.idle - silent)
    })
  }

  #cutOff(): void {
    if (this.#ended) return
    this.#ended = true
    this.#options.socket.destroy()
    this.#options.onSlow()
  }
}

/** Up to the end of some tag, so that a slice holds few stanzas. */
function sliceLength(bytes: Buffer): number {
  let end = 0
  for (let tags = 0; tags < TAG_ENDS_PER_SLICE; tags++) {
    const next = bytes.indexOf(TAG_END, end)
    if (next < 0 || next >= MAX_SLICE) return Math.min(bytes.length, MAX_SLICE)
    end = next + 1
  }
  return end
}
