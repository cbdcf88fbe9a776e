/**
 * The one place that builds the parts of a daemon and wires them. Nothing below reads the environment, the clock or the disk
 * on its own account: what a part needs, it is given here.
 */
import { randomBytes } from 'node:crypto'
import { homedir, hostname } from 'node:os'
import type { Publish } from '../ipc/api.ts'
import type { StatusView } from '../ipc/methods.ts'
import { IpcServer } from '../ipc/server.ts'
import { userSocketFolder } from '../ipc/user-sockets.ts'
import { Accounts } from './accounts/accounts.ts'
import { type Clock, systemClock, type Timer } from './clock.ts'
import { needsRestart, SettingsStore } from './config/store.ts'
import { Connector } from './connect/connector.ts'
import { Keeper } from './connect/keeper.ts'
import { routeOf } from './connect/route.ts'
import { Upgrades } from './connect/upgrades.ts'
import { SealedPort } from './datagram/datagram-port.ts'
import { BeaconDiscovery } from './discovery/beacon/beacon.ts'
import type { DiscoveryMethod } from './discovery/discovery.ts'
import { HintDiscovery } from './discovery/hints.ts'
import { Discovery } from './discovery/manager.ts'
import { MdnsDiscovery } from './discovery/mdns/mdns.ts'
import { Mdns } from './discovery/mdns/mdns-network.ts'
import { Doctor } from './doctor/doctor.ts'
import { PartylineError, toPartylineError } from './errors.ts'
import { FriendRelays } from './friends/friend-relays.ts'
import { Friends } from './friends/friends.ts'
import { udpAddressOf } from './friends/udp-address.ts'
import { createHandlers, sessionView, statisticsView } from './handlers.ts'
import { loadCertificate } from './identity/certificate.ts'
import { acquireHomeLock } from './identity/home-lock.ts'
import { defaultName } from './identity/host-name.ts'
import { type Identity, loadOrCreateIdentity } from './identity/key.ts'
import { Invitations } from './invites/invitations.ts'
import { Invites } from './invites/invites.ts'
import { ownWays } from './invites/own-ways.ts'
import { createTlsDial } from './link/tls-dial.ts'
import { LinkListener } from './link/tls-listen.ts'
import { tlsOptions } from './link/tls-options.ts'
import { createLogger, isAtLeast, type LogEntry, type Logger } from './logger.ts'
import { MetricsEndpoint } from './metrics/endpoint.ts'
import { renderMetrics } from './metrics/metrics.ts'
import { Nat } from './nat/nat.ts'
import { isOwnAddress } from './network/addresses.ts'
import type { Network } from './network/network.ts'
import { SystemNetwork } from './network/system-network.ts'
import { UdpEndpoint } from './network/udp-endpoint.ts'
import { PeerBook } from './peers/peer-book.ts'
import { People } from './peers/people.ts'
import { type Places, preparePlaces, resolvePlaces } from './places.ts'
import { Access } from './policy/access.ts'
import { Refusals } from './refusals.ts'
import { RelayService } from './relay/relay-service.ts'
import { LogRing } from './report/log-ring.ts'
import type { InheritedSockets } from './service/environment.ts'
import { ChatService } from './services/chat.ts'
import { ChatHistory } from './services/chat-history.ts'
import { FileService } from './services/files.ts'
import { MessageService } from './services/messages.ts'
import { PresenceService } from './services/presence.ts'
import { SessionHolds } from './services/session-holds.ts'
import { StreamService } from './services/streams.ts'
import { WaysExchange } from './services/ways-exchange.ts'
import { SessionManager } from './session/session-manager.ts'
import { SessionSignaller } from './signaling/session-signaller.ts'
import { removeLeftovers } from './state/leftovers.ts'
import type { Milliseconds } from './types.ts'
import { VERSION } from './version.ts'
import { Xmpp } from './xmpp/xmpp.ts'

/** Links in all, streams included. */
const MAX_LINKS = 8192
/** How many peers are looked for at their last address when the daemon starts. */
const MAX_REMEMBERED = 64
/** How often measurements are told. */
const MEASURED: Milliseconds = 1000
/** Changes among peers that come together are looked at together. */
const ACQUAINT: Milliseconds = 20

