import { randomBytes } from 'node:crypto'
import { readFile } from 'node:fs/promises'
import type { TlsOptions } from 'node:tls'
import type { Publish } from '../../ipc/api.ts'
import type { Result } from '../../ipc/methods.ts'
import type { Clock, Timer } from '../clock.ts'
import type { SettingsStore } from '../config/store.ts'
import { PartylineError } from '../errors.ts'
import { fileError } from '../file-error.ts'
import type { ExternalService } from '../hub/external-services.ts'
import type { Logger } from '../logger.ts'
import type { StunMessage } from '../nat/stun/message.ts'
import type { TransportAddress } from '../nat/transport-address.ts'
import { LAST_CHANNEL } from '../nat/turn/channel-data.ts'
import { formatTurnServer, type TurnTransport } from '../nat/turn/server-uri.ts'
import { formatHostPort, type NetworkInterface } from '../network/network.ts'
import type { UdpEndpoint } from '../network/udp-endpoint.ts'
import type { PeerBook } from '../peers/peer-book.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import type { Allocation } from './allocations.ts'
import { CredentialBook, type RelayCredentials } from './credentials.ts'
import type { RelayLimits } from './limits.ts'
import { isForServer } from './own-port.ts'
import { PeerFilter } from './peer-filter.ts'
import { RelayAddresses } from './relay-addresses.ts'
import { RelayPorts } from './relay-ports.ts'
import { RelaySecrets } from './secrets.ts'
import { StreamListener } from './stream-listener.ts'
import type { TurnClient } from './turn-client.ts'
import { TurnServer } from './turn-server.ts'
import { UdpClient, UdpListeners } from './udp-listeners.ts'

const REALM = 'partyline'
/** Tells clients at the daemon's own port from those of the relay's. */
const OWN_PORT = 'own'
/** How long credentials are good that the hub hands out. */
const HUB_LIFETIME: Milliseconds = 86_400_000
/** What runs out is looked at no more often. */
const LEAST_WAIT: Milliseconds = 1000

type RelayStatus = Result<'relay.status'>

interface RelayServiceOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly settings: SettingsStore
  readonly book: PeerBook
  /** The daemon's own UDP port. */
  readonly endpoint: Pick<UdpEndpoint, 'port' | 'send'>
  /** The daemon's own certificate and key (PEM). */
  readonly certificate: { readonly cert: string; readonly key: string }
  readonly secretFile: string
  readonly publish: Publish
}

/** Where the relay is. */
interface RelayPlace {
  readonly host: string
  readonly port: number
  readonly transport: TurnTransport
}

/**
 * This host as a relay: at ports of its own while it is started, and for trusted peers at the daemon's UDP port, through whatever hole in a NAT
 * they reach it by.
 */
export class RelayService {
  readonly #options: RelayServiceOptions
  readonly #secrets: RelaySecrets
  readonly #credentials: CredentialBook
  readonly #addresses = new RelayAddresses()
  readonly #server: TurnServer
  readonly #udp: UdpListeners
  readonly #stops: readonly (() => void)[]
  #streams: readonly StreamListener[] = []
  #ports: RelayStatus['listeners'] = []
  #interfaces: readonly NetworkInterface[] = []
  #timer: Timer | undefined
  /** Starting and stopping, one after the other. */
  #turn: Promise<unknown> = Promise.resolve()

