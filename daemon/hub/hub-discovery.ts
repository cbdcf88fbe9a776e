import { isIPv4 } from 'node:net'
import type { Service } from 'bonjour-service'
import type { Clock } from '../clock.ts'
import type { Mdns } from '../discovery/mdns/mdns-network.ts'
import type { Advertisement, Heard, MdnsService } from '../discovery/mdns/mdns-service.ts'
import { instanceName, readRecord } from '../discovery/mdns/record.ts'
import { MAX_LABEL } from '../discovery/mdns/service-name.ts'
import { formatHostPort, type NetworkChange, type NetworkInterface, scopedAddress } from '../network/network.ts'
import type { Refusals } from '../refusals.ts'
import { TokenBucket } from '../token-bucket.ts'
import type { HostPort, Milliseconds, PeerId } from '../types.ts'
import type { HubWay } from './hub-membership.ts'

/** Hubs found by mDNS at a time; more are not looked at. */
export const MAX_FOUND = 16
const MAX_ADDRESSES = 8
/** Places that were not known before, in all: each is dialled at once, and anybody can tell of any. */
const NEW_PLACES = { rate: 0.2, burst: 64 }
/** A hub that was heard of within this need not answer our questions; one that was not for so long is there no more. */
const FRESH: Milliseconds = 120_000
const STALE: Milliseconds = 600_000

/** What hubs need of mDNS. */
export type HubMdns = Pick<Mdns, 'attach' | 'detach' | 'advertise' | 'networkChanged'>

/** This host's own hub, as it is advertised. */
export interface OwnHub {
  readonly name: string
  readonly domain: string
  readonly port: number
}

interface DiscoveryOptions {
  readonly clock: Clock
  readonly refusals: Refusals
  readonly mdns: HubMdns
  readonly self: PeerId
  /** A hub, or what is new about it; `key` stays the same. */
  readonly onFound: (key: string, way: HubWay & { readonly peer: PeerId }) => void
  readonly onLost: (key: string) => void
}

interface FoundHub {
  readonly fqdn: string
  readonly addresses: Map<string, HostPort & { readonly interface: string }>
  heard: Milliseconds
}

/**
 * Hubs by mDNS: `_partyline-hub._tcp` for hosts, TXT `v=1`, `id` (the peer id of the hub's host), `name` and `domain`; `_xmpps-client._tcp` for
 * XMPP clients (XEP-0368), which is advertised only.
 */
export class HubDiscovery implements MdnsService {
  readonly type = 'partyline-hub'
  readonly browses = true
  readonly #options: DiscoveryOptions
  readonly #clients: ClientService
  readonly #found = new Map<string, FoundHub>()
  readonly #newPlaces: TokenBucket
  #own: OwnHub | undefined
  #isRunning = false

  constructor(options: DiscoveryOptions) {
    this.#options = options
    this.#newPlaces = new TokenBucket(NEW_PLACES, options.clock.now())
    this.#clients = new ClientService(options.self, () => options.mdns.advertise(this.#clients))
  }

  start(interfaces: readonly NetworkInterface[]): void {
    this.#isRunning = true
    this.#options.mdns.attach(this, interfaces)
    this.#options.mdns.attach(this.#clients, interfaces)
  }

