import type { TLSSocket } from 'node:tls'
import { PartylineError } from '../errors.ts'
import type { PeerId } from '../types.ts'
import { handshakeError, provenPeer } from './tls-options.ts'

interface HandshakeOptions {
  /** The only key that will do; undefined to learn whose it is. */
  readonly expected: PeerId | undefined
  /** Where the other end is, for people to read. */
  readonly where: string
  /** What `TLSSocket` emits at the end of the handshake: `secureConnect` where it was made by `connect`. */
  readonly event: 'secure' | 'secureConnect'
  readonly signal: AbortSignal
}

/**
 * Waits until a TLS socket has shaken hands, and tells the peer that it proved. Rejects with `network.unreachable`, `peer.wrong-key`,
 * `peer.wrong-protocol` or `peer.bad-certificate`, and destroys the socket then. Errors that come later are for whoever has the socket.
 */
export function finishHandshake(socket: TLSSocket, options: HandshakeOptions): Promise<PeerId> {
  const { expected, where, event, signal } = options
  return new Promise((resolve, reject) => {
    const fail = (error: PartylineError): void => {
      signal.removeEventListener('abort', abort)
      socket.destroy()
      reject(error)
    }
    const abort = (): void => fail(new PartylineError('network.unreachable', `${where}: given up`))
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort)
    socket.on('error', (error) => fail(handshakeError(error)))
    const closed = (): void => fail(new PartylineError('network.unreachable', `${where} closed the connection`))
    // With half-close kept, an end during the handshake is not followed by a close of its own.
    socket.once('end', closed)
    socket.once('close', closed)
    socket.once(event, () => {
      try {
        const peer = provenPeer(socket)
        if (expected !== undefined && peer !== expected)
          throw new PartylineError('peer.wrong-key', `${where} is ${peer.slice(0, 12)}, not ${expected.slice(0, 12)}`)
        signal.removeEventListener('abort', abort)
        socket.off('end', closed)
        resolve(peer)
      } catch (error) {
        fail(error as PartylineError)
      }
    })
  })
}
