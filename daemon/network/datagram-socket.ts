import { getSystemErrorName } from 'node:util'
import type Udx from 'udx-native'
import binding from 'udx-native/binding.js'
import UdxSocket from 'udx-native/lib/socket.js'
import type { HostPort } from '../types.ts'

/**
 * The largest datagram that comes in. `udx-native` reads into 2,048 bytes and does not say when it cut something off, so one of exactly
 * that size counts as cut.
 */
export const MAX_DATAGRAM = 2047
/** What may wait in a socket for the kernel to take it; each datagram counts as `OVERHEAD` bytes more than it has. */
const MAX_QUEUED = 128 * 1024
const OVERHEAD = 512
/** Asked for; what the system grants may be less. */
const BUFFER_SIZE = 4 * 1024 * 1024

/** Flags of `uv_udp_bind`. */
const IPV6_ONLY = 1
const REUSE_ADDRESS = 4
const REUSE_PORT = 64
/** Lets sockets of one user share a port. Other systems have only a flag that lets anybody, and Windows needs none. */
const SHARE = process.platform === 'linux' ? REUSE_PORT : REUSE_ADDRESS

/**
 * What became of a datagram: gone to the kernel, and its buffer is the caller's again; waiting, and its buffer is never the caller's again;
 * not sent, and its buffer is the caller's again.
 */
export type SendResult = 'sent' | 'queued' | 'dropped'

interface DatagramSocketOptions {
  readonly udx: Udx
  readonly received: (packet: Buffer, from: HostPort) => void
  /** A datagram could not be sent. */
  readonly failed: (to: HostPort, code: string) => void
  /** The address with its zone; undefined where that cannot be told, and the datagram is dropped. */
  readonly locate: (address: string) => string | undefined
}

interface Request {
  readonly handle: Buffer
  packet: Buffer | undefined
  to: HostPort | undefined
  charge: number
}

const isLinkLocal = (address: string): boolean => /^fe[89ab]/.test(address)

/**
 * A socket of `udx-native`, so that UDX streams can share its port, without what its own class does for each datagram: it keeps no promise,
 * makes no objects, and tells how much waits and what became of it.
 */
export class DatagramSocket extends UdxSocket {
  readonly #options: DatagramSocketOptions
  readonly #requests: Request[] = []
  readonly #free: number[] = []
  /** The last sender, who is most often the next one too. */
  #host = ''
  #from: HostPort = { address: '', port: 0 }
  #queued = 0

  constructor(options: DatagramSocketOptions) {
    super(options.udx)
    this.#options = options
  }

  get port(): number {
    return this._port
  }

  /** Opens it on an address. Shared: beside others of this user that bind other addresses. Throws the system's error. */
  open(host: string, port: number, share: boolean): void {
    const family = host.includes(':') ? 6 : 4
    this._init()
    try {
      const flags = (family === 6 ? IPV6_ONLY : 0) | (share ? SHARE : 0)
      this._port = binding.udx_napi_socket_bind(this._handle, port, host, family, flags)
    } catch (error) {
      void this.close()
      throw error
    }
    this._host = host
    this._family = family
    for (const enlarge of [this.setSendBufferSize, this.setRecvBufferSize]) {
      try {
        enlarge.call(this, BUFFER_SIZE)
      } catch {
        // Some systems refuse instead of granting less; what was there stays.
      }
    }
  }

  /** Sends to `address`, which is that of `to` as the system wants it here. */
  transmit(packet: Buffer, to: HostPort, address: string, family: 4 | 6): SendResult {
    const charge = packet.length + OVERHEAD
    if (this.closing || this.#queued + charge > MAX_QUEUED) return 'dropped'
    const id = this.#free.pop() ?? this.#addRequest()
    const request = this.#requests[id] as Request
    request.packet = packet
    try {
      binding.udx_napi_socket_send_ttl(this._handle, request.handle, id, packet, to.port, address, family, 0)
    } catch (error) {
      this.#release(request, id)
      this.#options.failed(to, (error as NodeJS.ErrnoException).code ?? 'EINVAL')
      return 'dropped'
    }
    if (request.packet === undefined) return 'sent'
    request.to = to
    request.charge = charge
    this.#queued += charge
    return 'queued'
  }

  override _onsend(id: number, status: number): void {
    const request = this.#requests[id]
    if (!request) return
    const { to } = request
    this.#release(request, id)
    if (to && status < 0 && !this.closing) this.#options.failed(to, getSystemErrorName(status))
  }

  override _onmessage(length: number, port: number, host: string): Buffer {
    const packet = this.udx._consumeMessage(length)
    const from = port === this.#from.port && host === this.#host ? this.#from : this.#senderOf(host, port)
    if (from) this.#options.received(packet, from)
    return this.udx._buffer
  }

  #senderOf(host: string, port: number): HostPort | undefined {
    if (!isLinkLocal(host)) {
      this.#host = host
      this.#from = { address: host, port }
      return this.#from
    }
    const address = this.#options.locate(host)
    return address === undefined ? undefined : { address, port }
  }

  #addRequest(): number {
    const handle = Buffer.allocUnsafe(binding.sizeof_udx_socket_send_t)
    return this.#requests.push({ handle, packet: undefined, to: undefined, charge: 0 }) - 1
  }

  #release(request: Request, id: number): void {
    this.#queued -= request.charge
    request.packet = undefined
    request.to = undefined
    request.charge = 0
    this.#free.push(id)
  }
}