  /** Says goodbye for this host's hub. Safe to call twice. */
  async stop(): Promise<void> {
    const { mdns } = this.#options
    this.#isRunning = false
    this.#found.clear()
    await Promise.all([mdns.detach(this), mdns.detach(this.#clients)])
  }

  networkChanged(change: NetworkChange): void {
    if (this.#isRunning) this.#options.mdns.networkChanged(change)
  }

  /** Advertises this host's hub from now on; undefined takes that back. */
  advertise(own: OwnHub | undefined): void {
    this.#own = own
    this.#clients.own = own
    if (!this.#isRunning) return
    this.#options.mdns.advertise(this)
    this.#options.mdns.advertise(this.#clients)
  }

  advertisement(): Advertisement | undefined {
    if (!this.#own) return undefined
    const { name, domain, port } = this.#own
    const { self } = this.#options
    return { instance: instanceName(self, name), port, txt: { v: '1', id: self, name, domain }, host: domain }
  }

  known(interfaceName: string, family: 4 | 6): readonly string[] {
    const since = this.#options.clock.now() - FRESH
    return [...this.#found.values()].flatMap(({ fqdn, heard, addresses }) => {
      const here = [...addresses.values()].some(
        ({ interface: on, address }) => on === interfaceName && isIPv4(address) === (family === 4),
      )
      return here && heard >= since ? [fqdn] : []
    })
  }

  found(service: Service, { interface: on, address }: Omit<Heard, 'responder'>): void {
    const { self, clock, refusals, onFound } = this.#options
    const record = readRecord(service)
    if (!record) return refusals.count('peer.bad-record')
    const { peer, name, port } = record
    if (peer === self || !this.#isRunning) return
    this.#forgetStale()
    const key = keyOf(service.fqdn)
    const hub = this.#found.get(key) ?? { fqdn: service.fqdn, addresses: new Map(), heard: 0 }
    const scoped = scopedAddress(address, on)
    const target = { address: scoped, port, interface: on }
    const place = `${on} ${formatHostPort(target)}`
    const isFull = !this.#found.has(key) && this.#found.size >= MAX_FOUND
    if (isFull || (!hub.addresses.has(place) && !this.#newPlaces.take(clock.now())))
      return refusals.count('peer.rate-limited')
    this.#found.set(key, hub)
    hub.heard = clock.now()
    // A hub that moved to another port is where it was heard last.
    for (const [other, known] of hub.addresses)
      if (known.interface === on && known.address === scoped) hub.addresses.delete(other)
    if (hub.addresses.size < MAX_ADDRESSES) hub.addresses.set(place, target)
    onFound(key, {
      peer,
      name,
      addresses: [...hub.addresses.values()].map(({ address: at, port: p }) => ({ address: at, port: p })),
    })
  }

  lost(fqdn: string, { interface: on }: Pick<Heard, 'interface'>): void {
    const key = keyOf(fqdn)
    const hub = this.#found.get(key)
    if (hub) this.#forget(key, hub, on)
  }

  interfaceGone(name: string): void {
    for (const [key, hub] of [...this.#found]) this.#forget(key, hub, name)
  }

  #forget(key: string, { addresses }: FoundHub, interfaceName: string): void {
    for (const [place, { interface: on }] of addresses) if (on === interfaceName) addresses.delete(place)
    if (addresses.size === 0) this.#drop(key)
  }

  #forgetStale(): void {
    const before = this.#options.clock.now() - STALE
    for (const [key, { heard }] of [...this.#found]) if (heard < before) this.#drop(key)
  }

  #drop(key: string): void {
    if (this.#found.delete(key)) this.#options.onLost(key)
  }
}

/** A hub as XMPP clients find it, under its name; with its peer id beside that where another has the name already. */
class ClientService implements MdnsService {
  readonly type = 'xmpps-client'
  readonly browses = false
  readonly #self: PeerId
  readonly #renamed: () => void
  #own: OwnHub | undefined
  #isTaken = false

  constructor(self: PeerId, renamed: () => void) {
    this.#self = self
    this.#renamed = renamed
  }

  set own(own: OwnHub | undefined) {
    this.#own = own
    this.#isTaken = false
  }

  advertisement(): Advertisement | undefined {
    if (!this.#own) return undefined
    const { name, domain, port } = this.#own
    const fits = Buffer.byteLength(name) <= MAX_LABEL && !this.#isTaken
    return { instance: fits ? name.replaceAll('.', '-') : instanceName(this.#self, name), port, txt: {}, host: domain }
  }

  known(): readonly string[] {
    return []
  }

  found(): void {}
  lost(): void {}
  interfaceGone(): void {}

  clashed(): void {
    if (this.#isTaken) return
    this.#isTaken = true
    this.#renamed()
  }
}

const keyOf = (fqdn: string): string => `mdns ${fqdn.toLowerCase()}`
