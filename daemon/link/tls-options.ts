import { constants } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { PartylineError } from '../errors.ts'
import { type Certificate, peerIdFromCertificate } from '../identity/certificate.ts'
import type { PeerId } from '../types.ts'
import { ALPN } from './link.ts'

/**
 * TLS 1.3 and nothing older; both ends show a certificate, whose key is checked by us (there is no authority to ask). No tickets: a
 * resumed session would skip the certificate. AES-128-GCM first: with AES instructions it is twice as fast as ChaCha20, which is there
 * for machines without.
 */
export function tlsOptions({ certPem, keyPem }: Certificate) {
  return {
    cert: certPem,
    key: keyPem,
    minVersion: 'TLSv1.3',
    maxVersion: 'TLSv1.3',
    ciphers: 'TLS_AES_128_GCM_SHA256:TLS_CHACHA20_POLY1305_SHA256:TLS_AES_256_GCM_SHA384',
    ecdhCurve: 'X25519MLKEM768:X25519',
    sigalgs: 'ed25519',
    ALPNProtocols: [ALPN],
    requestCert: true,
    rejectUnauthorized: false,
    secureOptions: constants.SSL_OP_NO_TICKET,
    allowHalfOpen: true,
  } as const
}

/** The peer that a finished handshake proved. Throws `peer.wrong-protocol` or `peer.bad-certificate`. */
export function provenPeer(socket: TLSSocket): PeerId {
  if (socket.alpnProtocol !== ALPN || socket.getProtocol() !== 'TLSv1.3' || socket.isSessionReused())
    throw new PartylineError('peer.wrong-protocol')
  const certificate = socket.getPeerX509Certificate()
  const peer = certificate && peerIdFromCertificate(certificate)
  if (!peer) throw new PartylineError('peer.bad-certificate')
  return peer
}

/** What a failed handshake says of the other side, as one of our codes. */
export function handshakeError(error: NodeJS.ErrnoException): PartylineError {
  const code = error.code ?? ''
  if (code === 'ERR_TLS_HANDSHAKE_TIMEOUT') return new PartylineError('peer.handshake-timeout')
  if (code.startsWith('ERR_SSL') || code === 'EPROTO')
    return new PartylineError('peer.wrong-protocol', undefined, { cause: error })
  return new PartylineError('network.unreachable', error.message, { cause: error })
}
