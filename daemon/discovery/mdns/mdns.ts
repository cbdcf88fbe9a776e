import { isIP } from 'node:net'
import type { Service } from 'bonjour-service'
import type { Clock, Timer } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import { interfaceOf, plainAddress } from '../../network/addresses.ts'
import { type NetworkChange, type NetworkInterface, scopedAddress } from '../../network/network.ts'
import type { Refusals } from '../../refusals.ts'
import type { Milliseconds, PeerId, Sighting } from '../../types.ts'
import type { Announcement, DiscoveryEvents, DiscoveryMethod, DiscoveryState, Prober } from '../discovery.ts'
import { isInstance, readRecord, SERVICE_NAME } from './record.ts'
import { type DnsPacket, MdnsResponder, type PacketSource } from './responder.ts'

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

interface MdnsOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly prober: Prober
  /** True while another method hears the peer at this address, so that it need not be asked. */
  readonly hears?: (peer: PeerId, at: { readonly address: string; readonly interface: string }) => boolean
}

interface Entry {
  readonly sighting: Sighting
  readonly fqdn: string
  readonly responder: MdnsResponder
  heard: Milliseconds
  asking: boolean
}

/** mDNS / DNS-SD (RFC 6762, RFC 6763), one responder for each interface and family. */
export class MdnsDiscovery implements DiscoveryMethod {
  readonly name = 'mdns'
  readonly #options: MdnsOptions
  readonly #responders = new Map<string, { responder: MdnsResponder; key: string; interface: string }>()
  readonly #failures = new Map<string, string>()
  readonly #entries = new Map<string, Entry>()
  #interfaces: readonly NetworkInterface[] = []
  #announcement: Announcement | undefined
  #events: DiscoveryEvents | undefined
  #timer: Timer | undefined

  constructor(options: MdnsOptions) {
    this.#options = options
  }

  async start(
    announcement: Announcement,
    interfaces: readonly NetworkInterface[],
    events: DiscoveryEvents,
  ): Promise<void> {
    this.#announcement = announcement
    this.#events = events
    this.#use(interfaces, false)
    this.#watch()
  }

