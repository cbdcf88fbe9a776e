import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import { PartylineError, toPartylineError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Refusals } from '../refusals.ts'
import type { Milliseconds } from '../types.ts'
import type { Link } from './link.ts'
import { listenOn, portOf } from './listen.ts'
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
  /** Takes a connection that speaks XMPP, its first bytes unread; it counts until it closes. Without this all have to speak TLS. */
  readonly onXmpp?: (socket: Socket) => void
}

/** What an XMPP stream may begin with: `<` or white space. TLS begins with 22 (RFC 8446 section 5.1). */
const XMPP_BEGINNINGS: ReadonlySet<number> = new Set(Buffer.from('< \t\r\n'))

/** The daemon's one TCP port. Newcomers over a limit are refused; whoever is inside is left alone. */
export class LinkListener {
  readonly #options: ListenerOptions
  readonly #secureContext: SecureContext
  readonly #server: Server
  /** Every connection, with what ends its being half-open; undefined once that has ended. */
  readonly #sockets = new Map<Socket, (() => void) | undefined>()
  readonly #perAddress = new Map<string, number>()
  #halfOpen = 0

  constructor(options: ListenerOptions) {
    this.#options = options
    this.#secureContext = createSecureContext(options.tls)
    this.#server = createServer({ allowHalfOpen: true, noDelay: true }, (socket) => this.#admit(socket))
  }

  /** Listens on IPv6 and IPv4; picks another port if this one is taken, unless it is insisted on (`local.port-taken`). */
  async listen(port: number, insist: boolean): Promise<number> {
    await listenOn(this.#server, port, insist)
    this.#server.on('error', (error) =>
      this.#options.logger.warn('the port reports an error', { error: error.message }),
    )
    return this.port
  }

  get port(): number {
    return portOf(this.#server)
  }

  /** How many links there are, and how many of them in their handshake. */
  get counts(): { open: number; halfOpen: number } {
    return { open: this.#sockets.size, halfOpen: this.#halfOpen }
  }

  async stop(): Promise<void> {
    for (const socket of this.#sockets.keys()) socket.destroy()
    if (!this.#server.listening) return
    const closed = once(this.#server, 'close')
    this.#server.close()
    await closed
  }

  #admit(raw: Socket): void {
    const { limits } = this.#options
    const address = raw.remoteAddress ?? ''
    const fromHere = this.#perAddress.get(address) ?? 0
    if (this.#halfOpen >= limits.halfOpen || fromHere >= limits.perAddress || this.#sockets.size >= limits.total) {
      this.#refuse(new PartylineError('peer.too-many-links'))
      raw.destroy()
      return
    }
    this.#perAddress.set(address, fromHere + 1)
    const settled = this.#enter(raw, address)
    const { onXmpp } = this.#options
    if (onXmpp) this.#lookAtFirstByte(raw, settled, onXmpp)
    else this.#shakeHands(raw, settled)
  }

  /** Counts a connection until it closes. One time limit holds for first byte, handshake and greeting together, until `settled` is called. */
  #enter(raw: Socket, address: string): () => void {
    const tooLate = setTimeout(() => {
      this.#refuse(new PartylineError('peer.handshake-timeout'))
      raw.destroy()
    }, this.#options.limits.handshake)
    const settled = (): void => {
      clearTimeout(tooLate)
      if (this.#sockets.get(raw) === undefined) return
      this.#sockets.set(raw, undefined)
      this.#halfOpen--
    }
    this.#sockets.set(raw, settled)
    this.#halfOpen++
    raw.once('close', () => {
      settled()
      this.#sockets.delete(raw)
      const left = (this.#perAddress.get(address) ?? 1) - 1
      if (left > 0) this.#perAddress.set(address, left)
      else this.#perAddress.delete(address)
    })
    return settled
  }

  /** Tells XMPP from TLS. What has been read is put back: Node gives it to a `TLSSocket` as if it had just arrived. */
  #lookAtFirstByte(raw: Socket, settled: () => void, onXmpp: (socket: Socket) => void): void {
    const leave = (): void => void raw.destroy()
    const look = (): void => {
      const bytes: Buffer | null = raw.read()
      if (!bytes) return
      raw.off('readable', look).off('end', leave).off('error', leave)
      raw.unshift(bytes)
      if (!XMPP_BEGINNINGS.has(bytes[0] ?? 0)) return this.#shakeHands(raw, settled)
      settled()
      onXmpp(raw)
    }
    raw.on('readable', look).once('end', leave).once('error', leave)
  }

  #shakeHands(raw: Socket, settled: () => void): void {
    const socket = new TLSSocket(raw, {
      ...this.#options.tls,
      ALPNProtocols: [...this.#options.tls.ALPNProtocols],
      secureContext: this.#secureContext,
      isServer: true,
    })
    const refuse = (error: PartylineError): void => {
      // Who merely leaves is not refused.
      if (error.code !== 'network.unreachable') this.#refuse(error)
      socket.destroy()
    }
    const leave = (): void => void socket.destroy()
    socket.once('end', leave)
    const broken = (error: Error): void => refuse(handshakeError(error))
    socket.on('error', broken)
    socket.once('secure', () => {
      socket.off('end', leave)
      socket.off('error', broken).on('error', leave)
      try {
        this.#options.onLink(tlsLink(socket, provenPeer(socket), false), settled)
      } catch (error) {
        refuse(toPartylineError(error))
      }
    })
  }

  #refuse(error: PartylineError): void {
    this.#options.refusals.count(error.code)
    this.#options.logger.debug('a link was refused', { code: error.code })
  }
}
