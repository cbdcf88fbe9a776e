import type { NetworkChange, NetworkInterface } from '../network/network.ts'
import type { DiscoveryName, HostPort, PeerId, Sighting } from '../types.ts'

/** How a discovery method fares on one interface, as `status` shows it. */
export interface DiscoveryState {
  readonly method: DiscoveryName
  readonly interface: string
  /** `active`: sends and listens. `starting`: not yet. `failed`: see detail. `off`: by setting. */
  readonly state: 'active' | 'starting' | 'failed' | 'off'
  /** One sentence for people: what it does or what is wrong. */
  readonly detail: string
}

/** What a method tells of others. A sighting is a hint; repeating it refreshes its age. */
export interface DiscoveryEvents {
  seen(sighting: Sighting): void
  /** The peer said goodbye, or its entry expired, as seen by this method on this interface. */
  gone(peer: PeerId, method: DiscoveryName, interfaceName: string, address?: string): void
}

/** What a host tells of itself. */
export interface Announcement {
  readonly peer: PeerId
  readonly name: string
  /** The one port, TCP and UDP. */
  readonly port: number
}

/** A way to find peers. Every method passes the suite in `test/discovery/method-suite.ts`. */
export interface DiscoveryMethod {
  readonly name: DiscoveryName
  /** Announces at once and looks for others on the participating interfaces. Never throws for one bad interface. */
  start(announcement: Announcement, interfaces: readonly NetworkInterface[], events: DiscoveryEvents): Promise<void>
  /** Says goodbye and lets go of every socket. Safe to call twice. */
  stop(): Promise<void>
  /** The interfaces changed or the machine woke: announce and ask again, on what is there now. */
  networkChanged(change: NetworkChange): void
  /** The host's name changed. */
  renamed(name: string): void
  /** Another method heard that a host is gone: one that would find out late looks now. */
  doubt?(peer: PeerId): void
  states(): readonly DiscoveryState[]
}

/** Asks one address whether a host lives there; its answer comes as a proven sighting. */
export interface Prober {
  /** Resolves to the proven sighting, or to undefined when nothing valid came within the prober's patience. */
  probe(target: HostPort, interfaceName: string): Promise<Sighting | undefined>
}
