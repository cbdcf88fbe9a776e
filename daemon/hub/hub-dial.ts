import type { X509Certificate } from 'node:crypto'
import { connect, type TLSSocket } from 'node:tls'
import { PartylineError } from '../errors.ts'
import { peerIdFromCertificate } from '../identity/certificate.ts'
import { handshakeError } from '../link/tls-options.ts'
import { formatHostPort } from '../network/network.ts'
import type { HostPort, PeerId } from '../types.ts'

/** The domain of a hub: nobody else's on the LAN looks like it, so that its people are mistaken for nobody else's. */
const HUB_DOMAIN = /^hub-[a-z0-9-]{1,59}\.local$/

/** A TLS connection to a hub, whose key the handshake has proven. */
export interface HubDoor {
  readonly socket: TLSSocket
  readonly peer: PeerId
  readonly certificate: X509Certificate
  /** The domain that the hub's certificate is for. */
  readonly domain: string
}

/**
 * Connects to a hub with TLS 1.3 from the first byte (XEP-0368). Any key will do; whose it is, the caller judges. Rejects with
 * `network.unreachable`, `peer.wrong-protocol` or `peer.bad-certificate`.
 */
export function dialHub(target: HostPort, signal: AbortSignal): Promise<HubDoor> {
  return new Promise((resolve, reject) => {
    const socket = connect({
      host: target.address,
      port: target.port,
      minVersion: 'TLSv1.3',
      ALPNProtocols: ['xmpp-client'],
      // The certificate that names the host; people's clients may be shown another.
      sigalgs: 'ed25519',
      // There is no authority to ask: the key itself is looked at below.
      rejectUnauthorized: false,
    })
    const fail = (error: PartylineError): void => {
      signal.removeEventListener('abort', abort)
      socket.destroy()
      reject(error)
    }
    const abort = (): void => fail(new PartylineError('network.unreachable', `${formatHostPort(target)}: given up`))
    const failed = (error: Error): void => fail(handshakeError(error))
    const closed = (): void =>
      fail(new PartylineError('network.unreachable', `${formatHostPort(target)} closed the connection`))
    socket.on('error', failed)
    if (signal.aborted) return abort()
    signal.addEventListener('abort', abort)
    socket.once('close', closed)
    // Stanzas are small and wait for each other's answers.
    socket.setNoDelay(true)
    socket.once('secureConnect', () => {
      try {
        const door = { socket, ...identityOf(socket) }
        signal.removeEventListener('abort', abort)
        socket.off('error', failed).off('close', closed)
        resolve(door)
      } catch (error) {
        fail(error as PartylineError)
      }
    })
  })
}

function identityOf(socket: TLSSocket): Omit<HubDoor, 'socket'> {
  const certificate = socket.getPeerX509Certificate()
  const peer = certificate && peerIdFromCertificate(certificate)
  if (!peer) throw new PartylineError('peer.bad-certificate')
  const [, domain = ''] = /^DNS:([^,]+)/.exec(certificate.subjectAltName ?? '') ?? []
  if (!HUB_DOMAIN.test(domain))
    throw new PartylineError('peer.bad-certificate', 'the certificate is not for the domain of a hub')
  return { peer, certificate, domain }
}
