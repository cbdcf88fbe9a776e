import { createServer, type Server, type Socket } from 'node:net'
import type { Clock } from '../daemon/clock.ts'
import { PartylineError } from '../daemon/errors.ts'
import type { Logger } from '../daemon/logger.ts'
import type { Refusals } from '../daemon/refusals.ts'
import type { InheritedSockets } from '../daemon/service/environment.ts'
import type { Handlers, Publish } from './api.ts'
import { Connection, type ConnectionContext } from './connection.ts'
import { JsonLines } from './json-lines.ts'
import { MessagePackRpc } from './messagepack.ts'
import { EVENTS, type Topic } from './methods.ts'
import { listenOn, listenOnInherited } from './socket-files.ts'

/** Apps connected at a time. */
export const MAX_CONNECTIONS = 1024
/** Apps above that which are still told so, and how long they have to read it, in milliseconds. */
const MAX_TURNED_AWAY = 64
const TURNING_AWAY = 2000
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

interface SocketPlaces {
  readonly app: string
  readonly control: string
  /** Permissions of the app socket: 0600, or 0660 for a system service and its group. */
  readonly appMode: number
  /** Sockets that a service manager opened at these places, as file descriptors. */
  readonly inherited?: InheritedSockets | undefined
}

/** The daemon's two sockets: one for apps, one for the owner. */
export class IpcServer {
  readonly #options: ServerOptions
  readonly #context: ConnectionContext
  readonly #servers: Server[] = []
  readonly #connections = new Map<number, Connection>()
  readonly #turnedAway = new Set<Socket>()
  #lastConnection = 0
  #seq = 0

  constructor(options: ServerOptions) {
    this.#options = options
    this.#context = { ...options, lastEvent: () => this.#seq }
  }

  /** Both sockets accept when this resolves. */
  async listen({ app, control, appMode, inherited = {} }: SocketPlaces): Promise<void> {
    await this.#open(control, 0o600, true, inherited.control)
    await this.#open(app, appMode, false, inherited.app)
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

  /** True when anybody subscribed to a topic. */
  hasSubscribers(topic: Topic): boolean {
    return this.#connections.values().some((connection) => connection.subscribes(topic))
  }

  /** Closes both sockets and every connection. Safe to call twice. */
  async stop(): Promise<void> {
    for (const connection of this.#connections.values()) connection.close()
    for (const socket of this.#turnedAway) socket.destroy()
    await Promise.all(
      this.#servers
        .splice(0)
        .map(
          (server) => new Promise<void>((resolve) => (server.listening ? server.close(() => resolve()) : resolve())),
        ),
    )
  }

  async #open(path: string, mode: number, owner: boolean, descriptor: number | undefined): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#admit(socket, owner))
    this.#servers.push(server)
    if (descriptor === undefined) await listenOn(server, path, mode)
    else await listenOnInherited(server, descriptor)
    server.on('error', (error) =>
      this.#options.logger.warn('a socket reports an error', { path, error: error.message }),
    )
  }

  #admit(socket: Socket, owner: boolean): void {
    if (this.#connections.size >= MAX_CONNECTIONS) return this.#turnAway(socket)
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

  /** Tells an app that there is no room, in the encoding it speaks. Those that say nothing are let go without a word. */
  #turnAway(socket: Socket): void {
    const { clock, refusals } = this.#options
    refusals.count('local.limit')
    socket.on('error', () => socket.destroy())
    if (this.#turnedAway.size >= MAX_TURNED_AWAY) return void socket.destroy()
    this.#turnedAway.add(socket)
    const patience = clock.after(TURNING_AWAY, () => socket.destroy())
    socket.once('close', () => {
      patience.cancel()
      this.#turnedAway.delete(socket)
    })
    socket.once('end', () => socket.destroy())
    socket.once('data', (chunk) => {
      const codec = chunk[0] === 0x94 ? new MessagePackRpc() : new JsonLines()
      socket.end(
        Buffer.from(
          codec.error(null, new PartylineError('local.limit', `${MAX_CONNECTIONS} apps are connected already`)),
        ),
      )
      socket.resume()
    })
  }
}
