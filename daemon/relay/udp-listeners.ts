import Udx from 'udx-native'
import { PartylineError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { LAST_OLD_CHANNEL } from '../nat/turn/channel-data.ts'
import { familyOf } from '../nat/turn/peer-address.ts'
import { DatagramSocket, MAX_DATAGRAM } from '../network/datagram-socket.ts'
import { formatHostPort } from '../network/network.ts'
import type { HostPort } from '../types.ts'
import type { TurnClient } from './turn-client.ts'

interface UdpListenersOptions {
  readonly logger: Logger
  readonly received: (packet: Buffer, client: TurnClient) => void
}

/** A client that comes over UDP. */
export class UdpClient implements TurnClient {
  readonly key: string
  readonly transport = 'udp'
  readonly from: HostPort
  readonly lastChannel: number
  readonly #send: (packet: Buffer, to: HostPort) => void

  /** `at`: tells the server's sockets apart. */
  constructor(from: HostPort, at: string, lastChannel: number, send: (packet: Buffer, to: HostPort) => void) {
    this.key = `${at} ${from.port} ${from.address}`
    this.from = from
    this.lastChannel = lastChannel
    this.#send = send
  }

  send(packet: Buffer): void {
    this.#send(packet, this.from)
  }
}

/**
 * The relay's UDP port, on a socket for each of this host's addresses: with one for all of them the system would answer from whichever it
 * likes best, and clients take no answer from an address they have not asked.
 */
export class UdpListeners {
  readonly #options: UdpListenersOptions
  readonly #udx = new Udx()
  readonly #sockets = new Map<string, DatagramSocket>()
  #port = 0

  constructor(options: UdpListenersOptions) {
    this.#options = options
  }

  get addresses(): readonly string[] {
    return [...this.#sockets.keys()]
  }

  /** Opens the port on these addresses. Throws `local.port-taken` where it is in use, and `network.none` where there is no address. */
  open(port: number, addresses: readonly string[]): void {
    this.#port = port
    let refused = ''
    for (const address of addresses) refused = this.#open(address) || refused
    if (this.#sockets.size > 0 && refused !== 'EADDRINUSE') return
    void this.close()
    if (refused === 'EADDRINUSE' || refused === 'EACCES')
      throw new PartylineError('local.port-taken', `UDP port ${port} is in use or not permitted`)
    throw new PartylineError('network.none', 'there is no address to relay at')
  }

  /** The addresses there are now. */
  update(addresses: readonly string[]): void {
    if (this.#port === 0) return
    for (const [address, socket] of [...this.#sockets]) {
      if (addresses.includes(address)) continue
      this.#sockets.delete(address)
      void socket.close()
    }
    for (const address of addresses) if (!this.#sockets.has(address)) this.#open(address)
  }

  /** Safe to call twice. */
  async close(): Promise<void> {
    this.#port = 0
    const sockets = [...this.#sockets.values()]
    this.#sockets.clear()
    await Promise.all(sockets.map((socket) => socket.close()))
  }

  /** The system's code where it does not work. */
  #open(address: string): string {
    const at = formatHostPort({ address, port: this.#port })
    const send = (packet: Buffer, to: HostPort): void =>
      void socket.transmit(packet, to, to.address, familyOf(to.address))
    const socket = new DatagramSocket({
      udx: this.#udx,
      locate: () => undefined,
      received: (packet, from) => {
        if (packet.length <= MAX_DATAGRAM)
          this.#options.received(packet, new UdpClient(from, at, LAST_OLD_CHANNEL, send))
      },
      failed: () => {},
    })
    try {
      socket.open(address, this.#port, false)
    } catch (error) {
      const { code = '' } = error as NodeJS.ErrnoException
      this.#options.logger.info('the relay cannot listen at an address', { address, port: this.#port, code })
      return code
    }
    this.#sockets.set(address, socket)
    return ''
  }
}
