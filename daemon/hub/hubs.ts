import type { Element } from 'ltx'
import type { HubStatus } from '../../ipc/methods.ts'
import type { Clock, Timer } from '../clock.ts'
import type { Announcement, DiscoveryEvents, DiscoveryMethod, DiscoveryState, Prober } from '../discovery/discovery.ts'
import { PartylineError } from '../errors.ts'
import type { Identity } from '../identity/key.ts'
import type { Logger } from '../logger.ts'
import { interfaceOf } from '../network/addresses.ts'
import type { NetworkChange, NetworkInterface } from '../network/network.ts'
import { formatHostPort } from '../network/network.ts'
import type { Refusals } from '../refusals.ts'
import type { SignalExchange, Signaller } from '../signaling/signaller.ts'
import { AVAILABLE, type ContactId, type HostPort, type Milliseconds, type PeerId, type Presence } from '../types.ts'
import type { Contacts } from '../xmpp/contacts.ts'
import { NS } from '../xmpp/namespaces.ts'
import { StanzaSignals } from '../xmpp/stanza-signals.ts'
import { AddressExchange } from './address-exchange.ts'
import type { Found } from './address-watch.ts'
import { HubChat } from './hub-chat.ts'
import { HubDiscovery, type HubMdns, type OwnHub } from './hub-discovery.ts'
import { HubMembership, type HubWay } from './hub-membership.ts'
import { hostPresence } from './hub-presence.ts'
import type { HubMember } from './hub-roster.ts'
import { HubSightings } from './hub-sightings.ts'
import { parseHub } from './ticket.ts'

/** Most hubs that are given; those that mDNS finds are bounded on their own. */
export const MAX_GIVEN = 16
/** Hubs left by their user, which mDNS does not bring back. */
const MAX_LEFT = 64
/** Who is at a hub is told again after this, as nothing else keeps it fresh. */
const REPEAT: Milliseconds = 120_000
/** Changes are told together. */
const CHANGE_DELAY: Milliseconds = 100
/** Ways by which a hub is known: this host's own, as somebody gave it, or to meet somebody there. */
const OWN = 'own'
const GIVEN = 'given '
const VISITED = 'visited '

interface HubsOptions {
  readonly identity: Identity
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly contacts: Contacts
  readonly mdns: HubMdns
  readonly signals: SignalExchange
  readonly isBlocked: (peer: PeerId) => boolean
  /** What a peer may learn of our addresses, and which of its own may be asked. */
  readonly tellable: (peer: PeerId, addresses: readonly string[]) => readonly string[]
  readonly mayAsk: (peer: PeerId, address: string) => boolean
  /** Whether hubs that mDNS finds are joined. */
  readonly autoJoin: () => boolean
  /** Hubs to join at start: addresses and tickets. */
  readonly joined: () => readonly string[]
  readonly prober: Prober
  /** A link's handshake, where UDP is silent. */
  readonly dial: (target: HostPort) => Promise<Found | undefined>
  readonly onChat: (from: ContactId, text: string) => void
  readonly onComposing?: (from: ContactId, composing: boolean) => void
  readonly onPresence: (peer: PeerId, presence: Presence) => void
  /** What stands in the way of a direct link to a peer; empty for nothing any more. */
  readonly onNote: (peer: PeerId, note: string) => void
  /** Something of `status` changed. */
  readonly onChange: () => void
  /** From 0 up to, not including, 1; spreads those who come back to a hub. */
  readonly random?: () => number
}

/** What there is between `start` and `stop`. */
interface Running {
  readonly sightings: HubSightings
  readonly exchange: AddressExchange
  name: string
  interfaces: readonly NetworkInterface[]
  repeat: Timer
}

/**
 * The hubs this host is at: those that mDNS finds, those it was told of, and its own. A hub is joined once, however it was found, and whoever
 * is at several hubs is one.
 */
export class Hubs implements DiscoveryMethod, Signaller {
  readonly name = 'hub'
  readonly #options: HubsOptions
  readonly #discovery: HubDiscovery
  readonly #chat: HubChat
  readonly #signals: StanzaSignals
  readonly #hubs = new Set<HubMembership>()
  readonly #left = new Set<PeerId>()
  #created = 0
  /** This host's own hub, while there is one. */
  #own: OwnHub | undefined
  #running: Running | undefined
  #presence: Presence = AVAILABLE
  #changed: Timer | undefined