export interface DaemonOptions {
  /** Folder that holds everything; the platform's folders otherwise. */
  readonly home?: string | undefined
  /** Insists on this port. */
  readonly port?: number | undefined
  /** Name that others read, for this run. */
  readonly name?: string | undefined
  /** Names of the interfaces that take part, for this run. */
  readonly interfaces?: readonly string[] | undefined
  readonly env: NodeJS.ProcessEnv
  /** True for a system service: places of the system, and an app socket that the group may use. */
  readonly system?: boolean
  /** Sockets that a service manager opened. */
  readonly inherited?: InheritedSockets
  /** Takes each line of the log. */
  readonly log: (entry: LogEntry) => void
}

/** A daemon that accepts commands. */
export interface RunningDaemon {
  readonly id: string
  readonly port: number
  /** The app socket. */
  readonly socket: string
  readonly places: Places
  /** Says goodbye to everyone and ends. Safe to call twice. */
  stop(): Promise<void>
  /** Takes up the settings in the file. Gives those that are others now; throws and changes nothing when the file is damaged. */
  reload(): { readonly changed: readonly string[]; readonly needRestart: readonly string[] }
  /** Resolves once it has begun to end, whoever asked for it. */
  readonly stopping: Promise<void>
  /** Resolves once it has ended, whoever asked for it. */
  readonly stopped: Promise<void>
}

/** Builds a daemon, wires its parts and starts them. Rejects with a `PartylineError` when it cannot run. */
export async function startDaemon(options: DaemonOptions): Promise<RunningDaemon> {
  const places = resolvePlaces({
    home: options.home,
    ...(options.system && { system: true }),
    env: options.env,
    platform: process.platform,
    userHome: homedir(),
  })
  await preparePlaces(places)
  const lock = await acquireHomeLock(places.lock)
  try {
    await removeLeftovers(places)
    const daemon = await Daemon.build(options, places)
    await daemon.start()
    void daemon.stopped.then(() => lock.release())
    return daemon
  } catch (error) {
    await lock.release()
    throw error
  }
}

class Daemon implements RunningDaemon {
  readonly id: string
  readonly places: Places
  readonly stopping: Promise<void>
  readonly stopped: Promise<void>
  readonly #clock: Clock = systemClock
  readonly #began = systemClock.now()
  readonly #options: DaemonOptions
  readonly #logger: Logger
  readonly #refusals = new Refusals()
  readonly #settings: SettingsStore
  readonly #book: PeerBook
  readonly #network: Network
  readonly #listener: LinkListener
  readonly #udp: UdpEndpoint
  readonly #connector: Connector
  readonly #sessions: SessionManager
  readonly #nat: Nat
  readonly #relay: RelayService
  readonly #accounts: Accounts
  readonly #friends: Friends
  readonly #friendRelays: FriendRelays
  readonly #keeper: Keeper
  readonly #access: Access
  readonly #invites: Invites
  readonly #ways: WaysExchange
  readonly #upgrades: Upgrades
  readonly #messages: MessageService
  readonly #streams: StreamService
  readonly #files: FileService
  readonly #chat: ChatService
  readonly #history: ChatHistory
  readonly #xmpp: Xmpp
  readonly #discovery: Discovery
  readonly #ipc: IpcServer
  readonly #metricsEndpoint: MetricsEndpoint | undefined
  readonly #resolveStopping: () => void
  readonly #resolveStopped: () => void
  #measuring: Timer | undefined
  #acquainting: Timer | undefined
  #ending: Promise<void> | undefined

  static async build(options: DaemonOptions, places: Places): Promise<Daemon> {
    const settings = SettingsStore.open(places.config)
    const log = new LogRing(systemClock)
    let shown = settings.get('log.level') as LogEntry['level']
    settings.onChange(() => {
      shown = settings.get('log.level') as LogEntry['level']
    })
    const logger = createLogger('debug', (entry) => {
      log.push(entry)
      if (isAtLeast(entry.level, shown)) options.log(entry)
    })
    const identity = await loadOrCreateIdentity(places.identity)
    const certificate = await loadCertificate(identity, places.certificate)
    const book = await PeerBook.open({
      self: identity.peer,
      clock: systemClock,
      logger: logger.part('peers'),
      file: places.peers,
    })
    const history = await ChatHistory.open({
      file: places.chat,
      logger: logger.part('chat'),
      keep: () => settings.get('chat.keep'),
      store: () => settings.get('chat.store'),
    })
    const invitations = await Invitations.open({ clock: systemClock, randomBytes, file: places.invites })
    return new Daemon(
      options,
      places,
      settings,
      logger,
      identity,
      tlsOptions(certificate),
      book,
      history,
      invitations,
      log,
    )
  }

