import type { Service } from 'bonjour-service'
import type { Clock, Timer } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import { interfaceOf } from '../../network/addresses.ts'
import { type NetworkChange, type NetworkInterface, scopedAddress } from '../../network/network.ts'
import type { Refusals } from '../../refusals.ts'
import type { Milliseconds, PeerId, Sighting } from '../../types.ts'
import type { Announcement, DiscoveryEvents, DiscoveryMethod, DiscoveryState, Prober } from '../discovery.ts'
import { readRecord, SERVICE_NAME } from './record.ts'
import { type DnsPacket, MdnsResponder, type PacketSource } from './responder.ts'

/** Hosts followed, an entry for each address. */
export const MAX_ENTRIES = 10_000
/** A sighting that nothing confirmed for this long is asked whether it is still there. */
const STALE: Milliseconds = 15_000
const LOOK_INTERVAL: Milliseconds = 5000
/** Hosts asked at a time. */
const MAX_QUESTIONS = 32

interface MdnsOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly prober: Prober
  /** True while another method vouches for the peer, so that it need not be asked. */
  readonly hears?: (peer: PeerId) => boolean
}

interface Entry {
  readonly sighting: Sighting
  readonly fqdn: string
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
      const families = [...this.#responders].flatMap(([key, one]) =>
        one.interface === name ? [`IPv${key.at(-1)}`] : [],
      )
      const failures = [...this.#failures].flatMap(([key, reason]) => (key.startsWith(`${name} `) ? [reason] : []))
      const detail = [
        ...(families.length > 0 ? [`announces and asks over ${families.join(' and ')}`] : []),
        ...failures,
      ].join('; ')
      const state = families.length > failures.length ? 'active' : 'failed'
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
        onResponse: (packet, from) => this.#heard(one.name, responder, packet, from),
        onFound: (service) => this.#found(one.name, service),
        onLost: (service) => this.#lost(one.name, service),
        onError: (error) => {
          this.#failures.set(id, error.message)
          this.#options.logger.warn('mDNS fails on an interface', { interface: one.name, family, error: error.message })
        },
      })
      this.#responders.set(id, { responder, key, interface: one.name })
    } catch (error) {
      this.#failures.set(id, (error as Error).message)
    }
  }

  #found(interfaceName: string, service: Service): void {
    const from = service.referer
    // A socket hears what any of this machine's sockets joined: what came in elsewhere is somebody else's to tell.
    if (!from || !this.#isFrom(interfaceName, from.address)) return
    const record = readRecord(service)
    if (!record) {
      // Without TXT it is only half an answer, which is being asked for; with one it is not ours.
      if (service.txt && Object.keys(service.txt).length > 0) this.#options.refusals.count('peer.bad-record')
      return
    }
    if (record.peer === this.#announcement?.peer) return
    const address = scopedAddress(from.address, interfaceName)
    const sighting: Sighting = { ...record, method: 'mdns', interface: interfaceName, address, proven: false }
    const id = keyOf(sighting)
    this.#entries.delete(id)
    this.#entries.set(id, { sighting, fqdn: service.fqdn, heard: this.#options.clock.now(), asking: false })
    const [oldest] = this.#entries.values()
    if (this.#entries.size > MAX_ENTRIES && oldest) this.#drop(oldest)
    this.#events?.seen(sighting)
  }

  #lost(interfaceName: string, { fqdn }: Service): void {
    for (const entry of [...this.#entries.values()])
      if (entry.fqdn === fqdn && entry.sighting.interface === interfaceName) this.#drop(entry)
  }

  /** Every response: what is known is fresh again; what came in pieces is asked for. */
  #heard(interfaceName: string, responder: MdnsResponder, packet: DnsPacket, from: PacketSource): void {
    if (!this.#isFrom(interfaceName, from.address)) return
    const records = [...(packet.answers ?? []), ...(packet.additionals ?? [])].filter(({ ttl = 0 }) => ttl > 0)
    const pointers = records.filter(({ type, name }) => type === 'PTR' && name.toLowerCase() === SERVICE_NAME)
    for (const { data } of pointers) {
      const fqdn = String(data)
      const about = records.filter(({ name }) => name === fqdn).map(({ type }) => type)
      if (!about.includes('SRV') || !about.includes('TXT')) {
        if (![...this.#entries.values()].some((entry) => entry.fqdn === fqdn)) responder.askFor(fqdn)
      }
      for (const entry of this.#entries.values()) {
        if (entry.fqdn !== fqdn || entry.sighting.interface !== interfaceName) continue
        entry.heard = this.#options.clock.now()
        this.#events?.seen(entry.sighting)
      }
    }
  }

  #isFrom(interfaceName: string, address: string): boolean {
    return interfaceOf(address, this.#interfaces)?.name === interfaceName
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
      for (const { responder } of this.#responders.values()) responder.expire()
      const before = clock.now() - STALE
      const stale = [...this.#entries.values()].filter(({ heard, asking }) => heard <= before && !asking)
      for (const entry of stale.slice(0, MAX_QUESTIONS)) {
        if (hears(entry.sighting.peer)) entry.heard = clock.now()
        else void this.#ask(entry)
      }
      this.#watch()
    })
  }

  async #ask(entry: Entry): Promise<void> {
    entry.asking = true
    const { sighting } = entry
    const answer = await this.#options.prober.probe(
      { address: sighting.address, port: sighting.port },
      sighting.interface,
    )
    entry.asking = false
    if (!this.#events || this.#entries.get(keyOf(sighting)) !== entry) return
    if (answer?.peer !== sighting.peer) return this.#drop(entry)
    entry.heard = this.#options.clock.now()
    this.#events.seen(sighting)
  }
}

const isUsable = ({ participating, kind, multicast }: NetworkInterface): boolean =>
  participating && multicast && kind !== 'loopback'

const keyOf = ({ peer, interface: on, address }: Sighting): string => `${peer} ${on} ${address}`
