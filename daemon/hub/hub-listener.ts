import { constants } from 'node:crypto'
import { once } from 'node:events'
import { createServer, type Server, type Socket } from 'node:net'
import { createSecureContext, type SecureContext, TLSSocket } from 'node:tls'
import type { Clock, Timer } from '../clock.ts'
import type { ErrorCode } from '../errors.ts'
import type { Certificate } from '../identity/certificate.ts'
import { listenOn, portOf } from '../link/listen.ts'
import { handshakeError } from '../link/tls-options.ts'
import type { Logger } from '../logger.ts'
import { plainAddress } from '../network/addresses.ts'
import type { Refusals } from '../refusals.ts'
import type { Milliseconds } from '../types.ts'

/** What a hub's port bears. */
interface HubListenLimits {
  /** Connections in all. */
  readonly total: number
  readonly perAddress: number
  /** Connections in their handshake or log-in; those that come meanwhile wait for their turn, unread. */
  readonly halfOpen: number
  /** Time for handshake and log-in together. */
  readonly logIn: Milliseconds
}

interface HubListenerOptions {
  /** One of each kind of key; a client is shown the one that it prefers. */
  readonly certificates: readonly Certificate[]
  readonly limits: HubListenLimits
  readonly clock: Clock
  readonly refusals: Refusals
  readonly logger: Logger
  /** Takes a connection whose handshake is done. It is half-open until `settled` is called, and ended when that takes too long. */
  readonly onClient: (socket: TLSSocket, address: string, settled: () => void) => void
}

/** ALPN name of XMPP clients (XEP-0368); those that name no protocol are served too. */
const ALPN = 'xmpp-client'

/** The hub's one port: TLS 1.3, and limits on who comes. */
export class HubListener {
  readonly #options: HubListenerOptions
  readonly #secureContext: SecureContext
  readonly #server: Server
  readonly #perAddress = new Map<string, number>()
  readonly #open = new Set<Socket>()
  /** Connections that wait for their handshake, the oldest first. */
  readonly #waiting = new Set<Socket>()
  #halfOpen = 0

  constructor(options: HubListenerOptions) {
    this.#options = options
    this.#secureContext = createSecureContext({
      cert: options.certificates.map(({ certPem }) => certPem),
      key: options.certificates.map(({ keyPem }) => keyPem),
      minVersion: 'TLSv1.3',
      maxVersion: 'TLSv1.3',
      secureOptions: constants.SSL_OP_NO_TICKET,
    })
    this.#server = createServer({ noDelay: true, pauseOnConnect: true }, (socket) => this.#admit(socket))
  }

  /** Listens on IPv6 and IPv4; picks another port if this one is taken. Throws `local.port-taken` when there is none. */
  async listen(port: number): Promise<void> {
    await listenOn(this.#server, port, false)
    this.#server.on('error', (error) =>
      this.#options.logger.warn("the hub's port reports an error", { error: error.message }),
    )
  }

  get port(): number {
    return portOf(this.#server)
  }

  get counts(): { open: number; halfOpen: number; waiting: number } {
    return { open: this.#open.size, halfOpen: this.#halfOpen, waiting: this.#waiting.size }
  }

  /** Takes nobody in any more; those who are there stay. */
  close(): void {
    for (const socket of this.#waiting) socket.destroy()
    this.#server.close()
  }

  /** Ends every connection. */
  async stop(): Promise<void> {
    const closed = this.#server.listening ? once(this.#server, 'close') : undefined
    this.close()
    for (const socket of this.#open) socket.destroy()
    await closed
  }

  #admit(raw: Socket): void {
    const { limits } = this.#options
    const address = plainAddress(raw.remoteAddress ?? '')
    const fromHere = this.#perAddress.get(address) ?? 0
    if (fromHere >= limits.perAddress || this.#open.size >= limits.total) {
      this.#refuse('peer.too-many-links')
      raw.destroy()
      return
    }
    this.#open.add(raw)
    this.#perAddress.set(address, fromHere + 1)
    raw.on('error', () => raw.destroy())
    raw.once('close', () => {
      this.#open.delete(raw)
      this.#waiting.delete(raw)
      const left = (this.#perAddress.get(address) ?? 1) - 1
      if (left > 0) this.#perAddress.set(address, left)
      else this.#perAddress.delete(address)
    })
    this.#waiting.add(raw)
    this.#next()
  }

  #next(): void {
    const [raw] = this.#waiting
    if (!raw || this.#halfOpen >= this.#options.limits.halfOpen) return
    this.#waiting.delete(raw)
    this.#shakeHands(raw)
  }

  #shakeHands(raw: Socket): void {
    const { clock, limits, onClient } = this.#options
    const socket = new TLSSocket(raw, {
      secureContext: this.#secureContext,
      isServer: true,
      ALPNProtocols: [ALPN],
    })
    this.#halfOpen++
    let timer: Timer | undefined = clock.after(limits.logIn, () => {
      this.#refuse('peer.handshake-timeout')
      socket.destroy()
    })
    const settled = (): void => {
      if (!timer) return
      timer.cancel()
      timer = undefined
      this.#halfOpen--
      this.#next()
    }
    const leave = (): void => void socket.destroy()
    socket.once('end', leave)
    const broken = (error: Error): void => {
      const { code } = handshakeError(error)
      // Who merely leaves is not refused.
      if (code !== 'network.unreachable') this.#refuse(code)
      socket.destroy()
    }
    socket.on('error', broken)
    socket.once('close', () => {
      settled()
      raw.destroy()
    })
    socket.once('secure', () => {
      socket.off('end', leave)
      socket.off('error', broken).on('error', leave)
      onClient(socket, plainAddress(raw.remoteAddress ?? ''), settled)
    })
  }

  #refuse(code: ErrorCode): void {
    this.#options.refusals.count(code)
    this.#options.logger.debug('a client of the hub was refused', { code })
  }
}
