import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Logger } from '../logger.ts'
import type { HostPort } from '../types.ts'

/**
 * Addresses to which nothing comes that is meant for one host, so that a socket bound to one of them has the port and takes nothing away
 * from the other sockets on it; where the system does not allow that, the wildcard address. The group is transient and of site scope.
 */
const DEAF = { 4: ['255.255.255.255', '0.0.0.0'], 6: ['ff15::7061:7274', '::'] } as const

/**
 * A socket of Node on the port of a `DatagramSocket`, for what `udx-native` cannot do: send to everyone (`SO_BROADCAST`), and say why
 * something was not sent.
 */
export class TwinSocket {
  readonly #socket: Socket

  private constructor(socket: Socket) {
    this.#socket = socket
  }

  /** Undefined where it cannot be opened. What comes in all the same, on systems without `DEAF` addresses, goes to `received`. */
  static async open(
    port: number,
    family: 4 | 6,
    logger: Logger,
    received: (packet: Buffer, from: HostPort) => void,
  ): Promise<TwinSocket | undefined> {
    let reason = ''
    for (const address of DEAF[family]) {
      const socket = createSocket({
        type: family === 4 ? 'udp4' : 'udp6',
        ipv6Only: family === 6,
        ...(process.platform === 'linux' ? { reusePort: true } : { reuseAddr: true }),
        // Only addresses are sent to. Node's own look-up would put off each datagram until the present work is done.
        lookup: (host, _options, found) => found(null, host, family),
      })
      try {
        const listening = once(socket, 'listening')
        socket.bind({ port, address })
        await listening
        socket.on('error', (error) => logger.warn('the twin socket reports an error', { family, error: error.message }))
        socket.on('message', (packet, from) => received(packet, { address: from.address, port: from.port }))
        if (family === 4) socket.setBroadcast(true)
        return new TwinSocket(socket)
      } catch (error) {
        reason = (error as Error).message
        socket.close()
      }
    }
    logger.warn('the twin socket cannot be opened', { family, port, error: reason })
    return undefined
  }

  /** Sends; `packet` is read until `done`, which is told the system's error, if any. */
  send(packet: Buffer, { address, port }: HostPort, done: (error: NodeJS.ErrnoException | null) => void): void {
    this.#socket.send(packet, port, address, done)
  }

  close(): Promise<void> {
    return new Promise((resolve) => this.#socket.close(() => resolve()))
  }
}
