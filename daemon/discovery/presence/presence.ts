import type { Service } from 'bonjour-service'
import type { Clock, Timer } from '../../clock.ts'
import { cleanName } from '../../identity/host-name.ts'
import type { Logger } from '../../logger.ts'
import { plainAddress, sameSubnet } from '../../network/addresses.ts'
import { type NetworkChange, type NetworkInterface, scopedAddress } from '../../network/network.ts'
import type { Refusals } from '../../refusals.ts'
import { AVAILABLE, type Milliseconds, type PeerId, type Presence } from '../../types.ts'
import type { Contacts } from '../../xmpp/contacts.ts'
import type { LanInstance, LanRoster } from '../../xmpp/lan-roster.ts'
import type { Announcement, DiscoveryEvents, DiscoveryMethod, DiscoveryState, Prober } from '../discovery.ts'
import { discoveryState } from '../mdns/mdns.ts'
import type { Mdns } from '../mdns/mdns-network.ts'
import type { Advertisement, Clash, Heard, MdnsService } from '../mdns/mdns-service.ts'
import { ownHost } from '../mdns/record.ts'
import { instanceLabel, serviceName } from '../mdns/service-name.ts'
import { WatchedSightings } from '../mdns/watched-sightings.ts'
import { InstanceTable } from './instance-table.ts'
import { type Caps, presenceInstance, presenceTxt, readPresence } from './record.ts'

/** Names tried, one after the other; after so many taken ones each further one has to wait (RFC 6762 section 8.1). */
const MAX_CLASHES = 99
const MAX_QUICK_CLASHES = 15
const CLASH_PAUSE: Milliseconds = 5000
/** How long `lookUp` waits, and how many may. */
const LOOK_UP: Milliseconds = 2000
const MAX_LOOK_UPS = 256

interface PresenceOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly mdns: Pick<Mdns, 'attach' | 'detach' | 'advertise' | 'askFor' | 'networkChanged' | 'states'>
  readonly contacts: Contacts
  readonly caps: Caps
  /** The machine's name. */
  readonly hostname: string
  readonly prober: Prober
  /** True while another method hears the peer at this address, so that it need not be asked. */
  readonly hears?: (peer: PeerId, at: { readonly address: string; readonly interface: string }) => boolean
  /** A Partyline host tells of its presence. */
  readonly onPresence: (peer: PeerId, presence: Presence) => void
}

/**
 * Presence on the LAN as XMPP clients know it (XEP-0174): announces this host as one of them, finds other hosts, and lists whoever else is
 * there as a contact.
 */
export class PresenceDiscovery implements DiscoveryMethod, MdnsService, LanRoster {
  readonly name = 'xmpp'
  readonly type = 'presence'
  readonly browses = true
  readonly #options: PresenceOptions
  readonly #table: InstanceTable
  readonly #lookUps = new Set<{ readonly instance: string; readonly found: (instance: LanInstance) => void }>()
  #interfaces: readonly NetworkInterface[] = []
  #announcement: Announcement | undefined
  #presence: Presence = AVAILABLE
  #sightings: WatchedSightings | undefined
  #clashes = 0
  /** While too many names were taken. */
  #resting: Timer | undefined

  constructor(options: PresenceOptions) {
    this.#options = options
    this.#table = new InstanceTable({ clock: options.clock, contacts: options.contacts, service: this })
  }

