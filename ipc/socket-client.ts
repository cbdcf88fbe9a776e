import { connect, type Socket } from 'node:net'
import { type ErrorCode, PartylineError } from '../daemon/errors.ts'
import type { Codec, Incoming } from './codec.ts'
import { JsonLines } from './json-lines.ts'
import { MessagePackRpc } from './messagepack.ts'
import { MAX_REQUEST } from './methods.ts'
import { Output } from './output.ts'

export type Encoding = 'json' | 'messagepack'

/** Largest answer, in bytes: a list of ten thousand peers is some 10 MB. */
const MAX_ANSWER = 256 * 1024 * 1024

interface Pending {
  resolve(result: unknown): void
  reject(error: PartylineError): void
}

/** One connection to the daemon: numbered calls, answers, notifications. */
export class SocketClient {
  readonly #socket: Socket
  readonly #output: Output
  readonly #codec: Codec
  readonly #pending = new Map<number, Pending>()
  readonly #onNotification: (method: string, params: unknown) => void
  readonly #take = (chunk: Buffer): void => this.#receive(chunk)
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>
  #lastId = 0
  #raw = false
  /** Why calls fail once the connection is gone. */
  #reason = new PartylineError('local.closed')

  private constructor(socket: Socket, encoding: Encoding, onNotification: (method: string, params: unknown) => void) {
    this.#socket = socket
    this.#output = new Output(socket, process.nextTick)
    this.#codec = encoding === 'json' ? new JsonLines(MAX_ANSWER) : new MessagePackRpc(MAX_ANSWER)
    this.#onNotification = onNotification
    socket.on('data', this.#take)
    socket.on('error', () => socket.destroy())
    socket.on('end', () => this.#raw || socket.destroy())
    this.closed = new Promise((resolve) =>
      socket.once('close', () => {
        for (const { reject } of this.#pending.values()) reject(this.#reason)
        this.#pending.clear()
        resolve()
      }),
    )
  }

  /** Rejects with `local.no-daemon` or `local.permission`. */
  static dial(
    path: string,
    encoding: Encoding,
    onNotification: (method: string, params: unknown) => void,
  ): Promise<SocketClient> {
    return new Promise((resolve, reject) => {
      const socket = connect({ path, allowHalfOpen: true })
      socket.once('connect', () => {
        socket.removeAllListeners('error')
        resolve(new SocketClient(socket, encoding, onNotification))
      })
      socket.once('error', (error: NodeJS.ErrnoException) => {
        reject(dialError(path, error))
      })
    })
  }

  call(method: string, params: unknown): Promise<unknown> {
    return new Promise((resolve, reject) => this.#ask(method, params, { resolve, reject }))
  }

  /** A call whose answer turns the connection into a raw stream; the socket is the caller's then. */
  async callRaw(method: string, params: unknown): Promise<{ result: unknown; socket: Socket }> {
    const result = await new Promise((resolve, reject) => {
      const take = (value: unknown): void => {
        // At once, before another byte is read: what follows the answer is the stream's.
        this.#raw = true
        resolve(value)
      }
      this.#ask(method, params, { resolve: take, reject })
    })
    return { result, socket: this.#socket }
  }

  /** Takes no more from the daemon until `resume`; what was read already still comes. */
  pause(): void {
    this.#socket.pause()
  }

  resume(): void {
    this.#socket.resume()
  }

  close(): void {
    this.#socket.destroy()
  }

  #ask(method: string, params: unknown, pending: Pending): void {
    if (this.#socket.destroyed) return pending.reject(this.#reason)
    const id = ++this.#lastId
    const request = this.#codec.request(id, method, params)
    const length = Buffer.byteLength(request)
    if (length > MAX_REQUEST)
      return pending.reject(
        new PartylineError('usage.oversized', `${method}: a request of ${length} bytes; the limit is ${MAX_REQUEST}`),
      )
    this.#pending.set(id, pending)
    this.#output.write(request)
  }

  #receive(chunk: Buffer): void {
    this.#codec.append(chunk)
    try {
      for (let message = this.#codec.next(); message; message = this.#codec.next()) {
        this.#dispatch(message)
        if (this.#raw) return this.#handOver()
      }
    } catch {
      this.#socket.destroy()
    }
  }

  #dispatch(message: Incoming): void {
    if (message.kind === 'notification') return this.#onNotification(message.method, message.params)
    if (message.kind === 'request') return
    const id = Number(message.id)
    const pending = this.#pending.get(id)
    this.#pending.delete(id)
    if (message.kind === 'result') return pending?.resolve(message.result)
    const error = new PartylineError(message.code as ErrorCode, message.message, { hint: message.hint })
    // An answer to no call is why the daemon closes the connection.
    if (message.id === null) this.#reason = error
    pending?.reject(error)
  }

  #handOver(): void {
    this.#socket.pause()
    this.#socket.off('data', this.#take)
    const rest = this.#codec.takeRest()
    if (rest.length > 0) this.#socket.unshift(rest)
  }
}

function dialError(path: string, error: NodeJS.ErrnoException): PartylineError {
  const message = `${path}: ${error.message}`
  if (error.code === 'EACCES' || error.code === 'EPERM')
    return new PartylineError('local.permission', message, {
      cause: error,
      hint: 'Join the group "partyline", or run it as the user whose daemon it is.',
    })
  // The system's queue of new connections is full: somebody is there, but busy.
  return new PartylineError(error.code === 'EAGAIN' ? 'local.limit' : 'local.no-daemon', message, { cause: error })
}
