import type { Socket } from 'node:net'
import { PartylineError, toPartylineError } from '../daemon/errors.ts'
import type { Logger } from '../daemon/logger.ts'
import type { Refusals } from '../daemon/refusals.ts'
import type { Caller, Handlers, MessageDelivery, RawAnswer } from './api.ts'
import type { CallId, Codec } from './codec.ts'
import { JsonLines } from './json-lines.ts'
import { MessagePackRpc } from './messagepack.ts'
import { METHODS, type MethodName, PROTOCOL } from './methods.ts'

/** Calls under way on one connection; at this many it is not read further until some are answered. */
export const MAX_IN_FLIGHT = 1024
/** Output that waits for the app to read it, above which the connection is not read further, in bytes. */
const OUTPUT_HIGH = 1024 * 1024
/** Output that waits above which events are left out, in bytes. */
export const EVENTS_HIGH = 256 * 1024

/** What a connection needs of its server. */
export interface ConnectionContext {
  readonly handlers: Handlers
  readonly version: string
  readonly id: string
  readonly features: readonly string[]
  readonly logger: Logger
  readonly refusals: Refusals
  /** Sequence number of the last event. */
  readonly lastEvent: () => number
}

type AnyHandler = (params: unknown, caller: Caller) => unknown

/** One app's connection: calls in, answers and notifications out, until it closes or becomes a raw stream. */
export class Connection implements Caller {
  readonly id: number
  readonly owner: boolean
  app = ''
  readonly #socket: Socket
  readonly #context: ConnectionContext
  readonly #abort = new AbortController()
  readonly #topics = new Set<string>()
  readonly #take = (chunk: Buffer): void => this.#receive(chunk)
  #codec: Codec | undefined
  #inFlight = 0
  #lost = 0
  #lastSeq = 0
  #reading = true
  #corked = false

