import type { DiscoveryEvents } from '../discovery/discovery.ts'
import type { PeerId, Sighting } from '../types.ts'

/**
 * Sightings from several sources, which may be of one peer at one address: two hubs of one host, or the hub's host that is seen at its own
 * hub and answers itself. Discovery is told of one, of one with a port rather than of one without.
 */
export class HubSightings {
  readonly #events: DiscoveryEvents
  /** By peer, place and source. */
  readonly #peers = new Map<PeerId, Map<string, Map<string, Sighting>>>()

  constructor(events: DiscoveryEvents) {
    this.#events = events
  }

  seen(source: string, sighting: Sighting): void {
    const places = this.#peers.get(sighting.peer) ?? new Map<string, Map<string, Sighting>>()
    this.#peers.set(sighting.peer, places)
    const key = placeOf(sighting)
    const sources = places.get(key) ?? new Map<string, Sighting>()
    places.set(key, sources)
    sources.set(source, sighting)
    this.#tell(sources)
  }

  gone(source: string, peer: PeerId): void {
    const places = this.#peers.get(peer)
    for (const [key, sources] of places ?? []) {
      const sighting = sources.get(source)
      if (!sighting) continue
      sources.delete(source)
      if (sources.size > 0) this.#tell(sources)
      else {
        places?.delete(key)
        this.#events.gone(peer, 'hub', sighting.interface, sighting.address)
      }
    }
    if (places?.size === 0) this.#peers.delete(peer)
  }

  /** Tells again of all that is seen, which keeps it fresh. */
  repeat(): void {
    for (const places of this.#peers.values()) for (const sources of places.values()) this.#tell(sources)
  }

  /** Takes all back. */
  clear(): void {
    const peers = [...this.#peers]
    this.#peers.clear()
    for (const [peer, places] of peers)
      for (const sources of places.values()) {
        const [sighting] = sources.values()
        if (sighting) this.#events.gone(peer, 'hub', sighting.interface, sighting.address)
      }
  }

  #tell(sources: ReadonlyMap<string, Sighting>): void {
    const all = [...sources.values()]
    const best = all.find(({ port }) => port > 0) ?? all[0]
    if (best) this.#events.seen(best)
  }
}

const placeOf = ({ interface: on, address }: Sighting): string => `${on} ${address}`
