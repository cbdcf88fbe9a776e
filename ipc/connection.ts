import { isUtf8 } from 'node:buffer'
import type { Socket } from 'node:net'
import type { Clock } from '../daemon/clock.ts'
import { type ErrorCode, PartylineError, toPartylineError } from '../daemon/errors.ts'
import type { Logger } from '../daemon/logger.ts'
import type { Refusals } from '../daemon/refusals.ts'
import type { Caller, Handlers, MessageDelivery, MessageRequest, RawAnswer, RawMethod } from './api.ts'
import type { CallId, Codec, Incoming } from './codec.ts'
import { JsonLines } from './json-lines.ts'
import { MessagePackRpc } from './messagepack.ts'
import type { MethodEntry } from './methods/shapes.ts'
import { METHODS, type ParsedParams, PROTOCOL } from './methods.ts'
import { Output } from './output.ts'
import type { Quota } from './quota.ts'

/** Calls under way on one connection; at this many it is not read further until some are answered. */
export const MAX_IN_FLIGHT = 1024
/** Output that waits for the app to read it, above which the connection is not read further, in bytes. */
const OUTPUT_HIGH = 1024 * 1024
/** Output that waits above which events are left out, in bytes. */
export const EVENTS_HIGH = 256 * 1024
/** What waits of one connection while all of its user's together are too much, in bytes. */
const SHORT = 128 * 1024
/** What is taken of a stream's beginning before there is a stream, in bytes. */
const RAW_HEAD = 64 * 1024
/** Content of a message from which on it is not copied, in bytes. */
const WHOLE = 16 * 1024
const EMPTY = new Uint8Array(0)
/** How long an app has to read why it is let go, in milliseconds. */
const CLOSING_PATIENCE = 2000

/** What a connection needs of its server. */
export interface ConnectionContext {
  readonly handlers: Handlers
  readonly version: string
  readonly id: string
  readonly features: readonly string[]
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  /** Sequence number of the last event. */
  readonly lastEvent: () => number
}

/** By which socket a connection came in. */
export interface Entrance {
  /** True for the control socket. */
  readonly owner: boolean
  /** Whose the connection is: connections of one user see the same channels. */
  readonly user: string
  readonly quota: Quota
  /** The socket of a user's own, for an app on the one that users share; undefined where there is none, or none can be made. */
  readonly socketOf?: ((uid: number) => Promise<string | undefined>) | undefined
}

/** Answering calls; about to become a stream; a stream; being closed for something that cannot be read. */
type Phase = 'calls' | 'raw' | 'stream' | 'closing'

/** The methods, for names off the wire. */
const TABLE: ReadonlyMap<string, MethodEntry> = new Map(Object.entries(METHODS))

type AnyHandler = (params: unknown, caller: Caller) => unknown

/** One app's connection: calls in, answers and notifications out, until it closes or becomes a raw stream. */
export class Connection implements Caller {
  readonly id: number
  readonly owner: boolean
  readonly user: string
  app = ''
  readonly #socket: Socket
  readonly #entrance: Entrance
  readonly #quota: Quota
  readonly #look = (): void => this.#resume()
  readonly #output: Output
  readonly #context: ConnectionContext
  readonly #abort = new AbortController()
  readonly #topics = new Set<string>()
  readonly #take = (chunk: Buffer): void => this.#receive(chunk)
  #codec: Codec | undefined
  #inFlight = 0
  /** Bytes that its user's quota knows of. */
  #counted = 0
  #lost = 0
  #lastSeq = 0
  #phase: Phase = 'calls'
  /** False while the app has to wait before more of its calls are looked at. */
  #reading = true
  /** Its calls are not to be read for now, see `hold`. */
  #held = false
  /** The app will send no more. */
  #ended = false
  /** Called when every call is answered. */
  #onIdle = (): void => {}