  constructor(id: number, owner: boolean, socket: Socket, context: ConnectionContext) {
    this.id = id
    this.owner = owner
    this.#socket = socket
    this.#context = context
    socket.on('data', this.#take)
    socket.on('drain', () => this.#onDrain())
    socket.on('error', () => socket.destroy())
    socket.on('end', () => this.#onEnd())
    socket.once('close', () => this.#abort.abort())
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
    if (!codec || this.#socket.destroyed) return Promise.reject(new PartylineError('local.closed'))
    const params = codec.encoding === 'messagepack' ? { ...message, data } : { ...message, ...textOrBase64(data) }
    return new Promise((resolve, reject) => {
      this.#cork()
      this.#socket.write(codec.notification('messages.received', params), (error) =>
        error ? reject(new PartylineError('local.closed')) : resolve(),
      )
    })
  }

  /** Sends an event if its topic was subscribed to; leaves it out, and says so later, if the app reads too slowly. */
  event(name: string, topic: string, seq: number, params: object): void {
    if (!this.#topics.has(topic) || !this.#codec) return
    if (this.#socket.writableLength > EVENTS_HIGH) {
      this.#lost++
      return
    }
    this.#tellLost()
    this.#lastSeq = seq
    this.#write(this.#codec.notification(name, { seq, ...params }))
  }

  #tellLost(): void {
    if (this.#lost === 0 || !this.#codec) return
    this.#write(this.#codec.notification('events.lost', { seq: this.#lastSeq, lost: this.#lost }))
    this.#lost = 0
  }

  #onDrain(): void {
    this.#tellLost()
    this.#resume()
  }

  #receive(chunk: Buffer): void {
    try {
      this.#codec ??= chooseCodec(chunk)
      this.#codec.append(chunk)
      this.#readOn()
    } catch (error) {
      this.#fail(toPartylineError(error))
    }
  }

  /** Answers calls until there are no more, too many are under way, or the connection became a stream. */
  #readOn(): void {
    const codec = this.#codec
    if (!codec) return
    while (this.#reading) {
      if (this.#inFlight >= MAX_IN_FLIGHT || this.#socket.writableLength > OUTPUT_HIGH) return this.#pause()
      const message = codec.next()
      if (!message) return
      if (message.kind === 'request') void this.#call(codec, message.id, message.method, message.params)
      else if (message.kind === 'notification') void this.#call(codec, undefined, message.method, message.params)
      else throw new PartylineError('usage.malformed', 'an answer to a call that was not made')
    }
  }

  #pause(): void {
    this.#reading = false
    this.#socket.pause()
  }

  #resume(): void {
    if (this.#reading || this.#raw || this.#inFlight >= MAX_IN_FLIGHT || this.#socket.writableLength > OUTPUT_HIGH)
      return
    this.#reading = true
    try {
      this.#readOn()
    } catch (error) {
      return this.#fail(toPartylineError(error))
    }
    if (this.#reading) this.#socket.resume()
  }

  /** An app that will ask no more is answered what it asked, and let go. */
  #onEnd(): void {
    if (!this.#raw && this.#inFlight === 0) this.#socket.end()
    this.#ended = true
  }

  #ended = false
  #raw = false

  async #call(codec: Codec, id: CallId | undefined, method: string, params: unknown): Promise<void> {
    this.#inFlight++
    try {
      const result = this.#dispatch(method, params)
      const settled = result instanceof Promise ? await result : result
      if (this.#raw) return this.#attach(codec, id ?? null, settled as RawAnswer<unknown>)
      if (id !== undefined) this.#write(codec.result(id, settled))
    } catch (error) {
      const refusal = toPartylineError(error)
      if (refusal.code === 'local.internal')
        this.#context.logger.error('a call failed', { method, error: String(refusal.cause ?? refusal) })
      if (id !== undefined) this.#write(codec.error(id, refusal))
      this.#raw = false
    } finally {
      this.#inFlight--
      if (!this.#reading) this.#resume()
      if (this.#ended && this.#inFlight === 0 && !this.#raw) this.#socket.end()
    }
  }

  #dispatch(method: string, raw: unknown): unknown {
    if (method === 'hello') return this.#hello(raw)
    if (!this.greeted) throw new PartylineError('usage.hello-first')
    if (!isMethod(method)) throw new PartylineError('usage.unknown-method', `there is no method ${method.slice(0, 64)}`)
    const entry = METHODS[method]
    if (entry.who === 'owner' && !this.owner)
      throw new PartylineError('policy.owner-only', `${method} is for the owner`)
    const params = parseParams(method, raw)
    if (method === 'events.subscribe') return this.#subscribe(params as { topics: string[] }, true)
    if (method === 'events.unsubscribe') return this.#subscribe(params as { topics: string[] }, false)
    const handler = (this.#context.handlers as unknown as Record<string, AnyHandler>)[method]
    if (!handler) throw new PartylineError('usage.unknown-method', `there is no method ${method}`)
    if ('raw' in entry) {
      // What comes behind the request is the stream's: nothing more is parsed.
      this.#raw = true
      this.#pause()
    }
    return handler(params, this)
  }

  #hello(raw: unknown): unknown {
    const { app, protocol } = parseParams('hello', raw) as { app: string; protocol: number }
    if (protocol !== PROTOCOL)
      throw new PartylineError('usage.protocol', `this daemon speaks protocol ${PROTOCOL}, not ${protocol}`)
    this.app = app
    const { version, id, features } = this.#context
    return { version, protocol: PROTOCOL, id, features }
  }

  #subscribe({ topics }: { topics: string[] }, on: boolean): unknown {
    for (const topic of topics) {
      if (on) this.#topics.add(topic)
      else this.#topics.delete(topic)
    }
    return on ? { seq: this.#context.lastEvent() } : {}
  }

  /** The answer is written, and from here on the connection is the stream. */
  #attach(codec: Codec, id: CallId, { result, attach, abandon }: RawAnswer<unknown>): void {
    if (this.#socket.destroyed) return abandon()
    this.#write(codec.result(id, result))
    this.#socket.uncork()
    this.#socket.off('data', this.#take)
    this.#socket.removeAllListeners('drain')
    this.#socket.removeAllListeners('end')
    const rest = codec.takeRest()
    this.#codec = undefined
    if (rest.length > 0) this.#socket.unshift(rest)
    attach(this.#socket)
  }

  #fail(error: PartylineError): void {
    this.#context.refusals.count(error.code)
    this.#pause()
    this.#socket.end((this.#codec ?? new JsonLines()).error(null, error))
    this.#socket.resume()
    this.#socket.off('data', this.#take)
  }

  #write(bytes: Buffer | string): void {
    if (this.#socket.destroyed || !this.#socket.writable) return
    this.#cork()
    this.#socket.write(bytes)
  }

  /** All answers of one turn of the event loop leave in one write. */
  #cork(): void {
    if (this.#corked) return
    this.#corked = true
    this.#socket.cork()
    setImmediate(() => {
      this.#corked = false
      this.#socket.uncork()
    })
  }
}

function isMethod(method: string): method is MethodName {
  return Object.hasOwn(METHODS, method)
}

function parseParams(method: MethodName, raw: unknown): unknown {
  const parsed = METHODS[method].params.safeParse(raw ?? {})
  if (parsed.success) return parsed.data
  const [issue] = parsed.error.issues
  const where = issue?.path.length ? `${issue.path.join('.')}: ` : ''
  throw new PartylineError('usage.invalid-argument', `${method}: ${where}${issue?.message ?? 'invalid parameters'}`)
}

/** The first byte decides: `{` (or white space) is JSON, an array of three or four is MessagePack. */
function chooseCodec(chunk: Buffer): Codec {
  const first = chunk[0] ?? 0
  if (first === 0x93 || first === 0x94) return new MessagePackRpc()
  if (first === 0x7b || first === 0x20 || first === 0x09 || first === 0x0a || first === 0x0d) return new JsonLines()
  throw new PartylineError('usage.malformed', 'a connection begins with { (JSON lines) or a MessagePack array')
}

function textOrBase64(data: Uint8Array): { text: string } | { base64: string } {
  try {
    return { text: new TextDecoder('utf-8', { fatal: true, ignoreBOM: true }).decode(data) }
  } catch {
    return { base64: Buffer.from(data).toString('base64') }
  }
}
