import { createHash, type X509Certificate } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import { type Identity, verifySignature } from '../identity/key.ts'
import type { PeerId } from '../types.ts'

/** Label of the exported keying material (RFC 5705, RFC 8446 section 7.5) that ties a log-in to its connection. */
const EXPORTER_LABEL = 'EXPORTER-partyline-hub-login'
const CONTEXT = Buffer.from('partyline hub log-in 1\0')

/** What a daemon logs in with (SASL PLAIN, RFC 4616): its peer id, and a signature instead of a password. */
export interface Credential {
  readonly username: PeerId
  readonly password: string
}

/**
 * The credential for one TLS connection to a hub: a signature over the hub's certificate and keying material that only the two ends of
 * this connection have (RFC 9266). It is fresh by construction and good on no other connection, so a hub can neither pass it on to
 * another nor use it again, and no clock has to be right.
 *
 * `certificate` is the hub's, for whoever has asked the socket for it before: Node gives it only once.
 */
export function makeCredential(
  identity: Identity,
  socket: TLSSocket,
  certificate: X509Certificate | undefined = socket.getPeerX509Certificate(),
): Credential {
  if (!certificate) throw new Error('a credential needs a finished handshake')
  const signature = identity.sign(signedBytes(certificate.raw, socket))
  return { username: identity.peer, password: Buffer.from(signature).toString('base64url') }
}

/**
 * True for a credential made for this very connection by the key that `peer` is. `certificate` is the hub's own, DER. Never throws, not even
 * for a connection that is over.
 */
export function checkCredential(peer: PeerId, password: string, certificate: Uint8Array, socket: TLSSocket): boolean {
  if (socket.destroyed) return false
  return verifySignature(peer, signedBytes(certificate, socket), Buffer.from(password, 'base64url'))
}

function signedBytes(certificate: Uint8Array, socket: TLSSocket): Uint8Array {
  const binding = socket.exportKeyingMaterial(32, EXPORTER_LABEL, Buffer.alloc(0))
  return Buffer.concat([CONTEXT, createHash('sha256').update(certificate).digest(), binding])
}