  constructor(id: number, entrance: Entrance, socket: Socket, context: ConnectionContext) {
    this.id = id
    this.owner = entrance.owner
    this.user = entrance.user
    this.#entrance = entrance
    this.#quota = entrance.quota
    this.#socket = socket
    this.#output = new Output(socket, setImmediate)
    this.#context = context
    socket.on('data', this.#take)
    socket.on('drain', () => this.#onDrain())
    socket.on('error', () => socket.destroy())
    socket.on('end', () => this.#onEnd())
    socket.once('close', () => this.#onClose())
  }

  get signal(): AbortSignal {
    return this.#abort.signal
  }

  /** True once `hello` was answered. */
  get greeted(): boolean {
    return this.app !== ''
  }

  close(): void {
    this.#socket.destroy()
  }

  deliver({ data, ...message }: MessageDelivery): Promise<void> {
    const codec = this.#codec
    if (!codec || !this.#socket.writable) return Promise.reject(new PartylineError('local.closed'))
    if (codec.encoding === 'json')
      this.#output.write(codec.notification('messages.received', { ...message, ...textOrBase64(data) }))
    else this.#deliverBytes(codec, message, data)
    return this.#output.taken
  }

  request(request: MessageRequest): void {
    if (this.#codec) this.#write(this.#codec.notification('messages.request', request))
  }

  hold(on: boolean): void {
    this.#held = on
    if (!on) this.#resume()
  }

  subscribes(topic: string): boolean {
    return this.#topics.has(topic)
  }

  /** Sends an event if its topic was subscribed to; leaves it out, and says so later, if the app reads too slowly. */
  event(name: string, topic: string, seq: number, params: object): void {
    if (!this.#topics.has(topic) || !this.#codec) return
    if (this.#output.length > (this.#quota.isHeavy ? SHORT : EVENTS_HIGH)) {
      this.#lost++
      return
    }
    this.#tellLost()
    this.#lastSeq = seq
    this.#write(this.#codec.notification(name, { seq, ...params }))
  }

  /** The content is the last of the map, and not copied where it is large. */
  #deliverBytes(codec: Codec, message: Omit<MessageDelivery, 'data'>, data: Uint8Array): void {
    if (data.length < WHOLE) return this.#output.write(codec.notification('messages.received', { ...message, data }))
    const head = codec.notification('messages.received', { ...message, data: EMPTY }) as Uint8Array
    // Two bytes stand for no bytes; in their place come the header of a bin 32 and the content.
    const header = Buffer.allocUnsafe(5)
    header[0] = 0xc6
    header.writeUInt32BE(data.length, 1)
    this.#output.write(head.subarray(0, -2))
    this.#output.write(header)
    this.#output.writeWhole(Buffer.from(data.buffer, data.byteOffset, data.byteLength))
  }

  #tellLost(): void {
    if (this.#lost === 0 || !this.#codec) return
    this.#write(this.#codec.notification('events.lost', { seq: this.#lastSeq, lost: this.#lost }))
    this.#lost = 0
  }

  #onDrain(): void {
    this.#account()
    this.#tellLost()
    this.#resume()
  }

  #onClose(): void {
    this.#quota.forget(this.#look)
    this.#quota.account(-this.#counted)
    this.#counted = 0
    this.#abort.abort()
  }

  /** Tells the quota what waits of this connection: requests that are not whole, answers that were not read. */
  #account(): void {
    if (this.#socket.destroyed) return
    const bytes = (this.#codec?.waiting ?? 0) + this.#output.length
    this.#quota.account(bytes - this.#counted)
    this.#counted = bytes
  }

  #receive(chunk: Buffer): void {
    try {
      this.#codec ??= chooseCodec(chunk)
      this.#codec.append(chunk)
      // Behind a call that waits to become a stream lies the stream's beginning: only so much of it is taken now.
      if (this.#phase === 'raw' && this.#codec.waiting > RAW_HEAD) this.#socket.pause()
      this.#readOn()
      this.#account()
      if (this.#reading && this.#quota.isHeavy && (this.#codec?.waiting ?? 0) > SHORT)
        throw new PartylineError('local.limit', 'too many requests of this user are half sent')
    } catch (error) {
      this.#fail(toPartylineError(error))
    }
  }

  /** Answers calls until there are no more, too many are under way, or the connection becomes a stream. */
  #readOn(): void {
    const codec = this.#codec
    if (!codec) return
    while (this.#phase === 'calls' && this.#reading) {
      if (this.#isFull()) return this.#pause()
      const message = codec.next()
      if (!message) return
      if (message.kind === 'request' && isRaw(message.method)) void this.#callRaw(codec, message)
      else if (message.kind === 'request') this.#call(codec, message.id, message.method, message.params)
      else if (message.kind === 'notification') this.#call(codec, undefined, message.method, message.params)
      else throw new PartylineError('usage.invalid-request', 'an answer to a call that was not made')
    }
  }

  #isFull(): boolean {
    const waiting = this.#quota.isHeavy ? SHORT : OUTPUT_HIGH
    return this.#held || this.#inFlight >= MAX_IN_FLIGHT || this.#output.length > waiting || this.#quota.isSpent
  }

  #pause(): void {
    this.#reading = false
    this.#socket.pause()
    if (this.#quota.isSpent) this.#quota.whenFree(this.#look)
  }

  #resume(): void {
    if (this.#phase !== 'calls' || this.#reading || this.#socket.destroyed) return
    if (this.#isFull()) {
      if (this.#quota.isSpent) this.#quota.whenFree(this.#look)
      return
    }
    this.#reading = true
    try {
      this.#readOn()
    } catch (error) {
      return this.#fail(toPartylineError(error))
    }
    if (!this.#reading || this.#isRaw()) return
    this.#socket.resume()
    this.#endIfDone()
  }

  /** An app that will ask no more is answered what it asked, and let go. */
  #onEnd(): void {
    // Seen in this phase only where a call waits for somebody: its app has left.
    if (this.#isRaw()) return this.close()
    this.#ended = true
    try {
      this.#codec?.end()
      this.#readOn()
    } catch (error) {
      return this.#fail(toPartylineError(error))
    }
    this.#endIfDone()
  }

  #endIfDone(): void {
    if (!this.#ended || this.#phase !== 'calls' || !this.#reading || this.#inFlight > 0) return
    this.#output.flush()
    this.#socket.end()
  }

  /** A method of its own, since what is called in between changes the phase. */
  #isRaw(): boolean {
    return this.#phase === 'raw'
  }

  #call(codec: Codec, id: CallId | undefined, method: string, params: unknown): void {
    this.#inFlight++
    this.#quota.begin(method)
    try {
      if (id === undefined && isRaw(method)) throw new PartylineError('usage.invalid-request', `${method} needs an id`)
      const result = this.#dispatch(method, params)
      if (!(result instanceof Promise)) return this.#answer(codec, id, method, result)
      result.then(
        (settled) => this.#answer(codec, id, method, settled),
        (error) => this.#refuse(codec, id, method, error),
      )
    } catch (error) {
      this.#refuse(codec, id, method, error)
    }
  }

  #answer(codec: Codec, id: CallId | undefined, method: string, result: unknown): void {
    try {
      if (id !== undefined) this.#write(codec.result(id, result))
    } catch (error) {
      return this.#refuse(codec, id, method, error)
    }
    this.#answered()
  }

  #refuse(codec: Codec, id: CallId | undefined, method: string, error: unknown): void {
    this.#writeError(codec, id, method, error)
    this.#answered()
  }

  #answered(): void {
    this.#inFlight--
    this.#quota.end()
    this.#account()
    if (!this.#reading) this.#resume()
    if (this.#ended) this.#endIfDone()
    if (this.#inFlight === 0) this.#onIdle()
  }

  /**
   * A call that makes the connection a stream. What comes behind it is the stream's, so nothing more is parsed; the calls before it are
   * answered first, since no answer can be written later. When it fails the connection goes on with calls.
   */
  async #callRaw(codec: Codec, { id, method, params }: Incoming & { kind: 'request' }): Promise<void> {
    this.#phase = 'raw'
    this.#quota.begin(method)
    // An end is half of a stream where one is being opened; where one is waited for it says that nobody waits any more, and has to be seen.
    const waits = 'waits' in METHODS[method as RawMethod]
    const release = waits ? () => {} : holdEnd(this.#socket)
    if (!waits) this.#socket.pause()
    try {
      if (this.#inFlight > 0) await new Promise<void>((resolve) => (this.#onIdle = resolve))
      if (this.#socket.destroyed) return
      const answer = await Promise.try(() => this.#dispatch(method, params))
      this.#attach(codec, id, answer as RawAnswer<unknown>, release)
    } catch (error) {
      this.#phase = 'calls'
      this.#pause()
      release()
      this.#writeError(codec, id, method, error)
      this.#resume()
    } finally {
      this.#quota.end()
    }
  }

  #writeError(codec: Codec, id: CallId | undefined, method: string, error: unknown): void {
    const refusal = toPartylineError(error)
    if (refusal.code === 'local.internal')
      this.#context.logger.error('a call failed', { method, error: String(refusal.cause ?? refusal) })
    if (id !== undefined) this.#write(codec.error(id, refusal))
  }

  #dispatch(method: string, raw: unknown): unknown {
    if (method === 'hello') return this.#hello(raw)
    if (!this.greeted) throw this.#refusal('usage.hello-first')
    const entry = TABLE.get(method)
    if (!entry) throw this.#refusal('usage.unknown-method', `there is no method ${method.slice(0, 64)}`)
    if (entry.who === 'owner' && !this.owner) throw this.#refusal('policy.owner-only', `${method} is for the owner`)
    const params = parseParams(method, entry, raw)
    if (method === 'events.subscribe') return this.#subscribe(params as { topics: string[] }, true)
    if (method === 'events.unsubscribe') return this.#subscribe(params as { topics: string[] }, false)
    const handler = (this.#context.handlers as unknown as Record<string, AnyHandler>)[method]
    if (!handler) throw this.#refusal('usage.unknown-method', `there is no method ${method}`)
    return handler(params, this)
  }

  /** What no well-made app does is counted. */
  #refusal(code: ErrorCode, message?: string): PartylineError {
    this.#context.refusals.count(code)
    return new PartylineError(code, message)
  }

  #hello(raw: unknown): unknown {
    const { app, protocol, uid } = parseParams('hello', METHODS.hello, raw) as ParsedParams<'hello'>
    if (protocol !== PROTOCOL)
      throw this.#refusal('usage.protocol', `this daemon speaks protocol ${PROTOCOL}, not ${protocol}`)
    this.app = app
    const { version, id, features } = this.#context
    const answer = { version, protocol: PROTOCOL, id, features }
    const making = uid === undefined ? undefined : this.#entrance.socketOf?.(uid)
    return making ? making.then((socket) => ({ ...answer, ...(socket !== undefined && { socket }) })) : answer
  }

  #subscribe({ topics }: { topics: string[] }, on: boolean): unknown {
    for (const topic of topics) {
      if (on) this.#topics.add(topic)
      else this.#topics.delete(topic)
    }
    return on ? { seq: this.#context.lastEvent() } : {}
  }

  /** The answer is written, and from here on the connection is the stream. */
  #attach(codec: Codec, id: CallId, answer: RawAnswer<unknown>, releaseEnd: () => void): void {
    const { result, attach, abandon } = answer
    if (this.#socket.destroyed) return abandon()
    this.#write(codec.result(id, result))
    this.#phase = 'stream'
    this.#codec = undefined
    this.#quota.account(-this.#counted)
    this.#counted = 0
    this.#topics.clear()
    this.#socket.pause()
    this.#output.flush()
    this.#socket.off('data', this.#take)
    this.#socket.removeAllListeners('drain')
    this.#socket.removeAllListeners('end')
    const rest = codec.takeRest()
    if (rest.length > 0) this.#socket.unshift(rest)
    releaseEnd()
    attach(this.#socket)
  }

  /** Nothing after this can be read: the app is told why, and soon let go, whether it listens or not. */
  #fail(error: PartylineError): void {
    this.#context.refusals.count(error.code)
    this.#phase = 'closing'
    this.#socket.off('data', this.#take)
    const codec = this.#codec ?? new JsonLines()
    this.#codec = undefined
    this.#output.flush()
    this.#socket.end(Buffer.from(codec.error(null, error)))
    this.#socket.resume()
    const patience = this.#context.clock.after(CLOSING_PATIENCE, () => this.close())
    this.#socket.once('close', () => patience.cancel())
  }

  #write(bytes: Uint8Array | string): void {
    if (this.#socket.writable) this.#output.write(bytes)
  }
}

/**
 * Keeps the end of what an app sends until the function that is returned is called: a socket whose end was seen can be handed to nobody. (A
 * paused socket with nothing to read tells its end all the same.)
 */
function holdEnd(socket: Socket): () => void {
  const push = socket.push.bind(socket)
  let ended = false
  socket.push = (chunk, encoding) => {
    if (chunk !== null) return push(chunk, encoding)
    ended = true
    return false
  }
  return () => {
    socket.push = push
    if (ended && !socket.destroyed) push(null)
  }
}

function isRaw(method: string): method is RawMethod {
  return TABLE.get(method)?.raw === true
}

function parseParams(method: string, { params }: MethodEntry, raw: unknown): unknown {
  const parsed = params.safeParse(raw ?? {})
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const where = issue?.path.length ? `${issue.path.join('.')}: ` : ''
  throw new PartylineError('usage.invalid-argument', `${method}: ${where}${issue?.message ?? 'invalid parameters'}`)
}

/** `{`, white space, and `[`, which is a batch: those are refused in words that JSON programs understand. */
const JSON_BEGINS = new Set([0x7b, 0x5b, 0x20, 0x09, 0x0a, 0x0d])

/** The first byte decides: an array of three or four is MessagePack. Throws `usage.malformed`. */
function chooseCodec(chunk: Buffer): Codec {
  const first = chunk[0] ?? 0
  if (first === 0x93 || first === 0x94) return new MessagePackRpc()
  if (JSON_BEGINS.has(first)) return new JsonLines()
  throw new PartylineError('usage.malformed', 'a connection begins with { (JSON lines) or a MessagePack array')
}

function textOrBase64(data: Uint8Array): { text: string } | { base64: string } {
  const bytes = Buffer.from(data.buffer, data.byteOffset, data.byteLength)
  return isUtf8(bytes) ? { text: bytes.toString('utf8') } : { base64: bytes.toString('base64') }
}
