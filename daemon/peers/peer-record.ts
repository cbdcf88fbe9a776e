import type { PeerView } from '../../ipc/methods.ts'
import {
  AVAILABLE,
  type DiscoveryName,
  type HostPort,
  type Milliseconds,
  type PeerId,
  type Presence,
  type Route,
  type Sighting,
  type Trust,
  type UnixMilliseconds,
} from '../types.ts'
import { NO_POLICY, type PeerPolicy } from './peer-policy.ts'
import { NO_WAYS, type Ways } from './ways.ts'

/** Most sightings kept of one peer; the oldest unproven one goes first. */
const MAX_SIGHTINGS = 16
/** Most addresses remembered of one peer, last good first. */
const MAX_REMEMBERED = 8

/** One sighting and when it was last repeated (monotonic). */
interface SightingRecord {
  readonly sighting: Sighting
  readonly at: Milliseconds
  /** The peer has signed this address and port, now or at an earlier repetition. */
  readonly proven: boolean
}

/** How the peer's session travels, while there is one. */
interface Connection {
  readonly route: Route
  rtt: Milliseconds | undefined
}

/** What a book keeps of one peer. */
export class PeerRecord {
  readonly id: PeerId
  name = ''
  petname = ''
  trust: Trust = 'unknown'
  /** Its key has proven itself, now or in an earlier life of this daemon. */
  proven = false
  lastSeen: UnixMilliseconds = 0
  connection: Connection | undefined
  /** What it tells on the LAN or at a hub; a claim, as nobody signs it. */
  presence: Presence = AVAILABLE
  /** What stands in the way of a direct link, for people; empty for nothing known. */
  note = ''
  /** How it may be reached from anywhere, as it says itself. */
  ways: Ways = NO_WAYS
  /** What the owner decided about it in the place of the settings. */
  policy: PeerPolicy = NO_POLICY
  /** By how many it is about to be met. */
  expected = 0
  /** The listeners of the book know it as one that `list` shows. */
  shown = false
  readonly #sightings = new Map<string, SightingRecord>()
  #remembered: HostPort[] = []

  constructor(id: PeerId) {
    this.id = id
  }

  /** True when the user has decided something about it. */
  get decided(): boolean {
    return this.petname !== '' || this.trust !== 'unknown' || Object.keys(this.policy).length > 0
  }

  /** True when losing this record would lose something: a decision of the user, or a proof. */
  get precious(): boolean {
    return this.proven || this.decided || this.connection !== undefined
  }

  /** True where nothing is lost without it. */
  get isForgettable(): boolean {
    return !this.present && !this.precious && this.expected === 0
  }

  get state(): PeerView['state'] {
    if (this.connection) return 'connected'
    return this.#sightings.size > 0 ? 'seen' : 'away'
  }

  get present(): boolean {
    return this.#sightings.size > 0 || this.connection !== undefined
  }

  /** True when `list` shows it. */
  get listed(): boolean {
    return this.present || this.decided
  }

  get remembered(): readonly HostPort[] {
    return this.#remembered
  }

  /** Takes a sighting; true when it is a new one rather than a repetition. */
  see(sighting: Sighting, at: Milliseconds): boolean {
    const key = keyOf(sighting.method, sighting.interface, sighting.address)
    const before = this.#sightings.get(key)
    const repeated = before?.sighting.port === sighting.port
    this.#sightings.delete(key)
    this.#sightings.set(key, { sighting, at, proven: sighting.proven || (repeated && before.proven) })
    if (this.#sightings.size > MAX_SIGHTINGS) this.#sightings.delete(this.#leastWorthy())
    return !repeated && this.#sightings.has(key)
  }

  /** Forged sightings push out each other, never a proven one. */
  #leastWorthy(): string {
    for (const [key, { proven }] of this.#sightings) if (!proven) return key
    return this.#sightings.keys().next().value ?? ''
  }

  /** Drops what a method saw on an interface (at one address, or at all); true when there was something. */
  unsee(method: DiscoveryName, interfaceName: string, address?: string): boolean {
    return this.#drop(({ sighting }) => {
      const here = sighting.method === method && sighting.interface === interfaceName
      return here && (address === undefined || sighting.address === address)
    })
  }

  /** Drops sightings that nobody repeated since `before`. */
  expire(before: Milliseconds): boolean {
    return this.#drop(({ at }) => at < before)
  }

  remember(address: HostPort): void {
    const others = this.#remembered.filter((known) => known.address !== address.address || known.port !== address.port)
    this.#remembered = [{ address: address.address, port: address.port }, ...others].slice(0, MAX_REMEMBERED)
  }

  restoreRemembered(addresses: readonly HostPort[]): void {
    this.#remembered = addresses.slice(0, MAX_REMEMBERED)
  }

  /** Where it is seen, proven sightings before others, newest first among each. */
  sightings(): Sighting[] {
    const newest = [...this.#sightings.values()].reverse()
    const proven = newest.filter((record) => record.proven)
    return [...proven, ...newest.filter((record) => !record.proven)].map(({ sighting }) => sighting)
  }

  view(now: Milliseconds): PeerView {
    return {
      id: this.id,
      kind: 'host',
      name: this.name,
      petname: this.petname,
      trust: this.trust,
      state: this.state,
      proven: this.proven,
      presence: { ...this.presence },
      note: this.connection ? '' : this.note,
      sightings: [...this.#sightings.values()].map(({ sighting, at }) => ({
        method: sighting.method,
        interface: sighting.interface,
        address: sighting.address,
        port: sighting.port,
        age: Math.max(0, Math.round(now - at)),
      })),
      route: this.connection?.route ?? null,
      rtt: this.connection?.rtt ?? null,
    }
  }

  #drop(condition: (record: SightingRecord) => boolean): boolean {
    const before = this.#sightings.size
    for (const [key, record] of this.#sightings) if (condition(record)) this.#sightings.delete(key)
    return this.#sightings.size < before
  }
}

const keyOf = (method: DiscoveryName, interfaceName: string, address: string): string =>
  `${method} ${interfaceName} ${address}`
