import type { DiscoveryEvents } from '../../daemon/discovery/discovery.ts'
import type { DiscoveryName, PeerId, Sighting } from '../../daemon/types.ts'

/** What a method told: every event in order, and what holds now. */
export class SightingLog implements DiscoveryEvents {
  readonly sightings: Sighting[] = []
  readonly #current = new Map<string, Sighting>()
  readonly #watchers = new Set<() => void>()

  seen(sighting: Sighting): void {
    this.sightings.push(sighting)
    this.#current.set(keyOf(sighting.peer, sighting.interface, sighting.address), sighting)
    this.#changed()
  }

  gone(peer: PeerId, _method: DiscoveryName, interfaceName: string, address?: string): void {
    for (const [key, one] of this.#current)
      if (one.peer === peer && one.interface === interfaceName && (address === undefined || one.address === address))
        this.#current.delete(key)
    this.#changed()
  }

  /** The sightings that were raised and not taken back. */
  get current(): readonly Sighting[] {
    return [...this.#current.values()]
  }

  of(peer: PeerId): readonly Sighting[] {
    return this.current.filter((sighting) => sighting.peer === peer)
  }

  /** Resolves as soon as `condition` holds; looked at after each event. */
  async until(condition: (log: SightingLog) => boolean): Promise<void> {
    if (condition(this)) return
    await new Promise<void>((resolve) => {
      const watcher = () => {
        if (!condition(this)) return
        this.#watchers.delete(watcher)
        resolve()
      }
      this.#watchers.add(watcher)
    })
  }

  async untilSees(peer: PeerId): Promise<Sighting> {
    await this.until((log) => log.of(peer).length > 0)
    const [sighting] = this.of(peer)
    if (!sighting) throw new Error('seen and gone at once')
    return sighting
  }

  async untilGone(peer: PeerId): Promise<void> {
    await this.until((log) => log.of(peer).length === 0)
  }

  #changed(): void {
    for (const watcher of [...this.#watchers]) watcher()
  }
}

const keyOf = (peer: PeerId, interfaceName: string, address: string) => `${peer} ${interfaceName} ${address}`
