import { connect, TLSSocket } from 'node:tls'
import { formatTransport, type TransportAddress } from '../nat/transport-address.ts'
import type { HostPort, PeerId } from '../types.ts'
import type { Link } from './link.ts'
import { finishHandshake } from './tls-handshake.ts'
import { secured } from './tls-link.ts'
import type { tlsOptions } from './tls-options.ts'
import type { UdxCarrier } from './udx-carrier.ts'

interface UdxLinkOptions {
  /** One end is the client, the other the server; who is which was agreed elsewhere. */
  readonly role: 'client' | 'server'
  readonly tls: ReturnType<typeof tlsOptions>
  /** The only key that will do. */
  readonly expected: PeerId
  /** Ends the attempt; the time limit is the caller's. */
  readonly signal: AbortSignal
}

const NOWHERE: TransportAddress = { address: '0.0.0.0', port: 0 }

/**
 * TLS over a carrier. Rejects with `network.unreachable`, `peer.wrong-key`, `peer.wrong-protocol` or `peer.bad-certificate`, and destroys the
 * carrier then. Its `local` and `remote` tell the path the carrier has when they are asked.
 */
export async function shakeHands(carrier: UdxCarrier, options: UdxLinkOptions): Promise<Link> {
  const { role, tls, expected, signal } = options
  const dialled = role === 'client'
  const settings = { ...tls, ALPNProtocols: [...tls.ALPNProtocols] }
  const socket = dialled
    ? connect({ ...settings, socket: carrier.socket })
    : new TLSSocket(carrier.socket, { ...settings, isServer: true })
  try {
    const event = dialled ? 'secureConnect' : 'secure'
    const where = carrier.to ? formatTransport(carrier.to) : 'the peer'
    const peer = await finishHandshake(socket, { expected, where, event, signal })
    return {
      ...secured(socket, peer, dialled),
      carrier: 'udx',
      get local(): HostPort {
        return carrier.local
      },
      get remote(): HostPort {
        const { address, port } = carrier.to ?? NOWHERE
        return { address, port }
      },
    }
  } catch (error) {
    carrier.destroy()
    throw error
  }
}
