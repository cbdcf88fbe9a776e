import { once } from 'node:events'
import type { Socket } from 'node:net'
import { createServer, type Server, type TLSSocket } from 'node:tls'
import { PartylineError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Refusals } from '../refusals.ts'
import type { Milliseconds } from '../types.ts'
import type { Link } from './link.ts'
import { tlsLink } from './tls-link.ts'
import { handshakeError, provenPeer, type tlsOptions } from './tls-options.ts'

/** What the listening port bears. */
export interface ListenLimits {
  /** Links from one address, those in their handshake included. */
  readonly perAddress: number
  /** Links whose handshake or greeting is not done. */
  readonly halfOpen: number
  /** Links in all. */
  readonly total: number
  /** Time for handshake and greeting together. */
  readonly handshake: Milliseconds
}

interface ListenerOptions {
  readonly tls: ReturnType<typeof tlsOptions>
  readonly limits: ListenLimits
  readonly refusals: Refusals
  readonly logger: Logger
  /** Takes a link that proved its key. It is half-open until `greeted` is called. */
  readonly onLink: (link: Link, greeted: () => void) => void
}

/** The daemon's one TCP port. Newcomers over a limit are refused; whoever is inside is left alone. */
export class LinkListener {
  readonly #options: ListenerOptions
  readonly #server: Server
  readonly #sockets = new Set<Socket>()
  readonly #perAddress = new Map<string, number>()
  #halfOpen = 0

  constructor(options: ListenerOptions) {
    this.#options = options
    this.#server = createServer({ ...options.tls, handshakeTimeout: options.limits.handshake })
    this.#server.on('connection', (socket: Socket) => this.#admit(socket))
    this.#server.on('secureConnection', (socket: TLSSocket) => this.#secured(socket))
    this.#server.on('tlsClientError', (error, socket) => {
      const refusal = handshakeError(error)
      if (refusal.code !== 'network.unreachable') this.#refuse(refusal)
      socket.destroy()
    })
  }

  /** Listens on IPv6 and IPv4; picks another port if this one is taken, unless it is insisted on (`local.port-taken`). */
  async listen(port: number, insist: boolean): Promise<number> {
    const wishes = insist ? [port] : [port, 0]
    for (const wish of wishes) {
      for (const host of ['::', '0.0.0.0']) {
        try {
          this.#server.listen({ port: wish, host })
          await once(this.#server, 'listening')
          this.#server.on('error', (error) =>
            this.#options.logger.warn('the port reports an error', { error: error.message }),
          )
          return this.port
        } catch (error) {
          const { code } = error as NodeJS.ErrnoException
          // EAFNOSUPPORT, EADDRNOTAVAIL: no IPv6 here; IPv4 alone will do.
          if (code === 'EADDRINUSE' || code === 'EACCES') break
          if (host === '0.0.0.0') throw error
        }
      }
    }
    throw new PartylineError('local.port-taken', `port ${port} is in use or not permitted`)
  }

  get port(): number {
    const address = this.#server.address()
    return typeof address === 'object' && address ? address.port : 0
  }

  /** How many links there are, and how many of them in their handshake. */
  get counts(): { open: number; halfOpen: number } {
    return { open: this.#sockets.size, halfOpen: this.#halfOpen }
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets) socket.destroy()
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    await closed
  }

  #admit(socket: Socket): void {
    const { limits } = this.#options
    const address = socket.remoteAddress ?? ''
    const fromHere = this.#perAddress.get(address) ?? 0
    if (this.#halfOpen >= limits.halfOpen || fromHere >= limits.perAddress || this.#sockets.size >= limits.total) {
      this.#refuse(new PartylineError('peer.too-many-links'))
      socket.destroy()
      return
    }
    this.#perAddress.set(address, fromHere + 1)
    this.#sockets.add(socket)
    this.#halfOpen++
    this.#pending.add(socket)
    socket.once('close', () => {
      this.#sockets.delete(socket)
      this.#settled(socket)
      const left = (this.#perAddress.get(address) ?? 1) - 1
      if (left > 0) this.#perAddress.set(address, left)
      else this.#perAddress.delete(address)
    })
  }

  readonly #pending = new Set<Socket>()

  /** The socket is half-open no longer: greeted, or gone. */
  #settled(socket: Socket): void {
    if (this.#pending.delete(socket)) this.#halfOpen--
  }

  #secured(socket: TLSSocket): void {
    socket.on('error', () => socket.destroy())
    const raw = rawOf(socket, this.#pending)
    try {
      const link = tlsLink(socket, provenPeer(socket), false)
      this.#options.onLink(link, () => raw && this.#settled(raw))
    } catch (error) {
      this.#refuse(error as PartylineError)
      socket.destroy()
    }
  }

  #refuse(error: PartylineError): void {
    this.#options.refusals.count(error.code)
    this.#options.logger.debug('a link was refused', { code: error.code })
  }
}

/** The TCP socket below a TLS socket, found by its ends. */
function rawOf(socket: TLSSocket, pending: ReadonlySet<Socket>): Socket | undefined {
  for (const raw of pending)
    if (raw.remotePort === socket.remotePort && raw.remoteAddress === socket.remoteAddress) return raw
  return undefined
}
