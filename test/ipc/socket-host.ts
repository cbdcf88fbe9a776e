import { mkdtemp, rm } from 'node:fs/promises'
import { connect, type Socket } from 'node:net'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import type { Duplex } from 'node:stream'
import { onTestFinished } from 'vitest'
import { type Clock, systemClock } from '../../daemon/clock.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { Handlers, RawAnswer } from '../../ipc/api.ts'
import { IpcServer } from '../../ipc/server.ts'

export const SELF = 'a'.repeat(52)
export const HELLO = '{"jsonrpc":"2.0","id":0,"method":"hello","params":{"app":"test","protocol":1}}\n'

type TestHandlers = { -readonly [M in keyof Handlers]?: Handlers[M] }

/** Both sockets in a folder of their own, with handlers of the test's choice. */
export class SocketHost implements AsyncDisposable {
  readonly folder: string
  readonly refusals = new Refusals()
  readonly server: IpcServer

  /** The users that were let in to a socket of their own. */
  readonly granted: number[] = []
  /** Set: none can be. */
  cannotGrant = false

  private constructor(folder: string, handlers: TestHandlers, clock: Clock) {
    this.folder = folder
    this.server = new IpcServer({
      handlers: handlers as Handlers,
      version: '0.1.0',
      id: SELF,
      features: ['messages'],
      clock,
      logger: silentLogger,
      refusals: this.refusals,
      grant: async (_, uid) => {
        if (this.cannotGrant) throw new Error('no access lists here')
        this.granted.push(uid)
      },
    })
  }

  static async start(handlers: TestHandlers = {}, clock: Clock = systemClock, folder?: string): Promise<SocketHost> {
    const host = new SocketHost(folder ?? (await temporaryFolder()), handlers, clock)
    await host.server.listen({ app: host.app, control: host.control, appMode: 0o600 })
    return host
  }

  /** With a socket for each user, as a machine's service has it. */
  static async shared(handlers: TestHandlers = {}, clock: Clock = systemClock, folder?: string): Promise<SocketHost> {
    const host = new SocketHost(folder ?? (await temporaryFolder()), handlers, clock)
    await host.server.listen({ app: host.app, control: host.control, appMode: 0o660, users: host.users })
    return host
  }

  get users(): string {
    return join(this.folder, 'users')
  }

  get app(): string {
    return join(this.folder, 'partyline.sock')
  }

  get control(): string {
    return join(this.folder, 'control.sock')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.server.stop()
    await rm(this.folder, { recursive: true, force: true })
  }
}

/** A folder that is gone after the test. */
export async function temporaryFolder(): Promise<string> {
  const folder = await mkdtemp(join(tmpdir(), 'partyline-ipc-'))
  onTestFinished(() => rm(folder, { recursive: true, force: true }))
  return folder
}

/** A program with nothing but a socket, as `socat` is: strings out, lines in. */
export class PlainApp implements Disposable {
  readonly socket: Socket
  /** Resolves with whatever was not taken as a line, when the daemon has closed its side. */
  readonly ended: Promise<string>
  #text = ''
  #done = false
  #wake = (): void => {}

  private constructor(socket: Socket) {
    this.socket = socket
    socket.setEncoding('latin1')
    socket.on('data', (chunk) => {
      this.#text += chunk
      this.#wake()
    })
    this.ended = new Promise((resolve) => {
      const end = (): void => {
        this.#done = true
        this.#wake()
        resolve(this.#text)
      }
      socket.on('error', end)
      socket.on('end', end)
      socket.on('close', end)
    })
  }

  static connect(path: string): Promise<PlainApp> {
    return new Promise((resolve, reject) => {
      const socket = connect({ path, allowHalfOpen: true })
      socket.once('error', reject)
      socket.once('connect', () => {
        socket.off('error', reject)
        resolve(new PlainApp(socket))
      })
    })
  }

  /** Connected, and has said hello. */
  static async greeted(path: string): Promise<PlainApp> {
    const app = await PlainApp.connect(path)
    app.send(HELLO)
    await app.answer()
    return app
  }

  send(bytes: string | Uint8Array): this {
    this.socket.write(bytes)
    return this
  }

  call(id: number, method: string, params: unknown = {}): this {
    return this.send(`${JSON.stringify({ jsonrpc: '2.0', id, method, params })}\n`)
  }

  /** The next line, as an object. */
  async answer(): Promise<Answer> {
    return JSON.parse(await this.line()) as Answer
  }

  async line(): Promise<string> {
    const bytes = await this.#until(() => this.#text.indexOf('\n') + 1)
    return bytes.slice(0, -1)
  }

  /** The next so many bytes. */
  bytes(count: number): Promise<string> {
    return this.#until(() => (this.#text.length >= count ? count : 0))
  }

  [Symbol.dispose](): void {
    this.socket.destroy()
  }

  async #until(find: () => number): Promise<string> {
    for (;;) {
      const end = find()
      if (end > 0) {
        const taken = this.#text.slice(0, end)
        this.#text = this.#text.slice(end)
        return taken
      }
      if (this.#done) throw new Error(`the connection ended; left: ${this.#text.slice(0, 200)}`)
      await new Promise<void>((resolve) => {
        this.#wake = resolve
      })
    }
  }
}

export interface Answer {
  readonly id?: number | string | null
  readonly method?: string
  readonly params?: Record<string, unknown>
  readonly result?: unknown
  readonly error?: { readonly code: number; readonly message: string; readonly data: { code: string; hint: string } }
}

/** A raw answer whose connection the test gets. */
export function rawAnswer<R>(result: R): { answer: RawAnswer<R>; attached: Promise<Duplex>; abandoned: Promise<void> } {
  const attached = Promise.withResolvers<Duplex>()
  const abandoned = Promise.withResolvers<void>()
  return {
    answer: { result, attach: attached.resolve, abandon: () => abandoned.resolve() },
    attached: attached.promise,
    abandoned: abandoned.promise,
  }
}

/** Everything that comes until the end. */
export async function drain(stream: AsyncIterable<unknown>): Promise<string> {
  const chunks: Buffer[] = []
  for await (const chunk of stream) chunks.push(Buffer.from(chunk as Uint8Array))
  return Buffer.concat(chunks).toString('latin1')
}
