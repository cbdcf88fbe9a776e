import Udx from 'udx-native'
import type { Clock, Timer } from '../clock.ts'
import { PartylineError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { TransportAddress } from '../nat/transport-address.ts'
import type { Refusals } from '../refusals.ts'
import type { HostPort, Milliseconds } from '../types.ts'
import { plainAddress } from './addresses.ts'
import { DatagramSocket, MAX_DATAGRAM, type SendResult } from './datagram-socket.ts'
import { type DatagramHandler, type DatagramKind, Demultiplexer } from './demultiplexer.ts'
import { LinkLocalSockets } from './link-local-sockets.ts'
import type { NetworkInterface } from './network.ts'
import { TwinSocket } from './twin-socket.ts'
import { UdxStream, type UdxStreamEvents } from './udx-stream.ts'

/** How often a datagram to a destination is sent so that the system says what it thinks of it. */
const CHECK_INTERVAL: Milliseconds = 1000
/** Larger ones are not sent that way: it may fragment them, and a probe of the path MTU has to get lost instead. */
const CHECK_SIZE = 1200
/** Destinations checked in one interval, and checks under way. */
const MAX_CHECKED = 1024
const MAX_CHECKS = 64

interface UdpEndpointOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
}

/** Told of a destination to which nothing can be sent, with the system's code: `ENETUNREACH`, `EHOSTUNREACH`, `EPERM`, `EMSGSIZE`, … */
type SendErrorHandler = (to: HostPort, code: string) => void

/**
 * The daemon's one UDP port, for IPv4 and IPv6. Datagrams leave with the don't-fragment bit, and are never fragmented here.
 *
 * `udx-native` says of no datagram that it could not be sent, so one in a second to each destination goes by `TwinSocket`, which does. What
 * is too large for the interface is therefore lost in silence; `EMSGSIZE` is told only of what exceeds `MAX_DATAGRAM`.
 */
export class UdpEndpoint {
  readonly #options: UdpEndpointOptions
  readonly #udx = new Udx()
  readonly #demultiplexer: Demultiplexer
  readonly #sockets = new Map<4 | 6, DatagramSocket>()
  readonly #twins = new Map<4 | 6, TwinSocket>()
  readonly #linkLocal: LinkLocalSockets
  readonly #missing = new Map<4 | 6, string>()
  readonly #errorHandlers = new Set<SendErrorHandler>()
  /** Destinations checked in this interval, by identity. */
  readonly #checked = new Set<HostPort>()
  #checks = 0
  #checkTimer: Timer | undefined
  #interfaces: readonly NetworkInterface[] = []
  #port = 0
  #closing: Promise<void> | undefined

