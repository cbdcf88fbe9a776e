import { createServer, type Server, type Socket } from 'node:net'
import { createServer as createTlsServer, type TlsOptions } from 'node:tls'
import type { Clock, Timer } from '../clock.ts'
import { PartylineError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { LAST_OLD_CHANNEL } from '../nat/turn/channel-data.ts'
import { StreamFramer } from '../nat/turn/stream-framer.ts'
import { plainAddress } from '../network/addresses.ts'
import type { HostPort, Milliseconds } from '../types.ts'
import type { ClientTransport, TurnClient } from './turn-client.ts'

/** Connections in all, and from one address. */
const MAX_CONNECTIONS = 1024
export const MAX_PER_ADDRESS = 256
/** What may wait for a client that reads slowly; what comes on top is lost, as datagrams are. */
export const MAX_UNSENT = 256 * 1024
/** A connection that has no relay for so long is closed, whatever comes over it. */
const IDLE: Milliseconds = 15_000
const LOOK: Milliseconds = 5000

interface StreamListenerOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly received: (packet: Buffer, client: TurnClient) => void
  readonly gone: (client: TurnClient) => void
  /** True while the client has a relay. */
  readonly isUsed: (client: TurnClient) => boolean
}

/** A client that comes over TCP or TLS. */
class StreamClient implements TurnClient {
  readonly key: string
  readonly transport: ClientTransport
  readonly from: HostPort
  readonly lastChannel = LAST_OLD_CHANNEL
  usedAt: Milliseconds
  readonly #socket: Socket

  constructor(key: string, transport: ClientTransport, socket: Socket, now: Milliseconds) {
    this.key = key
    this.transport = transport
    this.from = { address: plainAddress(socket.remoteAddress ?? ''), port: socket.remotePort ?? 0 }
    this.usedAt = now
    this.#socket = socket
  }

  send(packet: Buffer): void {
    if (this.#socket.writable && this.#socket.writableLength + packet.length <= MAX_UNSENT) this.#socket.write(packet)
  }

  close(): void {
    this.#socket.destroy()
  }
}

/** A port for clients over TCP, or over TLS (RFC 8656 section 3.1). */
export class StreamListener {
  readonly #options: StreamListenerOptions
  readonly #server: Server
  readonly #transport: 'tcp' | 'tls'
  readonly #sockets = new Map<Socket, string>()
  readonly #clients = new Set<StreamClient>()
  #timer: Timer | undefined
  #count = 0

  /** `tls`: over TLS, with these options. */
  constructor(options: StreamListenerOptions, tls?: TlsOptions) {
    this.#options = options
    this.#transport = tls ? 'tls' : 'tcp'
    if (tls) {
      this.#server = createTlsServer({ ...tls, handshakeTimeout: IDLE }, (socket) => this.#take(socket))
      this.#server.on('connection', (socket: Socket) => this.#admit(socket))
      this.#server.on('tlsClientError', (_error, socket: Socket) => socket.destroy())
    } else
      this.#server = createServer((socket) => {
        if (this.#admit(socket)) this.#take(socket)
      })
  }

  /** Listens at all addresses (0: any port); the port. Throws `local.port-taken`. */
  async listen(port: number): Promise<number> {
    try {
      await this.#listen(port, '::')
    } catch (error) {
      const { code } = error as NodeJS.ErrnoException
      if (code === 'EADDRINUSE' || code === 'EACCES') throw taken(port)
      // Without IPv6.
      await this.#listen(port, '0.0.0.0').catch(() => {
        throw taken(port)
      })
    }
    this.#server.on('error', (error) => this.#options.logger.warn('the relay has trouble', { error: String(error) }))
    this.#look()
    const address = this.#server.address()
    return address !== null && typeof address === 'object' ? address.port : port
  }

  /** Closes the port and all connections. Safe to call twice. */
  async close(): Promise<void> {
    this.#timer?.cancel()
    const closed = new Promise<void>((resolve) => this.#server.close(() => resolve()))
    for (const socket of this.#sockets.keys()) socket.destroy()
    await closed
  }

  #listen(port: number, host: string): Promise<void> {
    return new Promise((resolve, reject) => {
      this.#server.once('error', reject)
      this.#server.listen({ port, host }, () => {
        this.#server.off('error', reject)
        resolve()
      })
    })
  }

  #admit(socket: Socket): boolean {
    const address = plainAddress(socket.remoteAddress ?? '')
    const same = [...this.#sockets.values()].filter((one) => one === address).length
    if (this.#sockets.size >= MAX_CONNECTIONS || same >= MAX_PER_ADDRESS) {
      socket.destroy()
      return false
    }
    this.#sockets.set(socket, address)
    socket.on('error', () => {})
    socket.once('close', () => this.#sockets.delete(socket))
    return true
  }

  #take(socket: Socket): void {
    const { clock, received, gone } = this.#options
    if (socket.destroyed) return
    const client = new StreamClient(`${this.#transport}#${++this.#count}`, this.#transport, socket, clock.now())
    const framer = new StreamFramer((packet) => received(packet, client), LAST_OLD_CHANNEL)
    this.#clients.add(client)
    socket.setNoDelay(true)
    socket.on('error', () => {})
    socket.on('data', (chunk: Buffer) => {
      try {
        framer.push(chunk)
      } catch {
        // Neither STUN nor ChannelData: somebody else's protocol.
        socket.destroy()
      }
    })
    socket.once('close', () => {
      this.#clients.delete(client)
      gone(client)
    })
  }

  /** Closes connections that nobody uses. */
  #look(): void {
    const { clock, isUsed } = this.#options
    this.#timer = clock.after(LOOK, () => {
      const now = clock.now()
      for (const client of this.#clients) {
        if (isUsed(client)) client.usedAt = now
        else if (now >= client.usedAt + IDLE) client.close()
      }
      this.#look()
    })
  }
}

function taken(port: number): PartylineError {
  return new PartylineError('local.port-taken', `TCP port ${port} is in use or not permitted`)
}
