import { createServer, type Server, type Socket } from 'node:net'
import type { Clock } from '../daemon/clock.ts'
import { PartylineError } from '../daemon/errors.ts'
import type { Logger } from '../daemon/logger.ts'
import type { Refusals } from '../daemon/refusals.ts'
import type { Handlers, Publish } from './api.ts'
import { Connection, type ConnectionContext } from './connection.ts'
import { JsonLines } from './json-lines.ts'
import { EVENTS } from './methods.ts'
import { listenOn } from './socket-files.ts'

/** Apps connected at a time. */
export const MAX_CONNECTIONS = 1024
/** How long a connection may take to say hello, in milliseconds. */
const HELLO_PATIENCE = 10_000

interface ServerOptions {
  readonly handlers: Handlers
  readonly version: string
  readonly id: string
  readonly features: readonly string[]
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
}

/** The daemon's two sockets: one for apps, one for the owner. */
export class IpcServer {
  readonly #options: ServerOptions
  readonly #context: ConnectionContext
  readonly #servers: Server[] = []
  readonly #connections = new Map<number, Connection>()
  #lastConnection = 0
  #seq = 0

  constructor(options: ServerOptions) {
    this.#options = options
    this.#context = { ...options, lastEvent: () => this.#seq }
  }

  /** `appMode`: permissions of the app socket (0600, or 0660 for a system service and its group). */
  async listen(sockets: { app: string; control: string; appMode: number }): Promise<void> {
    await this.#open(sockets.control, 0o600, true)
    await this.#open(sockets.app, sockets.appMode, false)
  }

  /** How many apps are connected. */
  get connections(): number {
    return this.#connections.size
  }

  readonly publish: Publish = (event, params) => {
    this.#seq++
    const { topic } = EVENTS[event]
    for (const connection of this.#connections.values()) connection.event(event, topic, this.#seq, params)
  }

  /** Closes both sockets and every connection. Safe to call twice. */
  async stop(): Promise<void> {
    for (const connection of this.#connections.values()) connection.close()
    await Promise.all(
      this.#servers
        .splice(0)
        .map(
          (server) => new Promise<void>((resolve) => (server.listening ? server.close(() => resolve()) : resolve())),
        ),
    )
  }

  async #open(path: string, mode: number, owner: boolean): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#admit(socket, owner))
    this.#servers.push(server)
    await listenOn(server, path, mode)
    server.on('error', (error) =>
      this.#options.logger.warn('a socket reports an error', { path, error: error.message }),
    )
  }

  #admit(socket: Socket, owner: boolean): void {
    if (this.#connections.size >= MAX_CONNECTIONS) {
      this.#options.refusals.count('local.limit')
      socket.on('error', () => socket.destroy())
      socket.end(
        new JsonLines().error(null, new PartylineError('local.limit', `${MAX_CONNECTIONS} apps are connected already`)),
      )
      socket.resume()
      return
    }
    const connection = new Connection(++this.#lastConnection, owner, socket, this.#context)
    this.#connections.set(connection.id, connection)
    const patience = this.#options.clock.after(HELLO_PATIENCE, () => {
      if (connection.greeted) return
      this.#options.refusals.count('usage.hello-first')
      connection.close()
    })
    socket.once('close', () => {
      patience.cancel()
      this.#connections.delete(connection.id)
    })
  }
}