  constructor(options: UdpEndpointOptions) {
    this.#options = options
    this.#demultiplexer = new Demultiplexer(options.refusals)
    this.#linkLocal = new LinkLocalSockets({
      clock: options.clock,
      open: (address, zone) => {
        const socket = this.#socket((host) => `${host}%${zone}`)
        socket.open(address, this.#port, true)
        return socket
      },
    })
  }

  /** The port, 0 while there is none. */
  get port(): number {
    return this.#port
  }

  /** Families that are not open, and why. */
  get missing(): ReadonlyMap<4 | 6, string> {
    if (this.#port > 0) return this.#missing
    return new Map([
      [4, 'the UDP port is not open'],
      [6, 'the UDP port is not open'],
    ])
  }

  /**
   * Opens the port (0: any) in both families, or in the one there is. Throws `local.port-taken` where either family's is in use, and may be
   * called again with another port then.
   */
  async bind(port: number): Promise<void> {
    if (this.#closing || this.#port > 0) throw new PartylineError('local.internal', 'the UDP port is open or closed')
    this.#missing.clear()
    try {
      let bound = port
      for (const family of [4, 6] as const) bound = (await this.#open(family, bound)) || bound
      if (this.#sockets.size === 0) throw new PartylineError('network.none', [...this.#missing.values()].join('; '))
      const { logger } = this.#options
      for (const family of this.#sockets.keys()) {
        const twin = await TwinSocket.open(bound, family, logger, (packet, from) => this.#take(packet, from))
        if (twin) this.#twins.set(family, twin)
      }
      this.#port = bound
    } catch (error) {
      await this.#closeSockets()
      throw error
    }
    if (this.#closing) return this.#closeSockets()
    this.#linkLocal.use(this.#interfaces)
  }

  /** The interfaces there are now, for what IPv6 needs to know of them: link-local addresses are of no use until it is told. */
  setInterfaces(interfaces: readonly NetworkInterface[]): void {
    this.#interfaces = interfaces
    if (this.#port > 0 && !this.#closing) this.#linkLocal.use(interfaces)
  }

  /** Gives all datagrams of a kind to `handler`, instead of to the one before; returns the way to stop that. */
  handle(kind: DatagramKind, handler: DatagramHandler): () => void {
    return this.#demultiplexer.handle(kind, handler)
  }

  /** Hands over a datagram that did not come to the port itself. */
  deliver(packet: Buffer, from: TransportAddress): void {
    this.#take(packet, from)
  }

  /** Tells of destinations to which nothing can be sent, some of them before `send` returns; returns the way to stop that. */
  onSendError(handler: SendErrorHandler): () => void {
    this.#errorHandlers.add(handler)
    return () => this.#errorHandlers.delete(handler)
  }

  /**
   * Sends without waiting. The buffer may be used again when this returns, unless the datagram is queued: then it is given away for good. At
   * most 128 KiB wait for the kernel; what comes on top is dropped. For one destination pass the same `to` each time.
   */
  send(packet: Buffer, to: HostPort): SendResult {
    if (packet.length > MAX_DATAGRAM) return this.#fail(to, 'EMSGSIZE')
    if (!(to.port > 0 && to.port < 65536)) return this.#fail(to, 'EINVAL')
    let { address } = to
    const family = address.includes(':') ? 6 : 4
    let socket = this.#sockets.get(family)
    if (family === 6) {
      if (address.startsWith('::ffff:')) return this.#sendMapped(packet, to)
      const at = address.indexOf('%')
      if (at > 0) {
        const zone = address.slice(at + 1)
        // libuv takes a zone that is none for any, and the datagram would go wherever it may.
        if (!this.#linkLocal.isZone(zone)) return this.#fail(to, 'ENODEV')
        const inZone = this.#linkLocal.get(zone)
        if (inZone) address = address.slice(0, at)
        socket = inZone ?? socket
      }
    }
    if (!socket) return this.#fail(to, 'ENETUNREACH')
    if (!this.#checked.has(to) && packet.length <= CHECK_SIZE && this.#check(packet, to, family)) return 'queued'
    return socket.transmit(packet, to, address, family)
  }

  /** Sends to everyone: to a broadcast address, or a multicast group with its zone. Throws the system's error. */
  announce(packet: Buffer, to: HostPort): Promise<void> {
    const twin = this.#twins.get(to.address.includes(':') ? 6 : 4)
    if (!twin) return Promise.reject(new PartylineError('network.unreachable', 'the UDP port is not open'))
    return new Promise((resolve, reject) => twin.send(packet, to, (error) => (error ? reject(error) : resolve())))
  }

  /**
   * Opens a UDX stream that takes the packets with `id` that come to this port, from whom and by whichever socket they come. Its own packets
   * go to this port too, with `loopId`: no stream has that, so that the owner of `udx` gets them and sends them on where they should go. It
   * is how a stream changes its path: UDX sends again what it sent once only to where it went then. Throws `network.none` while the port
   * is not open.
   */
  openUdx(id: number, loopId: number, events: UdxStreamEvents): UdxStream {
    const loopback = this.#loopback()
    if (!loopback) throw new PartylineError('network.none', 'the UDP port is not open')
    const stream = new UdxStream(this.#udx, id, events)
    stream.connect(loopback.socket, loopId, this.#port, loopback.address)
    stream.stopSearching()
    return stream
  }

  /** True for what this port sent to itself: the system lets nothing from elsewhere have such an address. */
  isOwn(from: HostPort): boolean {
    return from.port === this.#port && (from.address === '127.0.0.1' || from.address === '::1')
  }

  /** Hands a packet to this port as if it had come from the network; false if it cannot. */
  loop(packet: Buffer): boolean {
    const loopback = this.#loopback()
    if (!loopback || packet.length > MAX_DATAGRAM) return false
    const { address, family, socket } = loopback
    return socket.transmit(packet, { address, port: this.#port }, address, family) !== 'dropped'
  }

  /** Safe to call twice. What waits is not sent. */
  close(): Promise<void> {
    this.#closing ??= this.#closeSockets()
    return this.#closing
  }

  async #closeSockets(): Promise<void> {
    this.#checkTimer?.cancel()
    const streaming = [...this.#sockets.values()]
    const open = [...streaming, ...this.#twins.values(), this.#linkLocal]
    this.#sockets.clear()
    this.#twins.clear()
    this.#port = 0
    // A socket does not close while there are streams on it.
    for (const socket of streaming) for (const stream of socket.streams) stream.destroy()
    await Promise.all(open.map((one) => one.close()))
  }

  /** Opens the socket of a family; returns its port, 0 where the system does not have the family. */
  async #open(family: 4 | 6, port: number): Promise<number> {
    const host = family === 4 ? '0.0.0.0' : '::'
    try {
      // Shared ports are shared with other programs of this user too; alone first, to hear of those.
      const alone = this.#socket(() => undefined)
      alone.open(host, port, false)
      const bound = alone.port
      await alone.close()
      const socket = this.#socket((address) => this.#withOnlyZone(address))
      socket.open(host, bound, true)
      this.#sockets.set(family, socket)
      return bound
    } catch (error) {
      const { code, message } = error as NodeJS.ErrnoException
      if (code === 'EADDRINUSE' || code === 'EACCES')
        throw new PartylineError('local.port-taken', `UDP port ${port} is in use or not permitted (IPv${family})`)
      this.#options.logger.info('a UDP socket cannot be opened', { family, port, error: message })
      this.#missing.set(family, message)
      return 0
    }
  }

  #socket(locate: (address: string) => string | undefined): DatagramSocket {
    return new DatagramSocket({
      udx: this.#udx,
      locate,
      received: (packet, from) => this.#take(packet, from),
      failed: (to, code) => this.#fail(to, code),
    })
  }

  #loopback(): { socket: DatagramSocket; family: 4 | 6; address: string } | undefined {
    for (const family of [4, 6] as const) {
      const socket = this.#sockets.get(family)
      if (socket && this.#port > 0) return { socket, family, address: family === 4 ? '127.0.0.1' : '::1' }
    }
    return undefined
  }

  #withOnlyZone(address: string): string | undefined {
    const zone = this.#linkLocal.onlyZone()
    return zone === undefined ? undefined : `${address}%${zone}`
  }

  #take(packet: Buffer, from: TransportAddress): void {
    if (packet.length > MAX_DATAGRAM) return this.#options.refusals.count('peer.oversized')
    try {
      this.#demultiplexer.deliver(packet, from)
    } catch (error) {
      this.#options.refusals.count('local.internal')
      this.#options.logger.error('a datagram could not be handled', { error: String(error) })
    }
  }

  /** To IPv4 written as IPv6 (RFC 4291 section 2.5.5.2), of which this port has its own sockets. */
  #sendMapped(packet: Buffer, to: HostPort): SendResult {
    const address = plainAddress(to.address)
    const socket = this.#sockets.get(4)
    return socket && !address.includes(':') ? socket.transmit(packet, to, address, 4) : this.#fail(to, 'ENETUNREACH')
  }

  /** Sends by the socket that tells errors; false where that is not possible now. */
  #check(packet: Buffer, to: HostPort, family: 4 | 6): boolean {
    const twin = this.#twins.get(family)
    if (!twin || this.#checked.size >= MAX_CHECKED || this.#checks >= MAX_CHECKS) return false
    if (this.#checked.size === 0)
      this.#checkTimer = this.#options.clock.after(CHECK_INTERVAL, () => this.#checked.clear())
    this.#checked.add(to)
    this.#checks++
    twin.send(packet, to, (error) => {
      this.#checks--
      if (error && !this.#closing) this.#fail(to, error.code ?? 'EINVAL')
    })
    return true
  }

  #fail(to: HostPort, code: string): 'dropped' {
    for (const handler of this.#errorHandlers) handler(to, code)
    return 'dropped'
  }
}