  constructor(options: HubsOptions) {
    this.#options = options
    const { clock, mdns, identity, refusals } = options
    this.#discovery = new HubDiscovery({
      clock,
      refusals,
      mdns,
      self: identity.peer,
      onFound: (key, way) => this.#found(key, way),
      onLost: (key) => this.#lost(key),
    })
    this.#chat = new HubChat(options)
    this.#signals = new StanzaSignals({ clock, refusals })
  }

  // As a discovery method

  async start(
    { peer, name, port }: Announcement,
    interfaces: readonly NetworkInterface[],
    events: DiscoveryEvents,
  ): Promise<void> {
    const { joined, logger } = this.#options
    const sightings = new HubSightings(events)
    this.#running = {
      sightings,
      exchange: new AddressExchange(this.#options, { peer, name, port }, interfaces, sightings),
      name,
      interfaces,
      repeat: this.#repeatLater(),
    }
    for (const text of joined())
      try {
        this.#give(text)
      } catch (error) {
        logger.warn('a hub of the settings cannot be joined', { hub: text, error: (error as Error).message })
      }
    if (this.#own) this.#joinOwn(this.#own)
    for (const hub of this.#hubs) hub.start()
    this.#discovery.start(interfaces)
  }

  async stop(): Promise<void> {
    const running = this.#running
    const goodbye = this.#discovery.stop()
    const hubs = [...this.#hubs]
    this.#hubs.clear()
    // Before the hubs: whoever leaves with them is not asked for again.
    running?.exchange.stop()
    const left = Promise.all(hubs.map((hub) => hub.stop()))
    for (const hub of hubs) this.#chat.forget(hub)
    running?.sightings.clear()
    running?.repeat.cancel()
    this.#changed?.cancel()
    this.#changed = undefined
    this.#running = undefined
    await Promise.all([goodbye, left])
  }

  networkChanged(change: NetworkChange): void {
    const running = this.#running
    if (!running) return
    const { interfaces } = change
    this.#discovery.networkChanged(change)
    running.interfaces = interfaces
    running.exchange.networkChanged(interfaces)
    for (const hub of this.#hubs) hub.networkChanged(interfaces)
  }

  renamed(name: string): void {
    const running = this.#running
    if (!running) return
    running.name = name
    running.exchange.renamed(name)
    for (const hub of this.#hubs) hub.tellPresence()
  }

  states(): readonly DiscoveryState[] {
    const joined = [...this.#hubs].filter((hub) => hub.isJoined)
    const waiting = [...this.#hubs].filter((hub) => !hub.isJoined)
    const detail = [
      ...joined.map((hub) => `at the hub ${hub.name} with ${hub.members().length} others`),
      ...waiting.map((hub) => `not at the hub ${hub.name}: ${hub.status().detail || 'joining it'}`),
    ].join('; ')
    const state = joined.length === 0 && waiting.length > 0 ? 'starting' : 'active'
    return [{ method: 'hub', interface: '', state, detail: detail || 'no hub is known' }]
  }

  // As a signaller

  reaches(peer: PeerId): boolean {
    return [...this.#hubs].some((hub) => hub.findPeer(peer))
  }

  send(peer: PeerId, sealed: Uint8Array): void {
    // By every hub: one that keeps signals to itself shall not stop them.
    for (const hub of this.#hubs) {
      const member = hub.findPeer(peer)
      if (member) hub.send(this.#signals.stanza(member.jid, sealed))
    }
  }

  onSignal(listener: (sealed: Uint8Array) => void): () => void {
    return this.#signals.listen(listener)
  }

  // What the user does

  /** Joins the hub at an address or of a ticket. Throws `usage.invalid-argument` or `local.limit`. */
  join(text: string): void {
    const hub = this.#give(text)
    if (hub.peer) this.#left.delete(hub.peer)
    if (this.#running) hub.start()
    this.#change()
  }

  /**
   * Is at the hub at an address or of a ticket until what it returns is called; where it is joined anyway nothing else happens. Throws
   * `usage.invalid-argument` or `local.limit`.
   */
  visit(text: string): () => void {
    const hub = this.#give(text, VISITED)
    if (this.#running) hub.start()
    this.#change()
    return () => {
      // It may have turned out to be another that is known.
      for (const one of [...this.#hubs]) {
        if (!one.ways.has(VISITED + text)) continue
        one.removeWay(VISITED + text)
        if (one.ways.size === 0) this.#drop(one)
      }
    }
  }

  /** Leaves a hub by its name, peer id, address or ticket; gives what it had been given by. Throws `local.no-hub`. */
  leave(text: string): readonly string[] {
    const hub = this.#hubOf(text)
    if (!hub) throw new PartylineError('local.no-hub', `no hub goes by "${text.slice(0, 80)}" here`)
    if (hub.peer) this.#left.add(hub.peer)
    const [oldest] = this.#left
    if (this.#left.size > MAX_LEFT && oldest) this.#left.delete(oldest)
    this.#drop(hub)
    return [...hub.ways.keys()].flatMap((key) => (key.startsWith(GIVEN) ? [key.slice(GIVEN.length)] : []))
  }

  /** The hubs, as `hub.status` shows them. */
  status(): HubStatus['hubs'] {
    return [...this.#hubs].map((hub) => hub.status()).sort((a, b) => a.name.localeCompare(b.name))
  }

  /** Tells everyone at the hubs. */
  setPresence(presence: Presence): void {
    this.#presence = presence
    for (const hub of this.#hubs) hub.tellPresence()
  }

  /**
   * Sends a line to a person at a hub, which can read it; resolves once the hub has taken it. Rejects with `network.unreachable` where nobody is
   * there under the address, `network.lost`, `peer.busy` or `usage.too-large`.
   */
  async sendChat(contact: ContactId, text: string): Promise<void> {
    await this.#chat.send(contact, text)
  }

  /** Advertises this host's own hub, and joins it over loopback; undefined takes that back. */
  async advertise(own: OwnHub | undefined): Promise<void> {
    this.#own = own
    for (const hub of [...this.#hubs]) {
      hub.removeWay(OWN)
      if (hub.ways.size === 0) this.#drop(hub)
    }
    this.#discovery.advertise(own)
    if (own) this.#joinOwn(own)
  }

  // Which hubs there are

  #joinOwn({ name, port }: OwnHub): void {
    const { peer } = this.#options.identity
    this.#left.delete(peer)
    const hub = this.#add(OWN, { peer, name, addresses: [{ address: '127.0.0.1', port }] })
    if (this.#running) hub.start()
  }

  #give(text: string, how = GIVEN): HubMembership {
    const { peer, name, addresses } = parseHub(text)
    const key = how + text
    const given = [...this.#hubs].flatMap(({ ways }) => [...ways.keys()].filter((one) => one.startsWith(how)))
    if (!given.includes(key) && given.length >= MAX_GIVEN)
      throw new PartylineError('local.limit', `at most ${MAX_GIVEN} hubs can be joined`)
    return this.#add(key, { peer, name, addresses })
  }

  #found(key: string, way: HubWay & { readonly peer: PeerId }): void {
    const known = [...this.#hubs].some((hub) => hub.peer === way.peer)
    if (!known && (!this.#options.autoJoin() || this.#left.has(way.peer))) return
    const hub = this.#add(key, way)
    if (this.#running) hub.start()
  }

  #lost(key: string): void {
    for (const hub of [...this.#hubs]) {
      hub.removeWay(key)
      // A connection that still stands tells more than a record that does not.
      if (hub.ways.size === 0 && !hub.isJoined) this.#drop(hub)
    }
  }

  /** The hub that a way leads to, which may be known in another way. */
  #add(key: string, way: HubWay): HubMembership {
    const addresses = new Set(way.addresses.map(formatHostPort))
    const isIt = (hub: HubMembership): boolean => {
      if (hub.ways.has(key)) return way.peer === undefined || hub.peer === undefined || hub.peer === way.peer
      if (way.peer !== undefined && hub.peer !== undefined) return hub.peer === way.peer
      return [...hub.ways.values()].some((one) => one.addresses.some((at) => addresses.has(formatHostPort(at))))
    }
    const hub = [...this.#hubs].find(isIt) ?? this.#create()
    for (const other of [...this.#hubs]) {
      if (other === hub) continue
      other.removeWay(key)
      if (other.ways.size === 0) this.#drop(other)
    }
    hub.setWay(key, way)
    return hub
  }

  #create(): HubMembership {
    const { random = Math.random } = this.#options
    const hub = new HubMembership({
      ...this.#options,
      source: `hub ${++this.#created}`,
      random,
      presence: () => hostPresence(this.#presence, this.#running?.name ?? ''),
      isOnly: (one, peer) => this.#isOnly(one, peer),
      onRoster: (one, { kind, member }) => (kind === 'there' ? this.#there(one, member) : this.#gone(one, member)),
      onMessage: (one, message) => this.#message(one, message),
      onState: (one) => this.#state(one),
    })
    this.#hubs.add(hub)
    return hub
  }

  /** A hub that was found by an address alone may turn out to be one that is known: its ways are that one's then. */
  #isOnly(hub: HubMembership, peer: PeerId): boolean {
    const other = [...this.#hubs].find((one) => one !== hub && one.peer === peer)
    if (!other) return true
    for (const [key, way] of hub.ways) other.setWay(key, way)
    this.#drop(hub)
    return false
  }

  #drop(hub: HubMembership): void {
    this.#hubs.delete(hub)
    this.#chat.forget(hub)
    void hub.stop()
    this.#change()
  }

  #hubOf(text: string): HubMembership | undefined {
    const hubs = [...this.#hubs]
    const given = hubs.find((hub) => hub.ways.has(GIVEN + text))
    if (given) return given
    const byName = hubs.find((hub) => hub.name === text || hub.peer === text || hub.domain === text)
    if (byName) return byName
    try {
      const { peer, addresses } = parseHub(text)
      if (peer) return hubs.find((hub) => hub.peer === peer)
      const at = new Set(addresses.map(formatHostPort))
      return hubs.find((hub) =>
        [...hub.ways.values()].some((way) => way.addresses.some((one) => at.has(formatHostPort(one)))),
      )
    } catch {
      return undefined
    }
  }

  // What hubs tell

  #there(hub: HubMembership, member: HubMember): void {
    const running = this.#running
    const { target, source } = hub
    if (!running || !target) return
    const { peer, name, presence } = member
    const on = interfaceOf(target.address, running.interfaces)?.name ?? ''
    if (peer) {
      running.sightings.seen(source, {
        peer,
        method: 'hub',
        interface: on,
        address: target.address,
        port: 0,
        name,
        proven: false,
      })
      this.#options.onPresence(peer, presence)
      running.exchange.appeared(peer, { name: hub.name, address: target.address })
    } else this.#chat.there(hub, member, { ...target, interface: on })
    this.#change()
  }

  #gone(hub: HubMembership, member: HubMember): void {
    const { peer } = member
    if (peer) {
      this.#running?.sightings.gone(hub.source, peer)
      const [other] = [...this.#hubs].filter((one) => one !== hub && one.findPeer(peer))
      if (!other) this.#running?.exchange.left(peer)
      else if (other.target) this.#running?.exchange.appeared(peer, { name: other.name, address: other.target.address })
    } else this.#chat.gone(hub, member)
    this.#change()
  }

  #message(hub: HubMembership, message: Element): void {
    const member = hub.find(message.attrs.from ?? '')
    // What the hub itself says, and who is there without showing it, concerns nobody here.
    if (!member) return
    const signal = message.getChild('signal', NS.signal)
    if (!signal) return this.#chat.take(hub, message, member)
    if (member.peer) this.#signals.take(hub.source, signal)
    else this.#options.refusals.count('peer.bad-signal')
  }

  #state(hub: HubMembership): void {
    if (!hub.isJoined && hub.ways.size === 0) this.#drop(hub)
    this.#change()
  }

  #change(): void {
    this.#changed ??= this.#options.clock.after(CHANGE_DELAY, () => {
      this.#changed = undefined
      this.#options.onChange()
    })
  }

  #repeatLater(): Timer {
    return this.#options.clock.after(REPEAT, () => {
      if (!this.#running) return
      this.#running.sightings.repeat()
      this.#running.repeat = this.#repeatLater()
    })
  }
}
