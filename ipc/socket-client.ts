import { connect, type Socket } from 'node:net'
import { type ErrorCode, PartylineError } from '../daemon/errors.ts'
import type { Codec, Incoming } from './codec.ts'
import { JsonLines } from './json-lines.ts'
import { MessagePackRpc } from './messagepack.ts'

export type Encoding = 'json' | 'messagepack'

interface Pending {
  resolve(result: unknown): void
  reject(error: PartylineError): void
}

/** One connection to the daemon: numbered calls, answers, notifications. */
export class SocketClient {
  readonly #socket: Socket
  readonly #codec: Codec
  readonly #pending = new Map<number, Pending>()
  readonly #onNotification: (method: string, params: unknown) => void
  readonly #take = (chunk: Buffer): void => this.#receive(chunk)
  /** Resolves when the connection is gone. */
  readonly closed: Promise<void>
  #lastId = 0
  #corked = false
  #raw = false

  private constructor(socket: Socket, encoding: Encoding, onNotification: (method: string, params: unknown) => void) {
    this.#socket = socket
    this.#codec = encoding === 'json' ? new JsonLines() : new MessagePackRpc()
    this.#onNotification = onNotification
    socket.on('data', this.#take)
    socket.on('error', () => socket.destroy())
    socket.on('end', () => this.#raw || socket.destroy())
    this.closed = new Promise((resolve) =>
      socket.once('close', () => {
        for (const { reject } of this.#pending.values()) reject(new PartylineError('local.closed'))
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
        const denied = error.code === 'EACCES' || error.code === 'EPERM'
        const hint = denied ? { hint: 'Join the group "partyline", or run it as the user whose daemon it is.' } : {}
        reject(
          new PartylineError(denied ? 'local.permission' : 'local.no-daemon', `${path}: ${error.message}`, {
            cause: error,
            ...hint,
          }),
        )
      })
    })
  }

  call(method: string, params: unknown): Promise<unknown> {
    if (this.#socket.destroyed) return Promise.reject(new PartylineError('local.closed'))
    const id = ++this.#lastId
    return new Promise((resolve, reject) => {
      this.#pending.set(id, { resolve, reject })
      this.#write(this.#codec.request(id, method, params))
    })
  }

  /** A call whose answer turns the connection into a raw stream; the socket is the caller's then. */
  async callRaw(method: string, params: unknown): Promise<{ result: unknown; socket: Socket }> {
    const result = await new Promise((resolve, reject) => {
      const id = ++this.#lastId
      this.#pending.set(id, {
        resolve: (value) => {
          // At once, before another byte is read: what follows the answer is the stream's.
          this.#raw = true
          resolve(value)
        },
        reject,
      })
      this.#write(this.#codec.request(id, method, params))
    })
    return { result, socket: this.#socket }
  }

  close(): void {
    this.#socket.destroy()
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
    const pending = this.#pending.get(Number(message.id))
    if (pending) this.#pending.delete(Number(message.id))
    if (message.kind === 'result') return pending?.resolve(message.result)
    pending?.reject(new PartylineError(message.code as ErrorCode, message.message, { hint: message.hint }))
  }

  #handOver(): void {
    this.#socket.pause()
    this.#socket.off('data', this.#take)
    const rest = this.#codec.takeRest()
    if (rest.length > 0) this.#socket.unshift(rest)
  }

  #write(bytes: Buffer | string): void {
    if (!this.#corked) {
      this.#corked = true
      this.#socket.cork()
      process.nextTick(() => {
        this.#corked = false
        this.#socket.uncork()
      })
    }
    this.#socket.write(bytes)
  }
}
