import { isIP } from 'node:net'
import type { Clock, Timer } from '../../clock.ts'
import { plainAddress } from '../../network/addresses.ts'
import type { Milliseconds, PeerId, Sighting } from '../../types.ts'
import type { DiscoveryEvents, Prober } from '../discovery.ts'
import type { MdnsService } from './mdns-service.ts'
import type { MdnsResponder } from './responder.ts'

/** Hosts followed, an entry for each address. */
const MAX_ENTRIES = 10_000
/** A sighting that nothing confirmed for this long is asked whether it is still there. */
const STALE: Milliseconds = 15_000
/** With many hosts less often: no host sends more than some seven such questions a second. */
const STALE_PER_ENTRY: Milliseconds = 150
const LOOK_INTERVAL: Milliseconds = 2000
/** Hosts asked at a time. */
const MAX_QUESTIONS = 32
/** A host that answers no probe is asked by mDNS as well: a firewall may let only that through. It has this long to answer. */
const SECOND_CHANCE: Milliseconds = 2000

interface WatchOptions {
  readonly clock: Clock
  readonly prober: Prober
  /** True while another method hears the peer at this address, so that it need not be asked. */
  readonly hears: (peer: PeerId, at: { readonly address: string; readonly interface: string }) => boolean
  readonly service: MdnsService
  readonly events: DiscoveryEvents
}

interface Entry {
  readonly sighting: Sighting
  readonly fqdn: string
  readonly responder: MdnsResponder
  heard: Milliseconds
  asking: boolean
}

/** Sightings from mDNS records, which outlive a killed host by minutes: whoever nothing was heard of for a while is asked directly. */
export class WatchedSightings {
  readonly #options: WatchOptions
  readonly #entries = new Map<string, Entry>()
  #timer: Timer | undefined
  #stopped = false

  constructor(options: WatchOptions) {
    this.#options = options
    this.#watch()
  }

  stop(): void {
    this.#stopped = true
    this.#timer?.cancel()
    this.#entries.clear()
  }

  /** A record told of a host. */
  heard(sighting: Sighting, fqdn: string, responder: MdnsResponder): void {
    const id = keyOf(sighting)
    this.#entries.delete(id)
    this.#entries.set(id, { sighting, fqdn, responder, heard: this.#options.clock.now(), asking: false })
    const [oldest] = this.#entries.values()
    if (this.#entries.size > MAX_ENTRIES && oldest) this.#drop(oldest)
    this.#options.events.seen(sighting)
  }

  /** It said goodbye. */
  lost(fqdn: string, responder: MdnsResponder): void {
    for (const entry of [...this.#entries.values()])
      if (entry.fqdn === fqdn && entry.responder === responder) this.#drop(entry)
  }

  /** An interface has gone. */
  forget(interfaceName: string): void {
    for (const entry of [...this.#entries.values()]) if (entry.sighting.interface === interfaceName) this.#drop(entry)
  }

  /** Full names of the instances that were heard on an interface, in a family. */
  knownOn(interfaceName: string, family: 4 | 6): string[] {
    return [...this.#entries.values()]
      .filter(({ sighting }) => sighting.interface === interfaceName && isIP(plainAddress(sighting.address)) === family)
      .map(({ fqdn }) => fqdn)
  }

  #drop(entry: Entry): void {
    const { peer, method, interface: on, address } = entry.sighting
    if (this.#entries.get(keyOf(entry.sighting)) === entry) this.#entries.delete(keyOf(entry.sighting))
    this.#options.events.gone(peer, method, on, address)
  }

  #watch(): void {
    const { clock, hears } = this.#options
    this.#timer = clock.after(LOOK_INTERVAL, () => {
      const before = clock.now() - Math.max(STALE, this.#entries.size * STALE_PER_ENTRY)
      const stale = [...this.#entries.values()].filter(({ heard, asking }) => heard <= before && !asking)
      for (const entry of stale.slice(0, MAX_QUESTIONS)) {
        if (hears(entry.sighting.peer, entry.sighting)) entry.heard = clock.now()
        else void this.#ask(entry)
      }
      this.#watch()
    })
  }

  async #ask(entry: Entry): Promise<void> {
    const { clock, prober, service, events } = this.#options
    entry.asking = true
    const { sighting } = entry
    const isCurrent = (): boolean => !this.#stopped && this.#entries.get(keyOf(sighting)) === entry
    const target = { address: sighting.address, port: sighting.port }
    const answer = await prober.probe(target, sighting.interface)
    if (!isCurrent()) return
    if (answer?.peer === sighting.peer) {
      entry.asking = false
      entry.heard = clock.now()
      events.seen(sighting)
      return
    }
    // An answer to this makes a new entry in place of this one.
    entry.responder.askFor(service, entry.fqdn)
    clock.after(SECOND_CHANCE, () => {
      if (isCurrent()) this.#drop(entry)
    })
  }
}

const keyOf = ({ peer, interface: on, address }: Sighting): string => `${peer} ${on} ${address}`
