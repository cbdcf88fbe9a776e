import type { HostPort, PeerId, Presence } from '../types.ts'

/** Somebody who announces XEP-0174 presence on the LAN. One of a name, however many interfaces see it. */
export interface LanInstance {
  /** The DNS-SD instance, which is its address in streams: `alice@h1`. */
  readonly instance: string
  /** The peer id it claims, for a Partyline host. */
  readonly peer: PeerId | undefined
  readonly name: string
  readonly presence: Presence
  /** Where its stream server listens: the port of SRV at each address that mDNS told, the last heard first. */
  readonly addresses: readonly (HostPort & { readonly interface: string })[]
}

/** Who is on the LAN by XEP-0174. */
export interface LanRoster {
  /** This host's own instance, `''` while it has none. */
  self(): string
  find(instance: string): LanInstance | undefined
  byPeer(peer: PeerId): LanInstance | undefined
  /** Resolves to an instance that mDNS has not told of yet, or to undefined when nothing comes within two seconds. */
  lookUp(instance: string): Promise<LanInstance | undefined>
}
