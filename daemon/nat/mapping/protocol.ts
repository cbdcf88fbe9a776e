import type { HostPort, Milliseconds } from '../../types.ts'

export type MappingProtocolName = 'pcp' | 'nat-pmp' | 'upnp'
export type MappedTransport = 'udp' | 'tcp'

/** The router on the way to the internet. */
export interface Gateway {
  readonly family: 4 | 6
  /** With its zone where it is link-local. */
  readonly address: string
  /** Our address towards it, which others are to reach: global or private, never link-local. */
  readonly own: string
  readonly interface: string
}

/** A port of the router that is to lead to one of ours. */
export interface MappingWish {
  readonly gateway: Gateway
  readonly transport: MappedTransport
  readonly internalPort: number
  /** The router's own choice counts where it cannot be had. */
  readonly externalPort: number
  readonly lifetime: Milliseconds
}

/** What a router granted. */
export interface Mapped {
  /** What it says that the internet sees: routers behind others are wrong about it. */
  readonly external: HostPort
  /** Until it has to be asked for again; infinite where the router keeps it for ever. */
  readonly lifetime: Milliseconds
}

/** A way to ask a router for mappings. Rejects with `network.no-mapping`; asking again for the same renews. */
export interface MappingProtocol {
  readonly name: MappingProtocolName
  map(wish: MappingWish, signal: AbortSignal): Promise<Mapped>
  /** Gives it back; best effort. */
  unmap(wish: MappingWish, signal: AbortSignal): Promise<void>
  /** Calls `listener` when the router has forgotten what it granted; returns the way to stop that. */
  onReset(listener: () => void): () => void
}
