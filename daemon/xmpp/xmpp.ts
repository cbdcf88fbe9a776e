import { randomBytes, randomInt } from 'node:crypto'
import type { Socket } from 'node:net'
import { hostname } from 'node:os'
import type { Publish } from '../../ipc/api.ts'
import type { Clock } from '../clock.ts'
import type { SettingsStore } from '../config/store.ts'
import type { DiscoveryMethod, Prober } from '../discovery/discovery.ts'
import type { Mdns } from '../discovery/mdns/mdns-network.ts'
import { PresenceDiscovery } from '../discovery/presence/presence.ts'
import type { ExternalService } from '../hub/external-services.ts'
import { tellableAddresses } from '../hub/host-addresses.ts'
import { HubService } from '../hub/hub-service.ts'
import { Hubs } from '../hub/hubs.ts'
import type { Identity } from '../identity/key.ts'
import type { Logger } from '../logger.ts'
import type { Network } from '../network/network.ts'
import type { PeerBook } from '../peers/peer-book.ts'
import type { Refusals } from '../refusals.ts'
import type { ContactChat } from '../services/contact-chat.ts'
import { Signals } from '../signaling/signals.ts'
import type { ContactId, HostPort, PeerId, Presence } from '../types.ts'
import { Contacts, contactId } from './contacts.ts'
import { LanStreams } from './lan-streams.ts'
import { PlainChat } from './plain-chat.ts'
import { ENTITY_CAPS } from './stanzas.ts'

interface XmppOptions {
  readonly identity: Identity
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly settings: SettingsStore
  readonly network: Network
  readonly book: PeerBook
  readonly mdns: Mdns
  readonly prober: Prober
  /** True while the beacon hears a peer at an address, so that nobody need ask. */
  readonly hears: (peer: PeerId, at: { readonly address: string; readonly interface: string }) => boolean
  readonly dial: (
    target: HostPort,
  ) => Promise<{ readonly peer: PeerId; readonly name: string; readonly port: number } | undefined>
  /** What a peer at a hub may learn of our addresses, and which of its own may be asked. */
  readonly tellable: (peer: PeerId, addresses: readonly string[]) => readonly string[]
  readonly mayAsk: (peer: PeerId, address: string) => boolean
  readonly publish: Publish
  /** The host's name. */
  readonly name: () => string
  /** STUN and TURN servers that the hub tells a host of, or a person. */
  readonly services: (host: PeerId | undefined) => readonly ExternalService[]
  /** File for the hub's certificate. */
  readonly hubCertificate: string
  readonly onChat: (from: ContactId, text: string, via: 'lan' | 'hub') => void
  readonly onComposing: (from: ContactId, composing: boolean) => void
}

/**
 * The XMPP side of a daemon, built and wired: presence and streams on the LAN, hubs, the plain XMPP clients there, and the signals that
 * streams and hubs carry.
 */
export class Xmpp {
  readonly contacts: Contacts
  readonly signals: Signals
  readonly hub: HubService
  readonly chat: ContactChat
  readonly #settings: SettingsStore
  readonly #logger: Logger
  readonly #presence: PresenceDiscovery | undefined
  readonly #lan: LanStreams | undefined
  readonly #hubs: Hubs

  constructor(options: XmppOptions) {
    const { identity, clock, logger, refusals, settings, network, book, mdns, prober, hears, dial, publish } = options
    this.#settings = settings
    this.#logger = logger
    const part = (name: string): Logger => logger.part(name)
    this.contacts = new Contacts(clock)
    this.contacts.onChange(({ id, name }, change) => {
      if (change === 'gone') publish('peers.gone', { id, name })
      else publish('peers.changed', { peer: this.contacts.view(id) })
    })
    const isBlocked = book.isBlocked.bind(book)
    const onPresence = book.setPresence.bind(book)
    this.signals = new Signals({ identity, clock, logger: part('signals'), refusals, isBlocked, randomBytes })

    if (settings.get('discovery.xmpp')) {
      this.#presence = new PresenceDiscovery({
        clock,
        logger: part('presence'),
        refusals,
        mdns,
        contacts: this.contacts,
        caps: ENTITY_CAPS,
        hostname: hostname(),
        prober,
        hears,
        onPresence,
      })
      this.#lan = new LanStreams({
        identity,
        clock,
        logger: part('lan-streams'),
        refusals,
        roster: this.#presence,
        onChat: ({ instance, peer }, text) => {
          // Hosts chat through their session or a signal; in the clear it is somebody else in their name.
          if (peer) refusals.count('peer.impersonation')
          else options.onChat(contactId(instance), text, 'lan')
        },
        onChatState: ({ instance, peer }, composing) => {
          if (!peer) options.onComposing(contactId(instance), composing)
        },
      })
      this.signals.add(this.#lan)
    }

    this.#hubs = new Hubs({
      identity,
      clock,
      logger: part('hubs'),
      refusals,
      contacts: this.contacts,
      mdns,
      signals: this.signals,
      isBlocked,
      tellable: options.tellable,
      mayAsk: options.mayAsk,
      autoJoin: () => settings.get('hub.auto-join'),
      joined: () => settings.get('hub.join'),
      prober,
      dial,
      onChat: (from, text) => options.onChat(from, text, 'hub'),
      onComposing: options.onComposing,
      onPresence,
      onNote: book.setNote.bind(book),
      onChange: () => publish('hub.changed', {}),
    })
    this.signals.add(this.#hubs)
    this.chat = new PlainChat({ contacts: this.contacts, hubs: this.#hubs, lan: this.#lan, roster: this.#presence })
    this.hub = new HubService({
      self: identity.peer,
      // A quarter of the daemon's memory, for hosts that are a hub.
      create: async (name) => {
        const { HubServer } = await import('../hub/hub-server.ts')
        return new HubServer({
          identity,
          clock,
          logger: part('hub'),
          refusals,
          limits: { clients: settings.get('hub.max-clients'), perAddress: settings.get('hub.max-per-address') },
          name,
          randomInt,
          randomBytes,
          services: options.services,
          onChange: () => publish('hub.changed', {}),
        })
      },
      hubs: this.#hubs,
      port: () => settings.get('hub.port'),
      name: () => settings.get('hub.name') || options.name(),
      addresses: () => tellableAddresses(network.interfaces()),
      certificateFile: options.hubCertificate,
      remembered: () => settings.get('hub.join'),
      remember: (hubs) => settings.set('hub.join', [...hubs]),
      publish,
    })
  }

  /** The ways of finding others that come with XMPP. */
  get methods(): DiscoveryMethod[] {
    return [...(this.#presence ? [this.#presence] : []), this.#hubs]
  }

  /** Takes a connection to the daemon's port that speaks XMPP. */
  onStream(socket: Socket): void {
    if (this.#lan) this.#lan.take(socket)
    else socket.destroy()
  }

  /** Starts the hub where the settings want one. A hub that cannot start is no reason for the daemon not to. */
  async start(): Promise<void> {
    if (!this.#settings.get('hub.enabled')) return
    await this.hub.start().catch((error: Error) => this.#logger.error('the hub cannot start', { error: error.message }))
  }

  setPresence(presence: Presence): void {
    this.#presence?.setPresence(presence)
    this.#hubs.setPresence(presence)
  }

  /** Ends streams and the hub; the ways of finding others are stopped by whoever runs them. */
  async stop(): Promise<void> {
    await Promise.all([this.#lan?.close(), this.hub.close()])
  }
}
