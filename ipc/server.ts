import { createServer, type Server, type Socket } from 'node:net'
import type { Clock } from '../daemon/clock.ts'
import { PartylineError } from '../daemon/errors.ts'
import type { Logger } from '../daemon/logger.ts'
import type { Refusals } from '../daemon/refusals.ts'
import type { InheritedSockets } from '../daemon/service/environment.ts'
import type { Handlers, Publish } from './api.ts'
import { Connection, type ConnectionContext, type Entrance } from './connection.ts'
import { JsonLines } from './json-lines.ts'
import { MessagePackRpc } from './messagepack.ts'
import { EVENTS, type Topic } from './methods.ts'
import { Quota } from './quota.ts'
import { listenOn, listenOnInherited } from './socket-files.ts'
import { type Grant, type UserSocket, UserSockets } from './user-sockets.ts'

/** Apps connected at a time, and as many programs of the owner. */
export const MAX_CONNECTIONS = 1024
/** Of those, the connections of one user of a shared daemon, and of all that do not tell whose they are. */
export const MAX_USER_CONNECTIONS = 256
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
  /** Lets one user connect to a socket; by systemd unless a test says otherwise. */
  readonly grant?: Grant
}

interface SocketPlaces {
  readonly app: string
  readonly control: string
  /** Permissions of the app socket: 0600, or 0660 for a system service and its group. */
  readonly appMode: number
  /** Sockets that a service manager opened at these places, as file descriptors. */
  readonly inherited?: InheritedSockets | undefined
  /** A folder for a socket for each user; undefined where all apps are of one user. */
  readonly users?: string | undefined
}

/** What a socket gives to whoever connects to it. */
type Door = Omit<Entrance, 'user'> & { readonly userOf: (connection: number) => string }

/** The user of all apps where there is one only. */
const SELF = 'self'

/** The daemon's two sockets: one for apps, one for the owner. */
export class IpcServer {
  readonly #options: ServerOptions
  readonly #context: ConnectionContext
  readonly #servers: Server[] = []
  readonly #connections = new Map<number, Connection>()
  readonly #turnedAway = new Set<Socket>()
  #users: UserSockets | undefined
  #lastConnection = 0
  #owners = 0
  #seq = 0

  constructor(options: ServerOptions) {
    this.#options = options
    this.#context = { ...options, lastEvent: () => this.#seq }
  }

  /** Both sockets accept when this resolves. */
  async listen({ app, control, appMode, inherited = {}, users }: SocketPlaces): Promise<void> {
    const { clock, logger, grant } = this.#options
    const own = users === undefined
    const owner = { owner: true, userOf: () => (own ? SELF : 'owner'), quota: new Quota(clock, MAX_CONNECTIONS) }
    await this.#open(control, 0o600, owner, inherited.control)
    if (users !== undefined) {
      this.#users = new UserSockets({
        folder: users,
        clock,
        logger,
        open: (path, uid) => this.#openFor(path, uid),
        ...(grant && { grant }),
      })
      await this.#users.start()
    }
    const apps: Door = {
      owner: false,
      // A program that does not tell is a user of its own.
      userOf: (connection) => (own ? SELF : `connection ${connection}`),
      quota: new Quota(clock, own ? MAX_CONNECTIONS : MAX_USER_CONNECTIONS),
      socketOf: this.#users && ((uid) => this.#users?.of(uid) ?? Promise.resolve(undefined)),
    }
    await this.#open(app, appMode, apps, inherited.app)
  }

  /** How many apps are connected. */
  get connections(): number {
    return this.#connections.size
  }

  readonly publish: Publish = (event, params, user) => {
    this.#seq++
    const { topic } = EVENTS[event]
    for (const connection of this.#connections.values())
      if (user === undefined || connection.user === user || connection.owner)
        connection.event(event, topic, this.#seq, params)
  }

  /** True when anybody subscribed to a topic. */
  hasSubscribers(topic: Topic): boolean {
    return this.#connections.values().some((connection) => connection.subscribes(topic))
  }

  /** Closes both sockets and every connection. Safe to call twice. */
  async stop(): Promise<void> {
    for (const connection of this.#connections.values()) connection.close()
    for (const socket of this.#turnedAway) socket.destroy()
    await Promise.all([this.#users?.stop(), ...this.#servers.splice(0).map(closeServer)])
  }

  async #open(path: string, mode: number, door: Door, descriptor: number | undefined): Promise<void> {
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#admit(socket, door))
    this.#servers.push(server)
    if (descriptor === undefined) await listenOn(server, path, mode)
    else await listenOnInherited(server, descriptor)
    this.#watch(server, path)
  }

  /** A socket of one user, for `UserSockets` to keep. */
  async #openFor(path: string, uid: number): Promise<UserSocket> {
    const quota = new Quota(this.#options.clock, MAX_USER_CONNECTIONS)
    const door = { owner: false, userOf: () => `user ${uid}`, quota }
    const server = createServer({ allowHalfOpen: true }, (socket) => this.#admit(socket, door))
    await listenOn(server, path, 0o600)
    this.#watch(server, path)
    return { isIdle: () => quota.connections === 0, close: () => closeServer(server) }
  }

  #watch(server: Server, path: string): void {
    server.on('error', (error) =>
      this.#options.logger.warn('a socket reports an error', { path, error: error.message }),
    )
  }

  #admit(socket: Socket, { userOf, ...door }: Door): void {
    const { owner, quota } = door
    const apps = this.#connections.size - this.#owners
    if (quota.connections >= quota.maxConnections || (!owner && apps >= MAX_CONNECTIONS))
      return this.#turnAway(socket, quota)
    const id = ++this.#lastConnection
    const connection = new Connection(id, { ...door, user: userOf(id) }, socket, this.#context)
    quota.connections++
    if (owner) this.#owners++
    this.#connections.set(connection.id, connection)
    const patience = this.#options.clock.after(HELLO_PATIENCE, () => {
      if (connection.greeted) return
      this.#options.refusals.count('usage.hello-first')
      connection.close()
    })
    socket.once('close', () => {
      patience.cancel()
      quota.connections--
      if (owner) this.#owners--
      this.#connections.delete(connection.id)
    })
  }

  /** Tells an app that there is no room, in the encoding it speaks. Those that say nothing are let go without a word. */
  #turnAway(socket: Socket, { connections, maxConnections }: Quota): void {
    const { clock, refusals } = this.#options
    refusals.count('local.limit')
    const most = connections >= maxConnections ? `${maxConnections} of this user’s` : MAX_CONNECTIONS
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
        Buffer.from(codec.error(null, new PartylineError('local.limit', `${most} apps are connected already`))),
      )
      socket.resume()
    })
  }
}

function closeServer(server: Server): Promise<void> {
  return new Promise((resolve) => (server.listening ? server.close(() => resolve()) : resolve()))
}