  private constructor(
    options: DaemonOptions,
    places: Places,
    settings: SettingsStore,
    logger: Logger,
    identity: Identity,
    tls: ReturnType<typeof tlsOptions>,
    book: PeerBook,
    history: ChatHistory,
    invitations: Invitations,
    log: LogRing,
  ) {
    this.#options = options
    this.places = places
    this.id = identity.peer
    this.#settings = settings
    this.#logger = logger
    this.#book = book
    const clock = this.#clock
    const refusals = this.#refusals
    const { promise, resolve } = Promise.withResolvers<void>()
    const { promise: stopping, resolve: resolveStopping } = Promise.withResolvers<void>()
    this.stopping = stopping
    this.#resolveStopping = resolveStopping
    this.stopped = promise
    this.#resolveStopped = resolve
    const publish: Publish = (event, params, user) => this.#ipc.publish(event, params, user)
    const isBlocked = book.isBlocked.bind(book)
    const ways = (peer?: Identity['peer']) =>
      ownWays({
        self: identity.peer,
        share: this.#access.policy.share(peer).value,
        hub: this.#xmpp.hub.status(),
        interfaces: this.#network.interfaces(),
        port: this.port,
        accounts: this.#accounts.jids(),
        mapped: this.#nat.mapped(),
      })

    this.#network = new SystemNetwork({
      clock,
      logger: logger.part('network'),
      include: options.interfaces ?? settings.get('network.interfaces'),
      exclude: settings.get('network.exclude'),
    })

    this.#access = new Access({
      clock,
      logger: logger.part('policy'),
      refusals,
      settings,
      book,
      interfaces: () => this.#network.interfaces(),
      platform: process.platform,
      env: options.env,
      signals: () => this.#xmpp.signals,
      admitsBearer: (peer, invite) => this.#invites.admitsBearer(peer, invite),
      onNotice: (peer, notice) => this.#connector.noticed(peer, notice),
      onChange: () => this.#policyChanged(),
      publish,
    })
    const { policy, gate } = this.#access
    const dialable = (peer: Identity['peer']) =>
      book.addresses(peer).filter(({ address }) => policy.mayDial(peer, address))

    // Links: the port, dialling, and the election of one link per peer.
    const handshake = settings.get('link.handshake-timeout')
    const instance = randomBytes(8).toString('hex')
    this.#connector = new Connector({
      self: identity.peer,
      instance,
      clock,
      logger: logger.part('connect'),
      refusals,
      dial: createTlsDial(tls),
      traversal: {
        reaches: (peer) => this.#nat.traversal.reaches(peer),
        look: (peer, failed) => this.#nat.traversal.look(peer, failed),
      },
      addressesOf: dialable,
      interfaces: () => this.#network.interfaces(),
      isBlocked,
      gate,
      name: () => this.name,
      port: () => this.port,
      inviteFor: (peer) => this.#invites.inviteFor(peer),
      greetingTimeout: handshake,
      holds: (peer) => this.#sessions.holds(peer),
      suspend: (peer, session) => this.#sessions.suspend(peer, session),
      onElected: (elected) => this.#sessions.take(elected),
      onStream: (...stream) => this.#sessions.takeStream(...stream),
    })
    this.#listener = new LinkListener({
      tls,
      limits: {
        perAddress: settings.get('link.max-per-address'),
        halfOpen: settings.get('link.max-half-open'),
        total: MAX_LINKS,
        handshake,
      },
      refusals,
      logger: logger.part('link'),
      onLink: (link, greeted) => void this.#connector.accept(link, greeted),
      onXmpp: (socket) => this.#xmpp.onStream(socket),
    })

    this.#udp = new UdpEndpoint({ clock, logger: logger.part('udp'), refusals })
    const sealed = new SealedPort({
      clock,
      refusals,
      endpoint: this.#udp,
      send: (packet, to) => this.#nat.send(packet, to),
      mayLeave: (peer, to) => policy.mayLeave(peer, to),
      interfaces: () => this.#network.interfaces(),
    })

    // Sessions, and the services that travel in them.
    const holds = new SessionHolds()
    this.#sessions = new SessionManager({
      clock,
      logger: logger.part('session'),
      refusals,
      connect: (peer, timeout) => this.#connector.connect(peer, timeout),
      dialStream: (...stream) => this.#connector.dialStream(...stream),
      routeOf: (link) =>
        routeOf(
          link,
          this.#network.interfaces(),
          (address) =>
            this.#nat.traversal.isMapped(link.peer, address) ||
            book.ways(link.peer).addresses.some((one) => one.mapped === true && one.address === address),
        ),
      datagrams: settings.get('session.datagrams') ? sealed : undefined,
      resumeFor: () => settings.get('session.resume-for'),
      isHeld: (peer) => holds.holds(peer),
      idleClose: () => settings.get('session.idle-close'),
      onMessage: (message) => this.#messages.take(message),
      onStream: (stream) => {
        const facts = this.#sessions.get(stream.peer)?.facts
        if (!this.#access.admitsStream(stream.peer, facts)) stream.refuse('policy.refused')
        else if (this.#files.admits(stream.peer, stream.service)) this.#streams.take(stream)
        else stream.refuse('peer.no-service')
      },
      onOpened: (session, { name, port }) => {
        const { facts } = session
        // The port it listens on, not the one it dialled from, is where it can be reached again; a hole in a NAT is no such place.
        const isListening = port > 0 && facts.carrier === 'tcp'
        book.connected(facts.peer, name, facts.route, isListening ? { address: facts.remote.address, port } : undefined)
        this.#upgrades.news(facts.peer)
        this.#keeper.opened(facts.peer)
        publish('sessions.opened', { session: sessionView(facts, book) })
        this.#files.sessionOpened(facts.peer)
        this.#messages.sessionOpened(session)
        this.#acquaint()
      },
      onChanged: (session, change) => {
        const { facts } = session
        if (change.to === null) book.disconnected(facts.peer)
        else book.connected(facts.peer, book.get(facts.peer).name, facts.route, undefined)
        this.#upgrades.news(facts.peer)
        publish('sessions.changed', { session: sessionView(facts, book), ...change })
        this.#acquaint()
        if (change.to === null) void this.#network.check()
      },
      onStalled: (session) => {
        const { stall } = session.statistics()
        if (stall) publish('sessions.stalled', { peer: session.facts.peer, stall })
      },
      onClosed: (session, { code, message, by }) => {
        const { peer } = session.facts
        publish('sessions.closed', { peer, code, message, by })
        this.#acquaint()
        if (this.#sessions.get(peer)) return
        book.disconnected(peer)
        this.#files.sessionClosed(peer)
        this.#messages.sessionClosed(peer)
        this.#keeper.closed(peer, by)
        if (by === 'network') void this.#network.check()
      },
    })
    const open = (peer: Identity['peer']) => this.#sessions.open(peer)
    this.#messages = new MessageService({
      clock,
      refusals,
      open,
      session: (peer) => this.#sessions.get(peer),
      sessions: () => this.#sessions.list(),
      isTrusted: (peer) => book.get(peer).trust === 'trusted',
      isBlocked,
      nameOf: (peer) => book.get(peer).petname || book.get(peer).name,
      requestFor: () => settings.get('messages.request-for'),
      appSend: () => settings.get('messages.app-send'),
      appReceive: () => settings.get('messages.app-receive'),
    })
    this.#streams = new StreamService({
      clock,
      open: async (peer) => {
        const session = await open(peer)
        policy.checkUse(session.facts, 'bulk')
        return session
      },
      onClosed: ({ id, peer, service }, { clean }, user) =>
        publish('streams.closed', { stream: id, peer, service, clean }, user),
    })
    this.#files = new FileService({
      clock,
      logger: logger.part('files'),
      refusals,
      publish,
      messages: this.#messages,
      streams: this.#streams,
      isBlocked,
    })

    const beacon = new BeaconDiscovery({
      identity,
      clock,
      logger: logger.part('beacon'),
      refusals,
      endpoint: this.#udp,
      broadcast: settings.get('discovery.beacon'),
      mayAnswer: (peer, address) => gate.mayAnswer(peer, policy.originAt(address)),
    })
    const mdns = new Mdns({ clock, logger: logger.part('mdns'), refusals })
    this.#xmpp = new Xmpp({
      identity,
      clock,
      logger,
      refusals,
      settings,
      network: this.#network,
      book,
      mdns,
      prober: beacon,
      hears: (peer, at) => beacon.hears(peer, at),
      dial: (target) => this.#connector.probe(target),
      tellable: (peer, addresses) => policy.addresses(peer, addresses),
      mayAsk: (peer, address) => policy.mayAsk(peer, address),
      publish,
      name: () => this.name,
      hubCertificate: places.hubCertificate,
      services: (host) => this.#relay.services(host),
      onChat: (from, text, via) => this.#chat.arrived(from, text, via),
      onComposing: (from, composing) => this.#chat.composing(from, composing),
    })
    this.#xmpp.signals.add(
      new SessionSignaller(this.#messages, (peer) => this.#sessions.get(peer)?.facts.state === 'open'),
    )
    const linked = () => this.#sessions.list().flatMap(({ facts }) => (facts.state === 'open' ? [facts.peer] : []))
    this.#friends = new Friends({
      self: identity.peer,
      clock,
      logger: logger.part('friends'),
      refusals,
      messages: this.#messages,
      book,
      sessions: linked,
      isWanted: () => settings.get('friends.signals'),
      mayCarry: (peer) => policy.mayCarry(peer).value,
      onReach: () => this.#keeper.news(),
      onIntroduction: (introduction) => this.#access.introduced(introduction),
    })
    this.#accounts = new Accounts({
      self: identity.peer,
      clock,
      logger: logger.part('accounts'),
      refusals,
      book,
      publish,
      file: places.accounts,
      random: Math.random,
      usesServers: () => settings.get('accounts.use-servers'),
      onChanged: () => {
        this.#nat.serversChanged()
        this.#keeper.news()
        this.#acquaint()
      },
    })
    this.#xmpp.signals.add(this.#accounts.signaller)
    this.#xmpp.signals.add(this.#friends.signaller)
    this.#friendRelays = new FriendRelays({
      self: identity.peer,
      clock,
      refusals,
      messages: this.#messages,
      book,
      sessions: linked,
      addressOf: (peer) => udpAddressOf(this.#sessions.get(peer)?.facts, book.addresses(peer)),
      isWanted: () => settings.get('friends.relay'),
      credentialsFor: (peer, lifetime) =>
        policy.mayRelay(peer).value ? this.#relay.credentialsFor(peer, lifetime) : undefined,
      use: (servers) => this.#nat.setFriends(servers),
    })
    this.#keeper = new Keeper({
      clock,
      random: Math.random,
      isWanted: () => settings.get('session.keep-trusted'),
      peers: () => book.far(),
      hasSession: (peer) => this.#sessions.get(peer) !== undefined,
      hasWay: (peer) => dialable(peer).length > 0 || this.#nat.traversal.reaches(peer),
      open,
    })
    this.#ways = new WaysExchange({
      messages: this.#messages,
      book,
      refusals,
      sessions: linked,
      own: ways,
    })
    this.#nat = new Nat({
      self: identity.peer,
      instance,
      clock,
      logger,
      refusals,
      settings,
      endpoint: this.#udp,
      network: this.#network,
      tls,
      signals: this.#xmpp.signals,
      servers: () => this.#accounts.servers(),
      relay: {
        receive: (message, from) => this.#relay.receive(message, from),
        receiveChannelData: (packet, from) => this.#relay.receiveChannelData(packet, from),
      },
      disclosure: policy,
      isWelcome: (peer) => this.#access.welcomes(peer),
      onTold: (peer, addresses) => void this.#connector.dialTold(peer, addresses),
      onLink: (link) => void (link.dialled ? this.#connector.take(link) : this.#connector.accept(link, () => {})),
    })
    this.#invites = new Invites({
      identity,
      clock,
      logger: logger.part('invites'),
      refusals,
      invitations,
      book,
      signals: this.#xmpp.signals,
      hubs: this.#xmpp.hub,
      nat: {
        gather: () => this.#nat.gather(),
        offer: () => this.#nat.traversal.offer(),
        meet: (...meeting) => this.#nat.traversal.meet(...meeting),
      },
      openSession: (peer, timeout) => this.#sessions.open(peer, timeout),
      publish,
      name: () => this.name,
      ways,
    })
    this.#relay = new RelayService({
      clock,
      logger: logger.part('relay'),
      settings,
      book,
      endpoint: this.#udp,
      certificate: { cert: tls.cert, key: tls.key },
      secretFile: places.relaySecret,
      publish,
    })
    this.#upgrades = new Upgrades({
      self: identity.peer,
      clock,
      interfaces: () => this.#network.interfaces(),
      addressesOf: dialable,
      openAddress: (peer) => this.#nat.traversal.openAddress(peer),
      present: (peer) => {
        const facts = this.#sessions.get(peer)?.facts
        return facts?.state === 'open' ? facts : undefined
      },
      upgrade: (peer, addresses) => this.#connector.upgrade(peer, addresses),
    })
    this.#history = history
    this.#chat = new ChatService({
      clock,
      refusals,
      publish,
      messages: this.#messages,
      signals: this.#xmpp.signals,
      contacts: this.#xmpp.chat,
      isBlocked,
      hasWay: (peer) => this.#sessions.get(peer) !== undefined || book.addresses(peer).length > 0,
      history,
    })
    const presence = new PresenceService({ publish, apply: (next) => this.#xmpp.setPresence(next) })
    this.#discovery = this.#buildDiscovery(beacon, mdns)
    const people = new People(book, this.#xmpp.contacts)
    const doctor = new Doctor({
      clock,
      platform: process.platform,
      uptime: () => clock.now() - this.#began,
      port: () => ({ asked: options.port ?? settings.get('port'), actual: this.port }),
      interfaces: () => this.#network.interfaces(),
      chosenInterfaces: () => ({
        include: options.interfaces ?? settings.get('network.interfaces'),
        exclude: settings.get('network.exclude'),
      }),
      discovery: () => this.#discovery.states(),
      people: () => people.list(),
      person: (id) => people.view(id),
      addresses: (peer) => book.addresses(peer),
      lastSeen: (peer) => book.lastSeen(peer),
      sessions: () => this.#sessions.list().map((session) => sessionView(session.facts, book)),
      hub: () => this.#xmpp.hub.status(),
      refused: () => refusals.snapshot(),
      twins: () => beacon.twins().filter(({ address }) => !isOwnAddress(address, this.#network.interfaces())),
      examineNat: () => this.#nat.examine(),
      examineAccounts: (patience) => this.#accounts.examine(patience),
      relay: () => ({ ...this.#relay.status(), isWanted: settings.get('relay.enabled') }),
      policy: (peer) => this.#access.view(peer),
      requests: () => this.#access.requests.list().map(({ peer, name }) => name || peer.slice(0, 12)),
      ways: (peer) => book.ways(peer),
      signallers: (peer) => this.#xmpp.signals.reaches(peer),
      paths: (peer) => this.#nat.paths(peer),
      probe: (target, on) => beacon.probe(target, on),
      dial: (target) => this.#connector.probe(target),
    })
    book.onChange((peer, change) => {
      if (isBlocked(peer)) this.#nat.traversal.drop(peer)
      this.#nat.policyChanged()
      this.#acquaint()
      if (change === 'gone') return publish('peers.gone', { id: peer, name: book.get(peer).name })
      publish('peers.changed', { peer: book.get(peer) })
      if (!book.isPresent(peer)) return
      this.#files.peerSeen(peer)
      this.#upgrades.seen(peer)
    })
    this.#network.onChange((change) => {
      const { appeared, vanished, altered, slept } = change
      publish('network.changed', { appeared: [...appeared], vanished: [...vanished], altered: [...altered], slept })
      this.#udp.setInterfaces(change.interfaces)
      this.#nat.networkChanged(change.interfaces)
      this.#relay.networkChanged(change.interfaces)
      this.#accounts.networkChanged(change.interfaces)
      this.#sessions.networkChanged(change.interfaces)
      void this.#access.metered.look()
      for (const { facts } of this.#sessions.list()) this.#upgrades.news(facts.peer)
      this.#keeper.news()
    })
    settings.onChange(() => this.#discovery.rename(this.name))
    settings.onChange(() => history.settingsChanged())
    settings.onChange(() => this.#acquaint())

    const metricsPort = settings.get('metrics.port')
    this.#metricsEndpoint =
      metricsPort === 0
        ? undefined
        : new MetricsEndpoint({
            logger: logger.part('metrics'),
            port: metricsPort,
            tokenFile: places.metricsToken,
            render: () => this.#metrics(),
          })
    this.#ipc = new IpcServer({
      handlers: createHandlers({
        identity,
        book,
        sessions: this.#sessions,
        holds,
        messages: this.#messages,
        streams: this.#streams,
        files: this.#files,
        chat: this.#chat,
        presence,
        hub: this.#xmpp.hub,
        friends: this.#friends,
        accounts: this.#accounts,
        invites: this.#invites,
        access: this.#access,
        relay: this.#relay,
        doctor,
        log,
        people,
        settings,
        name: () => this.name,
        status: () => this.#status(),
        paths: (peer) => this.#nat.paths(peer),
        metrics: () => this.#metrics(),
        stop: () => setImmediate(() => void this.stop()),
      }),
      version: VERSION,
      id: identity.peer,
      features: ['messages', 'streams', 'files', 'chat', 'presence', 'hub'],
      clock,
      logger: logger.part('ipc'),
      refusals,
    })
  }

  get name(): string {
    return this.#options.name || this.#settings.get('name') || defaultName(hostname(), this.#book.self)
  }

  get port(): number {
    return this.#listener.port
  }

  get socket(): string {
    return this.places.appSocket
  }

  /** Ready when this resolves: the port and both sockets accept, and discovery has announced. */
  async start(): Promise<void> {
    const { port } = this.#options
    try {
      await Promise.all([this.#network.start(), this.#openPort(port ?? this.#settings.get('port'), port !== undefined)])
      this.#udp.setInterfaces(this.#network.interfaces())
      this.#nat.networkChanged(this.#network.interfaces())
      this.#relay.networkChanged(this.#network.interfaces())
      await this.#relay.open()
      await this.#ipc.listen({
        app: this.places.appSocket,
        control: this.places.controlSocket,
        appMode: this.#options.system ? 0o660 : 0o600,
        inherited: this.#options.inherited,
        users: this.#options.system ? userSocketFolder(this.places.appSocket) : undefined,
      })
      await this.#discovery.start(
        { peer: this.#book.self, name: this.name, port: this.port },
        {
          seen: (sighting) => this.#book.seen(sighting),
          gone: (peer, method, interfaceName, address) => this.#book.gone(peer, method, interfaceName, address),
        },
      )
      await this.#xmpp.start()
      this.#access.start()
      await this.#accounts.open()
      // Peers are worth more than who looks on.
      await this.#metricsEndpoint?.open().catch((error: unknown) => {
        this.#logger.warn('no metrics are served', { error: toPartylineError(error).message })
      })
    } catch (error) {
      await this.stop()
      throw error
    }
    this.#measure()
    this.#keeper.news()
    this.#logger.info('ready', { id: this.id, port: this.port, socket: this.socket })
  }

  /** Opens the port for TCP and UDP alike; if either is taken, both are opened on another, unless this one is insisted on. */
  async #openPort(port: number, insist: boolean): Promise<void> {
    for (const wish of insist ? [port] : [port, 0, 0, 0]) {
      await this.#listener.listen(wish, insist)
      try {
        return await this.#udp.bind(this.#listener.port)
      } catch (error) {
        const { code } = toPartylineError(error)
        // Without any UDP the rest still works; `status` tells.
        if (code !== 'local.port-taken') return this.#logger.warn('no UDP port', { error: String(error) })
        await this.#listener.stop()
      }
    }
    throw new PartylineError('local.port-taken', `no port is free for both TCP and UDP`)
  }

  reload(): { readonly changed: readonly string[]; readonly needRestart: readonly string[] } {
    const changed = this.#settings.reload()
    const needRestart = changed.filter(needsRestart)
    this.#logger.info('settings read again', { changed, needRestart })
    return { changed, needRestart }
  }

  stop(): Promise<void> {
    this.#ending ??= this.#stop()
    return this.#ending
  }

  async #stop(): Promise<void> {
    this.#resolveStopping()
    this.#measuring?.cancel()
    this.#invites.close()
    this.#access.stop()
    this.#acquainting?.cancel()
    // Goodbyes first, while there is still something to say them with.
    await Promise.all([this.#discovery.stop(), this.#sessions.stop(), this.#xmpp.stop(), this.#accounts.close()])
    this.#upgrades.stop()
    this.#keeper.stop()
    this.#friendRelays.close()
    await this.#nat.close()
    await this.#relay.close()
    this.#files.close()
    this.#connector.stop()
    await Promise.all([
      this.#metricsEndpoint?.close(),
      this.#ipc.stop(),
      this.#listener.stop(),
      this.#udp.close(),
      this.#network.stop(),
    ])
    await Promise.all([this.#book.close(), this.#history.close()])
    this.#resolveStopped()
  }

  /** Somebody may be trusted, be there or be reached who was not before: peers that trust each other are told. */
  #acquaint(): void {
    this.#acquainting ??= this.#clock.after(ACQUAINT, () => {
      this.#acquainting = undefined
      this.#friends.changed()
      this.#friendRelays.changed()
      this.#ways.changed()
      this.#keeper.peersChanged()
    })
  }

  /** What a peer may learn, or what may be done for it, may be another: what goes by it is told. */
  #policyChanged(): void {
    this.#nat.policyChanged()
    this.#acquaint()
  }

  /** Where peers are looked for that may learn from where. */
  #remembered(): ReturnType<PeerBook['remembered']> {
    const { policy } = this.#access
    return this.#book.remembered(MAX_REMEMBERED).filter(({ peer, address }) => policy.mayDial(peer, address))
  }

  #buildDiscovery(beacon: BeaconDiscovery, mdns: Mdns): Discovery {
    const clock = this.#clock
    const settings = this.#settings
    const refusals = this.#refusals
    const part = (name: string): Logger => this.#logger.part(name)
    const methods: DiscoveryMethod[] = [beacon]
    if (settings.get('discovery.mdns'))
      methods.push(
        new MdnsDiscovery({
          clock,
          refusals,
          mdns,
          prober: beacon,
          hears: (peer, at) => beacon.hears(peer, at),
        }),
      )
    methods.push(...this.#xmpp.methods)
    methods.push(
      new HintDiscovery({
        clock,
        logger: part('hints'),
        hints: settings.get('discovery.hints'),
        remembered: () => (settings.get('discovery.remember') ? this.#remembered() : []),
        prober: beacon,
        dial: (target) => this.#connector.probe(target),
      }),
    )
    return new Discovery({ methods, network: this.#network, clock, logger: part('discovery') })
  }

  /** Tells what sessions measure, each second, while anybody wants to know. */
  #measure(): void {
    this.#measuring = this.#clock.after(MEASURED, () => {
      if (this.#ipc.hasSubscribers('statistics'))
        for (const session of this.#sessions.list()) {
          const statistics = statisticsView(session.statistics())
          this.#ipc.publish('sessions.measured', { peer: session.facts.peer, statistics })
        }
      this.#measure()
    })
  }

  #metrics(): ReturnType<typeof renderMetrics> {
    const { version, uptime, memory, links, apps, peers, refused } = this.#status()
    const sessions = this.#sessions
      .list()
      .map((session) => ({ facts: session.facts, statistics: session.statistics() }))
    return renderMetrics({ version, uptime, memory, links, apps, peers, refused, sessions })
  }

  #status(): StatusView {
    return {
      version: VERSION,
      id: this.id,
      name: this.name,
      port: this.port,
      uptime: this.#clock.now() - this.#began,
      pid: process.pid,
      home: this.places.home,
      inbox: this.places.inbox,
      sockets: { app: this.places.appSocket, control: this.places.controlSocket },
      interfaces: this.#network.interfaces().map(({ name, kind, participating, multicast, addresses }) => ({
        name,
        kind,
        participating,
        multicast,
        addresses: addresses.map(({ address }) => address),
      })),
      discovery: this.#discovery.states().map((state) => ({ ...state })),
      internet: this.#nat.status(),
      peers: this.#book.counts(),
      sessions: this.#sessions.list().length,
      links: this.#listener.counts,
      apps: this.#ipc.connections,
      refused: this.#refusals.snapshot(),
      memory: process.memoryUsage.rss(),
    }
  }
}