  async start(
    announcement: Announcement,
    interfaces: readonly NetworkInterface[],
    events: DiscoveryEvents,
  ): Promise<void> {
    const { clock, prober, mdns, hears = () => false } = this.#options
    this.#announcement = announcement
    this.#interfaces = interfaces
    this.#sightings = new WatchedSightings({
      clock,
      prober,
      hears,
      service: this,
      events: {
        seen: (sighting) => events.seen(sighting),
        gone: (peer, method, on, address) => {
          this.#table.dropAddress(peer, on, address)
          events.gone(peer, method, on, address)
        },
      },
    })
    this.#table.start()
    mdns.attach(this, interfaces)
  }

  async stop(): Promise<void> {
    this.#resting?.cancel()
    this.#resting = undefined
    this.#sightings?.stop()
    this.#sightings = undefined
    this.#table.stop()
    await this.#options.mdns.detach(this)
    this.#announcement = undefined
  }

  networkChanged(change: NetworkChange): void {
    if (!this.#announcement) return
    this.#interfaces = change.interfaces
    this.#options.mdns.networkChanged(change)
  }

  renamed(name: string): void {
    if (!this.#announcement) return
    this.#announcement = { ...this.#announcement, name }
    this.#clashes = 0
    this.#options.mdns.advertise(this)
  }

  setPresence(presence: Presence): void {
    this.#presence = presence
    if (this.#announcement) this.#options.mdns.advertise(this)
  }

  states(): readonly DiscoveryState[] {
    return this.#options.mdns.states().map((one) => {
      const state = discoveryState('xmpp', one)
      return state.state === 'active' ? { ...state, detail: `${state.detail} as ${this.self()}` } : state
    })
  }

  // What others ask of the LAN

  self(): string {
    if (!this.#announcement) return ''
    return presenceInstance(this.#announcement.name, this.#options.hostname.split('.')[0] ?? '', this.#clashes)
  }

  find(instance: string): LanInstance | undefined {
    return this.#table.find(instance)
  }

  byPeer(peer: PeerId): LanInstance | undefined {
    return this.#table.byPeer(peer)
  }

  lookUp(instance: string): Promise<LanInstance | undefined> {
    if (this.#lookUps.size >= MAX_LOOK_UPS || instanceLabel(`${instance}.x`, 'x') === undefined)
      return Promise.resolve(undefined)
    return new Promise((resolve) => {
      const entry = {
        instance,
        found: (found: LanInstance | undefined): void => {
          timer.cancel()
          this.#lookUps.delete(entry)
          resolve(found)
        },
      }
      const timer = this.#options.clock.after(LOOK_UP, () => entry.found(undefined))
      this.#lookUps.add(entry)
      this.#options.mdns.askFor(this, instance)
    })
  }

  // What mDNS asks and tells

  advertisement(): Advertisement | undefined {
    if (!this.#announcement || this.#resting) return undefined
    const { peer, name, port } = this.#announcement
    const { caps } = this.#options
    const txt = presenceTxt({ name, presence: this.#presence, caps }, { peer, port })
    return { instance: this.self(), port, txt, host: ownHost(peer) }
  }

  known(interfaceName: string, family: 4 | 6): readonly string[] {
    const hosts = this.#sightings?.knownOn(interfaceName, family) ?? []
    return [...hosts, ...this.#table.freshContacts(interfaceName)]
  }

  clashed({ instance, host, isAnnounced }: Clash): void {
    const { clock, logger, mdns } = this.#options
    if (!this.#announcement || instance !== this.self() || this.#clashes >= MAX_CLASHES) return
    // Two hosts that took a name at the same moment: one of them keeps it.
    if (isAnnounced && host.startsWith('partyline-') && ownHost(this.#announcement.peer) < host) return
    this.#clashes++
    logger.info('somebody else on the LAN has this name', { instance, next: this.self() })
    if (this.#clashes > MAX_QUICK_CLASHES)
      this.#resting ??= clock.after(CLASH_PAUSE, () => {
        this.#resting = undefined
        mdns.advertise(this)
      })
    mdns.advertise(this)
  }

  found(service: Service, heard: Heard): void {
    const { interface: on, responder } = heard
    const instance = instanceLabel(service.fqdn, serviceName(this.type))
    const { rawTxt } = service as { rawTxt?: unknown }
    const record = instance && readPresence(instance, rawTxt instanceof Uint8Array ? [rawTxt] : rawTxt)
    // What is said on the LAN must not pass for what a hub says (XEP-0174, security considerations), nor for somebody else by what nobody sees.
    if (!record || !isPort(service.port) || isHubAddress(instance) || cleanName(instance) !== instance)
      return this.#options.refusals.count('peer.bad-record')
    if (record.host?.peer === this.#announcement?.peer) return
    const addresses = this.#addresses(heard)
    const found = this.#table.heard(
      { instance, peer: record.host?.peer, name: record.name, presence: record.presence },
      addresses.map((address) => ({ address, port: service.port, interface: on })),
      responder,
    )
    if (!found) return
    if (record.host) {
      const { peer, port } = record.host
      const address = scopedAddress(heard.address, on)
      const sighting = { peer, port, name: record.name, method: 'xmpp', interface: on, address, proven: false } as const
      this.#sightings?.heard(sighting, service.fqdn, responder)
      this.#options.onPresence(peer, record.presence)
    }
    for (const lookUp of [...this.#lookUps]) if (lookUp.instance === instance) lookUp.found(found)
  }

  lost(fqdn: string, { interface: on, responder }: Pick<Heard, 'interface' | 'responder'>): void {
    this.#sightings?.lost(fqdn, responder)
    const instance = instanceLabel(fqdn, serviceName(this.type))
    if (instance !== undefined) this.#table.lost(instance, on)
  }

  interfaceGone(name: string): void {
    this.#sightings?.forget(name)
    this.#table.forget(name)
  }

  /** Where the instance may be dialled from this interface: where the packet came from, and what it tells that is on the same network. */
  #addresses({ interface: on, address, addresses }: Heard): string[] {
    const own = this.#interfaces.find(({ name }) => name === on)?.addresses ?? []
    const near = addresses.filter((told) => own.some((one) => sameSubnet(told, one)))
    return [...new Set([address, ...near].map((one) => scopedAddress(plainAddress(one), on)))]
  }
}

const isPort = (port: unknown): port is number =>
  typeof port === 'number' && Number.isInteger(port) && port > 0 && port < 65536

/** True for an address as hubs give them: their domains are theirs. */
const isHubAddress = (instance: string): boolean => /@hub-[^@]*\.local$/i.test(instance)
