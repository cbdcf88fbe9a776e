import type { Clock, Timer } from '../../clock.ts'
import type { HostPort, Milliseconds, PeerId } from '../../types.ts'
import { type Contacts, contactId } from '../../xmpp/contacts.ts'
import type { LanInstance } from '../../xmpp/lan-roster.ts'
import type { MdnsService } from '../mdns/mdns-service.ts'
import type { MdnsResponder } from '../mdns/responder.ts'
import { serviceName } from '../mdns/service-name.ts'

/** Instances known at a time; who comes when there are as many is not listed. */
const MAX_INSTANCES = 5000
/** Addresses of one. */
const MAX_ADDRESSES = 16
/** A contact's records are good for this long unless it is heard again (RFC 6762 section 10 gives records of a host 120 s). */
const LIFETIME: Milliseconds = 150_000
/** Before that it is asked for, twice (RFC 6762 section 5.2). */
const ASK_AT: readonly Milliseconds[] = [100_000, 125_000]
/** A contact heard within this need not answer our questions, nor tells us so. */
const FRESH: Milliseconds = 45_000
const LOOK_INTERVAL: Milliseconds = 5000

interface Address extends HostPort {
  readonly interface: string
}

interface Place extends Address {
  /** Where the packet came from that told of it. */
  readonly source: string
  heard: Milliseconds
  asked: number
  responder: MdnsResponder
}

interface Entry {
  told: Omit<LanInstance, 'addresses'>
  /** The last heard last. */
  readonly places: Map<string, Place>
}

interface TableOptions {
  readonly clock: Clock
  readonly contacts: Contacts
  readonly service: MdnsService
}

/** Who announces presence on the LAN, and where: one entry a name, however many interfaces hear it. Those that are no hosts are contacts. */
export class InstanceTable {
  readonly #options: TableOptions
  readonly #entries = new Map<string, Entry>()
  readonly #byPeer = new Map<PeerId, string>()
  #timer: Timer | undefined

  constructor(options: TableOptions) {
    this.#options = options
  }

  start(): void {
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(LOOK_INTERVAL, () => {
      this.#look()
      this.start()
    })
  }

  stop(): void {
    this.#timer?.cancel()
    for (const [instance, entry] of [...this.#entries]) this.#drop(instance, entry)
  }

  find(instance: string): LanInstance | undefined {
    const entry = this.#entries.get(instance)
    return entry && viewOf(entry)
  }

  byPeer(peer: PeerId): LanInstance | undefined {
    const instance = this.#byPeer.get(peer)
    return instance === undefined ? undefined : this.find(instance)
  }

  /** Takes what a record told, the first address being where it came from; undefined when there is no room for it. */
  heard(
    told: Omit<LanInstance, 'addresses'>,
    addresses: readonly Address[],
    responder: MdnsResponder,
  ): LanInstance | undefined {
    const { instance, peer } = told
    const before = this.#entries.get(instance)
    if (!before && this.#entries.size >= MAX_INSTANCES) return undefined
    // Another one of that name now.
    if (before && before.told.peer !== peer) this.#drop(instance, before)
    const entry = this.#entries.get(instance) ?? { told, places: new Map<string, Place>() }
    entry.told = told
    this.#entries.set(instance, entry)
    if (peer) this.#byPeer.set(peer, instance)
    const heard = this.#options.clock.now()
    const source = addresses[0]?.address ?? ''
    for (const address of addresses) {
      const key = keyOf(address)
      entry.places.delete(key)
      entry.places.set(key, { ...address, source, heard, asked: 0, responder })
      const [oldest] = entry.places.keys()
      if (entry.places.size > MAX_ADDRESSES && oldest !== undefined) entry.places.delete(oldest)
    }
    this.#tell(entry)
    return viewOf(entry)
  }

  /** It said goodbye on an interface. */
  lost(instance: string, interfaceName: string): void {
    const entry = this.#entries.get(instance)
    if (entry) this.#dropPlaces(instance, entry, (place) => place.interface === interfaceName)
  }

  /** An interface has gone. */
  forget(interfaceName: string): void {
    for (const instance of [...this.#entries.keys()]) this.lost(instance, interfaceName)
  }

  /** A host no longer answers at an address; what it told from there, nobody can ask it about. */
  dropAddress(peer: PeerId, interfaceName: string, address: string | undefined): void {
    for (const [instance, entry] of [...this.#entries])
      if (entry.told.peer === peer)
        this.#dropPlaces(
          instance,
          entry,
          (place) => place.interface === interfaceName && (address === undefined || place.source === address),
        )
  }

  /** Full names of the contacts that were heard on an interface just now. */
  freshContacts(interfaceName: string): string[] {
    const since = this.#options.clock.now() - FRESH
    const isFresh = ({ told, places }: Entry): boolean =>
      told.peer === undefined &&
      [...places.values()].some((place) => place.interface === interfaceName && place.heard >= since)
    const name = serviceName(this.#options.service.type)
    return [...this.#entries].flatMap(([instance, entry]) => (isFresh(entry) ? [`${instance}.${name}`] : []))
  }

  /** Contacts do not answer beacons: they are asked for by mDNS, and gone when they do not answer. */
  #look(): void {
    const { clock, service } = this.#options
    const now = clock.now()
    for (const [instance, entry] of [...this.#entries]) {
      if (entry.told.peer) continue
      this.#dropPlaces(instance, entry, ({ heard }) => now - heard >= LIFETIME)
      const due = [...entry.places.values()].filter(({ heard, asked }) => now - heard >= (ASK_AT[asked] ?? LIFETIME))
      for (const place of due) place.asked++
      for (const responder of new Set(due.map((place) => place.responder)))
        responder.askFor(service, `${instance}.${serviceName(service.type)}`)
    }
  }

  #dropPlaces(instance: string, entry: Entry, condition: (place: Place) => boolean): void {
    let dropped = false
    for (const [key, place] of entry.places) if (condition(place)) dropped = entry.places.delete(key) || dropped
    if (!dropped) return
    if (entry.places.size === 0) this.#drop(instance, entry)
    else this.#tell(entry)
  }

  #drop(instance: string, { told }: Entry): void {
    this.#entries.delete(instance)
    if (told.peer === undefined) this.#options.contacts.remove(contactId(instance))
    else if (this.#byPeer.get(told.peer) === instance) this.#byPeer.delete(told.peer)
  }

  #tell({ told, places }: Entry): void {
    if (told.peer !== undefined) return
    this.#options.contacts.set({
      id: contactId(told.instance),
      name: told.name,
      presence: told.presence,
      sightings: [...places.values()].map(({ address, port, interface: on }) => ({
        method: 'xmpp',
        interface: on,
        address,
        port,
      })),
    })
  }
}

function viewOf({ told, places }: Entry): LanInstance {
  const addresses = [...places.values()].reverse()
  return { ...told, addresses: addresses.map(({ address, port, interface: on }) => ({ address, port, interface: on })) }
}

const keyOf = ({ interface: on, address }: Address): string => `${on} ${address}`
