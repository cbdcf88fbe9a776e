import type { Duplex } from 'node:stream'
import type { TransportAddress } from '../nat/transport-address.ts'
import type { Carrier, HostPort, PeerId, Route } from '../types.ts'

/** The protocol's name in TLS (ALPN, RFC 7301). */
export const ALPN = 'partyline/1'

/** What changed below a link that goes on, and why. */
export interface PathChange {
  readonly from: Route
  readonly to: Route
  readonly reason: string
}

/** The path below a link whose carrier can move. */
export interface LinkPath {
  readonly route: Route
  /** Where its packets go. */
  readonly to: TransportAddress
  /** Calls `listener` after each change; returns the way to stop that. */
  onChange(listener: (change: PathChange) => void): () => void
  /** Opens another link of the same peer beside this one, on the same path, told to the peer by `announce`. */
  beside(announce: (stream: number) => void, signal: AbortSignal): Promise<Link>
  /** Takes the link that the peer announced: it comes as if it had been dialled. */
  take(stream: number): void
}

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
  /** Set where its carrier can move from one path to another while it is used. */
  readonly path?: LinkPath
  /** The encrypted byte pipe (a `tls.TLSSocket` over TCP). */
  readonly socket: Duplex
  /** Key material that only the two ends can have (RFC 8446 section 7.5, RFC 5705): `length` bytes for a purpose that `label` names. */
  exportKey(label: string, length: number): Buffer
  /** Ends it at once, without a goodbye. Safe to call twice. */
  destroy(): void
}
