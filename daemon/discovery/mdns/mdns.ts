import type { Service } from 'bonjour-service'
import type { Clock } from '../../clock.ts'
import { type NetworkChange, type NetworkInterface, scopedAddress } from '../../network/network.ts'
import type { Refusals } from '../../refusals.ts'
import type { PeerId, Sighting } from '../../types.ts'
import type { Announcement, DiscoveryEvents, DiscoveryMethod, DiscoveryState, Prober } from '../discovery.ts'
import type { Mdns, MdnsState } from './mdns-network.ts'
import type { Advertisement, Heard, MdnsService } from './mdns-service.ts'
import { instanceName, ownHost, readRecord, txtOf } from './record.ts'
import { WatchedSightings } from './watched-sightings.ts'

interface MdnsDiscoveryOptions {
  readonly clock: Clock
  readonly refusals: Refusals
  readonly mdns: Mdns
  readonly prober: Prober
  /** True while another method hears the peer at this address, so that it need not be asked. */
  readonly hears?: (peer: PeerId, at: { readonly address: string; readonly interface: string }) => boolean
}

/** Hosts that announce `_partyline._tcp` by mDNS. */
export class MdnsDiscovery implements DiscoveryMethod, MdnsService {
  readonly name = 'mdns'
  readonly type = 'partyline'
  readonly browses = true
  readonly #options: MdnsDiscoveryOptions
  #announcement: Announcement | undefined
  #sightings: WatchedSightings | undefined

  constructor(options: MdnsDiscoveryOptions) {
    this.#options = options
  }

  async start(
    announcement: Announcement,
    interfaces: readonly NetworkInterface[],
    events: DiscoveryEvents,
  ): Promise<void> {
    const { clock, prober, mdns, hears = () => false } = this.#options
    this.#announcement = announcement
    this.#sightings = new WatchedSightings({ clock, prober, hears, service: this, events })
    mdns.attach(this, interfaces)
  }

  async stop(): Promise<void> {
    this.#sightings?.stop()
    this.#sightings = undefined
    await this.#options.mdns.detach(this)
    this.#announcement = undefined
  }

  networkChanged(change: NetworkChange): void {
    if (this.#announcement) this.#options.mdns.networkChanged(change)
  }

  renamed(name: string): void {
    if (!this.#announcement) return
    this.#announcement = { ...this.#announcement, name }
    this.#options.mdns.advertise(this)
  }

  states(): readonly DiscoveryState[] {
    return this.#options.mdns.states().map((state) => discoveryState('mdns', state))
  }

  advertisement(): Advertisement | undefined {
    if (!this.#announcement) return undefined
    const { peer, name, port } = this.#announcement
    return { instance: instanceName(peer, name), port, txt: txtOf(peer, name), host: ownHost(peer) }
  }

  known(interfaceName: string, family: 4 | 6): readonly string[] {
    return this.#sightings?.knownOn(interfaceName, family) ?? []
  }

  found(service: Service, { interface: on, address, responder }: Heard): void {
    const record = readRecord(service)
    if (!record) return this.#options.refusals.count('peer.bad-record')
    if (record.peer === this.#announcement?.peer) return
    const scoped = scopedAddress(address, on)
    const sighting: Sighting = { ...record, method: 'mdns', interface: on, address: scoped, proven: false }
    this.#sightings?.heard(sighting, service.fqdn, responder)
  }

  lost(fqdn: string, { responder }: Pick<Heard, 'responder'>): void {
    this.#sightings?.lost(fqdn, responder)
  }

  interfaceGone(name: string): void {
    this.#sightings?.forget(name)
  }
}

/** How a method that uses mDNS fares on an interface. */
export function discoveryState(
  method: 'mdns' | 'xmpp',
  { interface: on, families, failures }: MdnsState,
): DiscoveryState {
  const works = families.map((family) => `IPv${family}`).join(' and ')
  const detail = [...(works === '' ? [] : [`announces and asks over ${works}`]), ...failures].join('; ')
  const state = families.length > 0 ? 'active' : 'failed'
  return { method, interface: on, state, detail: detail || 'no address to announce from' }
}