  async stop(): Promise<void> {
    this.#timer?.cancel()
    this.#announcement = undefined
    this.#events = undefined
    const open = [...this.#responders.values()]
    this.#responders.clear()
    this.#entries.clear()
    await Promise.all(open.map(({ responder }) => responder.close(true)))
  }

  networkChanged(change: NetworkChange): void {
    if (this.#announcement) this.#use(change.interfaces, change.slept > 0)
  }

  renamed(name: string): void {
    if (!this.#announcement) return
    this.#announcement = { ...this.#announcement, name }
    for (const { responder } of this.#responders.values()) responder.rename(name)
  }

  states(): readonly DiscoveryState[] {
    return this.#interfaces.filter(isUsable).map(({ name }) => {
      const families = [...this.#responders].flatMap(([id, one]) =>
        one.interface === name && !this.#failures.has(id) ? [`IPv${id.at(-1)}`] : [],
      )
      const failures = [...this.#failures].flatMap(([key, reason]) => (key.startsWith(`${name} `) ? [reason] : []))
      const detail = [
        ...(families.length > 0 ? [`announces and asks over ${families.join(' and ')}`] : []),
        ...failures,
      ].join('; ')
      const state = families.length > 0 ? 'active' : 'failed'
      return { method: 'mdns', interface: name, state, detail: detail || 'no address to announce from' } as const
    })
  }

  /** Keeps the responders whose interface is as it was, closes the others, and opens new ones. */
  #use(interfaces: readonly NetworkInterface[], afresh: boolean): void {
    this.#interfaces = interfaces
    const wanted = new Map<string, { one: NetworkInterface; family: 4 | 6; key: string }>()
    for (const one of interfaces.filter(isUsable))
      for (const family of [4, 6] as const) {
        const addresses = one.addresses.filter((address) => address.family === family)
        if (addresses.length > 0)
          wanted.set(`${one.name} ${family}`, { one, family, key: addresses.map(({ address }) => address).join(' ') })
      }
    for (const [id, { responder, key, interface: name }] of this.#responders) {
      const next = wanted.get(id)
      if (next?.key === key && !afresh) continue
      this.#responders.delete(id)
      void responder.close(next !== undefined)
      if (!next) this.#forget(name)
    }
    for (const [id, { one, family, key }] of wanted) if (!this.#responders.has(id)) this.#open(id, one, family, key)
  }

  #open(id: string, one: NetworkInterface, family: 4 | 6, key: string): void {
    const { announcement, clock } = { announcement: this.#announcement, clock: this.#options.clock }
    if (!announcement) return
    this.#failures.delete(id)
    try {
      const responder = new MdnsResponder({
        clock,
        interfaceName: one.name,
        family,
        addresses: one.addresses,
        peer: announcement.peer,
        name: announcement.name,
        port: announcement.port,
        isMine: ({ address }) => interfaceOf(address, this.#interfaces)?.name === one.name,
        known: () => this.#knownOn(one.name, family),
        onResponse: (packet, from) => this.#heard(one.name, responder, packet, from),
        onRefused: (code) => this.#options.refusals.count(code),
        onLost: (service) => this.#lost(responder, service),
        onError: (error) => {
          if (this.#failures.get(id) === error.message) return
          this.#failures.set(id, error.message)
          this.#options.logger.warn('mDNS fails on an interface', { interface: one.name, family, error: error.message })
        },
      })
      this.#responders.set(id, { responder, key, interface: one.name })
    } catch (error) {
      this.#failures.set(id, (error as Error).message)
    }
  }

  /** Every response: who is new is seen, who is known is fresh again, and what came in pieces is asked for. */
  #heard(interfaceName: string, responder: MdnsResponder, packet: DnsPacket, from: PacketSource): void {
    const records = [...(packet.answers ?? []), ...(packet.additionals ?? [])].filter(({ ttl = 0 }) => ttl > 0)
    const pointers = records.filter(({ type, name }) => type === 'PTR' && name.toLowerCase() === SERVICE_NAME)
    for (const fqdn of new Set(pointers.map(({ data }) => String(data)))) {
      const service = isInstance(fqdn) ? responder.service(fqdn) : undefined
      if (!service?.txt) responder.askFor(fqdn)
      else this.#found(interfaceName, responder, service, from)
    }
  }

  #found(interfaceName: string, responder: MdnsResponder, service: Service, from: PacketSource): void {
    const record = readRecord(service)
    if (!record) return this.#options.refusals.count('peer.bad-record')
    if (record.peer === this.#announcement?.peer) return
    const address = scopedAddress(from.address, interfaceName)
    const sighting: Sighting = { ...record, method: 'mdns', interface: interfaceName, address, proven: false }
    const id = keyOf(sighting)
    this.#entries.delete(id)
    this.#entries.set(id, { sighting, fqdn: service.fqdn, responder, heard: this.#options.clock.now(), asking: false })
    const [oldest] = this.#entries.values()
    if (this.#entries.size > MAX_ENTRIES && oldest) this.#drop(oldest)
    this.#events?.seen(sighting)
  }

  /** It said goodbye. */
  #lost(responder: MdnsResponder, { fqdn }: Service): void {
    for (const entry of [...this.#entries.values()])
      if (entry.fqdn === fqdn && entry.responder === responder) this.#drop(entry)
  }

  #knownOn(interfaceName: string, family: 4 | 6): string[] {
    return [...this.#entries.values()]
      .filter(({ sighting }) => sighting.interface === interfaceName && isIP(plainAddress(sighting.address)) === family)
      .map(({ fqdn }) => fqdn)
  }

  #forget(interfaceName: string): void {
    for (const entry of [...this.#entries.values()]) if (entry.sighting.interface === interfaceName) this.#drop(entry)
  }

  #drop(entry: Entry): void {
    const { peer, interface: on, address } = entry.sighting
    if (this.#entries.get(keyOf(entry.sighting)) === entry) this.#entries.delete(keyOf(entry.sighting))
    this.#events?.gone(peer, 'mdns', on, address)
  }

  /** Records outlive a killed host by minutes: whoever nothing was heard of for a while is asked directly. */
  #watch(): void {
    const { clock, hears = () => false } = this.#options
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
    const { clock, prober } = this.#options
    entry.asking = true
    const { sighting } = entry
    const isCurrent = (): boolean => this.#events !== undefined && this.#entries.get(keyOf(sighting)) === entry
    const target = { address: sighting.address, port: sighting.port }
    const answer = await prober.probe(target, sighting.interface)
    if (!isCurrent()) return
    if (answer?.peer === sighting.peer) {
      entry.asking = false
      entry.heard = clock.now()
      this.#events?.seen(sighting)
      return
    }
    // An answer to this makes a new entry in place of this one.
    entry.responder.askFor(entry.fqdn)
    clock.after(SECOND_CHANCE, () => {
      if (isCurrent()) this.#drop(entry)
    })
  }
}

const isUsable = ({ participating, kind, multicast }: NetworkInterface): boolean =>
  participating && multicast && kind !== 'loopback'

const keyOf = ({ peer, interface: on, address }: Sighting): string => `${peer} ${on} ${address}`