  constructor(options: RelayServiceOptions) {
    const { clock, logger, settings, book, secretFile: file } = options
    this.#options = options
    const wall = (): number => clock.wall()
    this.#secrets = new RelaySecrets({ file, logger, wall, random: randomBytes })
    this.#credentials = new CredentialBook({
      realm: REALM,
      secrets: () => this.#secrets.keys,
      wall,
      trusted: () => book.trusted(),
    })
    const ports = new RelayPorts({
      clock,
      logger,
      addresses: this.#addresses,
      range: () => [settings.get('relay.min-port'), settings.get('relay.max-port')],
    })
    this.#server = new TurnServer({
      realm: REALM,
      random: randomBytes,
      credentials: this.#credentials,
      isTrusted: (peer) => this.#isTrusted(peer),
      limits: () => this.#limits(),
      filter: new PeerFilter({
        relays: this.#addresses.relays,
        own: this.#addresses.own,
        allowPrivate: () => settings.get('relay.allow-private'),
      }),
      hasFamily: (family) => this.#addresses.hasFamily(family),
      openPort: (family, wish) => ports.open(family, wish),
      begun: (allocation) => this.#begun(allocation),
      ended: (allocation, why) => this.#ended(allocation, why),
    })
    const received = (packet: Buffer, client: TurnClient): void =>
      void this.#server.receive(packet, client, clock.now())
    this.#udp = new UdpListeners({ logger, received })
    this.#stops = [settings.onChange(() => this.#review()), book.onChange(() => this.#server.review(clock.now()))]
  }

  /** Reads the secret, and starts where the settings want that. A relay that cannot start is no reason for the daemon not to. */
  async open(): Promise<void> {
    const { settings, logger } = this.#options
    try {
      await this.#secrets.open()
      if (settings.get('relay.enabled')) await this.start()
    } catch (error) {
      logger.error('the relay cannot start', { error: (error as Error).message })
    }
  }

  /** Makes this host a relay, if it is none. Throws `local.port-taken`, `local.file`, `local.permission` or `network.none`. */
  start(): Promise<RelayStatus> {
    return this.#inTurn(async () => {
      if (!this.#isRunning) await this.#start()
      return this.status()
    })
  }

  /** Ends it, for all but those at the daemon's own port. Throws `local.no-relay`. */
  stop(): Promise<void> {
    return this.#inTurn(async () => {
      if (!this.#isRunning) throw noRelay()
      await this.#stop()
    })
  }

  /** Ends all of it. Safe to call twice. */
  close(): Promise<void> {
    return this.#inTurn(async () => {
      for (const stop of this.#stops) stop()
      this.#timer?.cancel()
      this.#server.close()
      await this.#stop()
    })
  }

  status(): RelayStatus {
    const { clock, book } = this.#options
    const now = clock.now()
    return {
      running: this.#isRunning,
      friends: this.#servesFriends,
      listeners: [...this.#ports],
      addresses: [...this.#addresses.told],
      allocations: this.#server.allocations.size,
      limits: { ...this.#limits() },
      peers: this.#server.usage().map(({ peer, allocations, sent, received, dropped }) => ({
        peer,
        name: book.get(peer).petname || book.get(peer).name,
        allocations,
        sent: { packets: sent.packets, bytes: sent.bytes, rate: sent.rate(now) },
        received: { packets: received.packets, bytes: received.bytes, rate: received.rate(now) },
        dropped,
      })),
    }
  }

  /** Credentials for the owner to hand out. Throws `policy.not-trusted` or `local.no-relay`. */
  credentials(peer: PeerId, lifetime: Milliseconds): Result<'relay.credentials'> {
    if (!this.#isTrusted(peer))
      throw new PartylineError('policy.not-trusted', 'a relay is for trusted peers; `partyline trust PEER` first')
    const issued = this.#isRunning ? this.#issue(peer, lifetime) : this.credentialsFor(peer, lifetime)
    if (!issued) throw noRelay()
    const { username, password, expires } = issued
    const urls = this.#turnPlaces().map(formatTurnServer)
    const login = `${encodeURIComponent(username)}:${encodeURIComponent(password)}@`
    return { username, password, expires, urls, servers: urls.map((url) => url.replace(':', `:${login}`)) }
  }

  /** What a peer may relay with at the daemon's own UDP port, for so long at least; undefined where it may not. */
  credentialsFor(peer: PeerId, lifetime: Milliseconds): RelayCredentials | undefined {
    return this.#servesFriends ? this.#issue(peer, lifetime) : undefined
  }

  /** What the hub tells of the relay (XEP-0215): trusted hosts how to relay, everybody else how to learn their address. */
  services(host: PeerId | undefined): readonly ExternalService[] {
    if (!this.#isRunning) return []
    const places = this.#turnPlaces().map(({ transport, ...place }) => ({
      ...place,
      type: transport === 'tls' ? ('turns' as const) : ('turn' as const),
      transport: transport === 'udp' ? ('udp' as const) : ('tcp' as const),
    }))
    const stun = places.filter(({ type }) => type === 'turn').map((place) => ({ ...place, type: 'stun' as const }))
    const login = host && this.#issue(host, HUB_LIFETIME)
    return login ? [...stun, ...places.map((place) => ({ ...place, login }))] : stun
  }

  /** Takes what came to the daemon's own UDP port; false where that is not for a relay. */
  receive(message: StunMessage, from: TransportAddress): boolean {
    if (!isForServer(message)) return false
    // Nobody is told that there is a relay who could not use it.
    if (this.#servesFriends && this.#options.book.trusted().length > 0)
      this.#server.receiveStun(message, this.#ownPortClient(from), this.#options.clock.now())
    return true
  }

  /** The same for ChannelData; false where it is of no client's channel. */
  receiveChannelData(packet: Buffer, from: TransportAddress): boolean {
    if (this.#server.allocations.size === 0) return false
    return this.#server.receiveChannelData(packet, this.#ownPortClient(from), this.#options.clock.now())
  }

  /** The interfaces there are now. */
  networkChanged(interfaces: readonly NetworkInterface[]): void {
    this.#interfaces = interfaces
    this.#review()
    this.#udp.update(this.#addresses.listening)
  }

  get #isRunning(): boolean {
    return this.#ports.length > 0
  }

  get #servesFriends(): boolean {
    const { settings, endpoint } = this.#options
    return settings.get('relay.friends') && endpoint.port > 0
  }

  #isTrusted(peer: PeerId): boolean {
    const { book } = this.#options
    return book.get(peer).trust === 'trusted' && book.policy(peer).relay !== false
  }

  #issue(peer: PeerId, lifetime: Milliseconds): RelayCredentials | undefined {
    if (!this.#isTrusted(peer)) return undefined
    // Credentials outlive no secret: it is time for another one long before.
    void this.#secrets.renew().catch((error: Error) => this.#options.logger.warn(error.message))
    return this.#credentials.issue(peer, lifetime)
  }

  #limits(): RelayLimits {
    const { settings } = this.#options
    return {
      allocations: settings.get('relay.max-allocations'),
      perPeer: settings.get('relay.max-per-peer'),
      bandwidth: settings.get('relay.bandwidth'),
      totalBandwidth: settings.get('relay.total-bandwidth'),
    }
  }

  #ownPortClient(from: TransportAddress): TurnClient {
    return new UdpClient(from, OWN_PORT, LAST_CHANNEL, (packet, to) => void this.#options.endpoint.send(packet, to))
  }

  #turnPlaces(): RelayPlace[] {
    const { endpoint } = this.#options
    const ports: readonly { transport: TurnTransport; port: number }[] = this.#isRunning
      ? this.#ports
      : [{ transport: 'udp', port: endpoint.port }]
    return this.#addresses.told.flatMap((host) => ports.map(({ transport, port }) => ({ host, port, transport })))
  }

  async #start(): Promise<void> {
    const { settings, clock, logger, publish } = this.#options
    const port = settings.get('relay.port')
    const tlsPort = settings.get('relay.tls-port')
    const common = {
      clock,
      logger,
      received: (packet: Buffer, client: TurnClient) => void this.#server.receive(packet, client, clock.now()),
      gone: (client: TurnClient) => this.#server.clientGone(client),
      isUsed: (client: TurnClient) => this.#server.hasAllocation(client),
    }
    const tcp = new StreamListener(common)
    const tls = tlsPort === 0 ? undefined : new StreamListener(common, await this.#tlsOptions())
    try {
      this.#udp.open(port, this.#addresses.listening)
      this.#streams = tls ? [tcp, tls] : [tcp]
      await tcp.listen(port)
      await tls?.listen(tlsPort)
    } catch (error) {
      await this.#closePorts()
      throw error
    }
    this.#ports = [
      { transport: 'udp', port },
      { transport: 'tcp', port },
      ...(tls ? [{ transport: 'tls' as const, port: tlsPort }] : []),
    ]
    logger.info('the relay is open', { port, tlsPort, addresses: this.#addresses.told.join(' ') })
    publish('relay.changed', {})
  }

  async #stop(): Promise<void> {
    if (!this.#isRunning) return
    this.#ports = []
    this.#server.end(({ client }) => !isAtOwnPort(client), 'the relay is stopped')
    await this.#closePorts()
    this.#options.logger.info('the relay is closed')
    this.#options.publish('relay.changed', {})
  }

  async #closePorts(): Promise<void> {
    const streams = this.#streams
    this.#streams = []
    await Promise.all([this.#udp.close(), ...streams.map((one) => one.close())])
  }

  /** TLS 1.2 as well: not all clients are as new as ours. */
  async #tlsOptions(): Promise<TlsOptions> {
    const { settings, certificate } = this.#options
    const file = settings.get('relay.certificate')
    if (file === '') return { ...certificate, minVersion: 'TLSv1.2' }
    const read = (path: string): Promise<string> =>
      readFile(path, 'utf8').catch((error: unknown) => {
        throw fileError(path, error)
      })
    return { cert: await read(file), key: await read(settings.get('relay.key') || file), minVersion: 'TLSv1.2' }
  }

  /** Settings, trust or addresses are other ones. */
  #review(): void {
    const { settings, clock } = this.#options
    this.#addresses.update(this.#interfaces, settings.get('relay.external'))
    const own = this.#addresses.own()
    const isLost = ({ ports }: Allocation): boolean => ports.some(({ local }) => !own.has(local.address))
    this.#server.end(isLost, 'this host has lost the address')
    if (!settings.get('relay.friends')) this.#server.end(({ client }) => isAtOwnPort(client), 'setting relay.friends')
    this.#server.review(clock.now())
  }

  #begun({ peer, client, ports }: Allocation): void {
    const { logger, publish, book } = this.#options
    logger.info('relays for a peer', {
      peer,
      name: book.get(peer).name,
      client: formatHostPort(client.from),
      transport: client.transport,
      relayed: ports.map(({ address }) => formatHostPort(address)).join(' '),
    })
    publish('relay.changed', {})
    this.#schedule()
  }

  #ended({ peer, client, usage, since }: Allocation, why: string): void {
    const { logger, publish, clock } = this.#options
    logger.info('relays for a peer no more', {
      peer,
      client: formatHostPort(client.from),
      why,
      seconds: Math.round((clock.now() - since) / 1000),
      sent: usage.sent.bytes,
      received: usage.received.bytes,
    })
    publish('relay.changed', {})
  }

  #schedule(): void {
    const { clock } = this.#options
    const { deadline } = this.#server
    this.#timer?.cancel()
    if (deadline === Number.POSITIVE_INFINITY) return
    this.#timer = clock.after(Math.max(LEAST_WAIT, deadline - clock.now()), () => {
      this.#server.tick(clock.now())
      this.#schedule()
    })
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(task, task)
    this.#turn = turn.catch(() => {})
    return turn
  }
}

function isAtOwnPort({ key }: TurnClient): boolean {
  return key.startsWith(`${OWN_PORT} `)
}

function noRelay(): PartylineError {
  return new PartylineError('local.no-relay', 'this host is no relay')
}
