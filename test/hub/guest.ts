import { randomBytes } from 'node:crypto'
import type { Prober } from '../../daemon/discovery/discovery.ts'
import type { Advertisement, MdnsService } from '../../daemon/discovery/mdns/mdns-service.ts'
import type { HubMdns } from '../../daemon/hub/hub-discovery.ts'
import { Hubs } from '../../daemon/hub/hubs.ts'
import type { Identity } from '../../daemon/identity/key.ts'
import { silentLogger } from '../../daemon/logger.ts'
import type { NetworkInterface } from '../../daemon/network/network.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { Signals } from '../../daemon/signaling/signals.ts'
import type { HostPort, PeerId, Presence, Sighting } from '../../daemon/types.ts'
import { Contacts } from '../../daemon/xmpp/contacts.ts'
import { SightingLog } from '../discovery/sighting-log.ts'
import { networkInterface } from '../simulated-network.ts'
import { VirtualClock } from '../virtual-clock.ts'
import { newIdentity } from './hub-host.ts'

/** mDNS that hears what a test says, and keeps what is advertised. */
class FakeMdns implements HubMdns {
  readonly #services = new Set<MdnsService>()

  attach(service: MdnsService): void {
    this.#services.add(service)
  }
  async detach(service: MdnsService): Promise<void> {
    this.#services.delete(service)
  }
  advertise(): void {}
  networkChanged(): void {}

  /** What is advertised, by type. */
  get advertised(): Record<string, Advertisement> {
    return Object.fromEntries(
      [...this.#services].flatMap((service) => {
        const told = service.advertisement()
        return told ? [[service.type, told]] : []
      }),
    )
  }

  get browsers(): readonly MdnsService[] {
    return [...this.#services].filter(({ browses }) => browses)
  }

  hears(hub: { readonly peer: string; readonly name: string; readonly port: number }, address = '127.0.0.1'): void {
    const service = {
      fqdn: fqdnOf(hub.name),
      port: hub.port,
      txt: { v: '1', id: hub.peer, name: hub.name },
    }
    for (const browser of this.browsers)
      browser.found(service as never, { interface: 'eth0', address, addresses: [], responder: undefined as never })
  }

  loses(name: string): void {
    for (const browser of this.browsers)
      browser.lost(fqdnOf(name), { interface: 'eth0', responder: undefined as never })
  }
}

const fqdnOf = (name: string): string => `${name}._partyline-hub._tcp.local`

/** Hosts that answer at addresses, by UDP or by TCP alone. */
export class FakeHosts implements Prober {
  readonly byUdp = new Map<string, PeerId>()
  readonly byTcp = new Map<string, PeerId>()
  readonly asked: HostPort[] = []

  async probe(target: HostPort): Promise<Sighting | undefined> {
    this.asked.push(target)
    const peer = this.byUdp.get(target.address)
    return peer && { peer, method: 'beacon', interface: '', ...target, name: 'host', proven: true }
  }

  readonly dial = async (target: HostPort) => {
    const peer = this.byTcp.get(target.address)
    return peer && { peer, name: 'host', port: target.port }
  }
}

type HubsOptions = ConstructorParameters<typeof Hubs>[0]

/** A host with its hubs, whose network is what a test says; in virtual time, on real sockets. */
export class HubGuest implements AsyncDisposable {
  readonly identity: Identity
  readonly clock = new VirtualClock()
  readonly refusals = new Refusals()
  readonly contacts = new Contacts(this.clock)
  readonly mdns = new FakeMdns()
  readonly hosts: FakeHosts
  readonly log = new SightingLog()
  readonly signals: Signals
  readonly hubs: Hubs
  readonly blocked = new Set<PeerId>()
  readonly chat: string[] = []
  readonly presences = new Map<PeerId, Presence>()
  readonly notes = new Map<PeerId, string>()
  readonly composing: string[] = []
  interfaces: readonly NetworkInterface[]
  autoJoin = true
  changes = 0
  readonly #watchers = new Set<() => void>()
  readonly #name: string

