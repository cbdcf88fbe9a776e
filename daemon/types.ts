/**
 * The words of the design as types. Everything may import this file; it imports nothing of ours.
 */

declare const brand: unique symbol
type Branded<T, Name extends string> = T & { readonly [brand]: Name }

/** A host's Ed25519 public key in base32 (RFC 4648 section 6, lower case, no padding): 52 characters. */
export type PeerId = Branded<string, 'PeerId'>

/** A span of time, or a moment of the monotonic clock, in milliseconds. */
export type Milliseconds = number

/** A moment of the wall clock: milliseconds since 1970-01-01 UTC. */
export type UnixMilliseconds = number

/** Where to reach something: an IP literal (IPv6 link-local ones with their zone, `fe80::1%eth0`) and a port. */
export interface HostPort {
  readonly address: string
  readonly port: number
}

/** How a session travels now, best first (see ARCHITECTURE.md, "Order of preference for a route"). */
export type Route = 'lan' | 'direct' | 'mapped' | 'punched' | 'friend-relay' | 'relay'

/** An ordered byte pipe over a path. */
export type Carrier = 'tcp' | 'udx'

/** What the local user says of a peer. */
export type Trust = 'unknown' | 'trusted' | 'blocked'

/** A discovery method's stable name, as `status` and sightings show it. */
export type DiscoveryName = 'mdns' | 'beacon' | 'xmpp' | 'hub' | 'hint'

/** Whether somebody wants to be talked to, as XMPP shows it (RFC 6121 section 4.7.2.1): `busy` is its `dnd`. */
export type Show = 'available' | 'away' | 'busy'

/** What somebody tells of being there; `text` is free of control characters, at most 255 characters, empty for none. */
export interface Presence {
  readonly show: Show
  readonly text: string
}

export const AVAILABLE: Presence = { show: 'available', text: '' }

/** Somebody with a plain XMPP client, on the LAN or at a hub: `xmpp:` and the address (RFC 5122), `xmpp:alice@h1`. No key proves who it is. */
export type ContactId = Branded<`xmpp:${string}`, 'ContactId'>

/** One discovery method saw one peer at one address on one interface, at a time. A hint, never a fact. */
export interface Sighting {
  readonly peer: PeerId
  readonly method: DiscoveryName
  /** The local interface that saw it; `''` for a hint that no interface brought. */
  readonly interface: string
  readonly address: string
  /** 0 where the peer is known to be there, seen through `address`, and has told no address of its own. */
  readonly port: number
  /** The name the peer gives itself, cleaned of control characters, at most 63 UTF-8 bytes. */
  readonly name: string
  /** True when the sighting was signed by the peer's key over a challenge of ours. */
  readonly proven: boolean
}
