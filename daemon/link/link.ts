import type { Duplex } from 'node:stream'
import type { Carrier, HostPort, PeerId } from '../types.ts'

/** The protocol's name in TLS (ALPN, RFC 7301). */
export const ALPN = 'partyline/1'

/**
 * TLS 1.3 over a carrier, both ends proven by their Ed25519 keys: whoever holds a Link may rely on `peer`.
 * Reading starts with the first byte after the handshake; half-close is kept (`allowHalfOpen`).
 */
export interface Link {
  readonly peer: PeerId
  readonly carrier: Carrier
  /** True when this host dialled it. */
  readonly dialled: boolean
  readonly local: HostPort
  readonly remote: HostPort
  /** TLS cipher suite, as OpenSSL names it, and key exchange group (`X25519MLKEM768` or `X25519`). */
  readonly cipher: string
  readonly group: string
  /** The encrypted byte pipe (a `tls.TLSSocket` over TCP). */
  readonly socket: Duplex
  /** Key material that only the two ends can have (RFC 8446 section 7.5, RFC 5705): `length` bytes for a purpose that `label` names. */
  exportKey(label: string, length: number): Buffer
  /** Ends it at once, without a goodbye. Safe to call twice. */
  destroy(): void
}