  private constructor(options: GuestOptions) {
    const { identity = newIdentity(), name = 'me', hosts = new FakeHosts(), address = '192.168.50.9/24' } = options
    this.identity = identity
    this.hosts = hosts
    this.#name = name
    this.interfaces = [networkInterface('lo', ['127.0.0.1/8']), networkInterface('eth0', [address])]
    const { clock, refusals, contacts, mdns, blocked } = this
    const isBlocked = (peer: PeerId) => blocked.has(peer)
    const logger = silentLogger
    this.signals = new Signals({ identity, clock, logger, refusals, isBlocked, randomBytes })
    const told = <A extends unknown[]>(task: (...args: A) => void) => {
      return (...args: A) => {
        task(...args)
        this.#changed()
      }
    }
    contacts.onChange(() => this.#changed())
    this.hubs = new Hubs({
      identity,
      clock,
      logger,
      refusals,
      contacts,
      mdns,
      signals: this.signals,
      isBlocked,
      tellable: (_, addresses) => addresses,
      mayAsk: () => true,
      autoJoin: () => this.autoJoin,
      joined: () => options.joined ?? [],
      prober: hosts,
      dial: hosts.dial,
      onChat: told((from, text) => this.chat.push(`${from} ${text}`)),
      onComposing: told((from, composing) => this.composing.push(`${from} ${composing}`)),
      onPresence: told((peer, presence) => this.presences.set(peer, presence)),
      onNote: told((peer, note) => this.notes.set(peer, note)),
      onChange: told(() => this.changes++),
      random: () => 0.5,
      ...options.hubs,
    })
    if (!options.hubs?.signals) this.signals.add(this.hubs)
  }

  static async start(options: GuestOptions = {}): Promise<HubGuest> {
    const guest = new HubGuest(options)
    const announcement = { peer: guest.identity.peer, name: guest.#name, port: 47800 }
    const log = guest.log
    await guest.hubs.start(announcement, guest.interfaces, {
      seen: (sighting) => {
        log.seen(sighting)
        guest.#changed()
      },
      gone: (...args) => {
        log.gone(...args)
        guest.#changed()
      },
    })
    return guest
  }

  get peer(): PeerId {
    return this.identity.peer
  }

  /** Waits until something is so: looked at after all that the hubs tell and, for what they do not, every now and then. `pass`: virtual time that passes meanwhile. */
  async until(condition: () => boolean, pass = 0): Promise<void> {
    for (let rounds = 0; !condition(); rounds++) {
      if (rounds > 5000) throw new Error('it did not come to this')
      await new Promise<void>((resolve) => {
        const watcher = () => {
          this.#watchers.delete(watcher)
          clearTimeout(timer)
          resolve()
        }
        const timer = setTimeout(watcher, 1)
        this.#watchers.add(watcher)
      })
      if (pass > 0) this.clock.advance(pass)
    }
  }

  async untilJoined(count = 1): Promise<void> {
    await this.until(() => this.hubs.status().filter(({ state }) => state === 'joined').length >= count)
  }

  async untilSees(...peers: readonly PeerId[]): Promise<void> {
    await this.until(() => peers.every((peer) => this.log.of(peer).length > 0))
  }

  async untilContact(name: string): Promise<string> {
    const find = () => this.contacts.list().find((contact) => contact.name === name)
    await this.until(() => find() !== undefined)
    return find()?.id ?? ''
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.hubs.stop()
  }

  #changed(): void {
    for (const watcher of [...this.#watchers]) watcher()
  }
}

interface GuestOptions {
  readonly identity?: Identity
  readonly name?: string
  readonly joined?: readonly string[]
  readonly hosts?: FakeHosts
  /** Its address on `eth0`. */
  readonly address?: string
  readonly hubs?: Partial<HubsOptions>
}
