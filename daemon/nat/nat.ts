import { hkdfSync, randomBytes } from 'node:crypto'
import type { PathView, StatusView } from '../../ipc/methods.ts'
import type { Clock } from '../clock.ts'
import type { SettingsStore } from '../config/store.ts'
import { toPartylineError } from '../errors.ts'
import type { Link } from '../link/link.ts'
import type { tlsOptions } from '../link/tls-options.ts'
import { UdxCarriers } from '../link/udx-carriers.ts'
import { shakeHands } from '../link/udx-link.ts'
import type { Logger } from '../logger.ts'
import { formatHostPort, type Network, type NetworkInterface } from '../network/network.ts'
import type { UdpEndpoint } from '../network/udp-endpoint.ts'
import type { Share } from '../peers/peer-policy.ts'
import type { Refusals } from '../refusals.ts'
import type { SignalExchange } from '../signaling/signaller.ts'
import type { HostPort, Milliseconds, PeerId } from '../types.ts'
import { Handshakes } from './handshakes.ts'
import { IceMux } from './ice/mux.ts'
import type { PairReport } from './ice/pair-report.ts'
import { listenForAnnouncements } from './mapping/announcements.ts'
import { findGateways } from './mapping/gateway.ts'
import { systemGatewaySocket } from './mapping/gateway-client.ts'
import { type MappingStatus, PortMapper } from './mapping/mapper.ts'
import { NatPmp } from './mapping/nat-pmp.ts'
import { Pcp } from './mapping/pcp.ts'
import { NONCE_SIZE } from './mapping/pcp-message.ts'
import { Upnp } from './mapping/upnp.ts'
import { systemFetch } from './mapping/upnp-device.ts'
import { systemSearch } from './mapping/upnp-search.ts'
import { joinSources } from './pool/candidate-source.ts'
import { CandidatePool } from './pool/pool.ts'
import { systemResolve } from './pool/resolver.ts'
import { parseStunServer, type StunServer } from './pool/stun-server.ts'
import type { NatBehaviour } from './stun/behaviour.ts'
import { StunMessage } from './stun/message.ts'
import { probeNat } from './stun/nat-probe.ts'
import type { TransportAddress } from './transport-address.ts'
import { type Disclosure, Traversal } from './traversal.ts'
import { Relays } from './turn/relays.ts'
import { parseTurnServer, type TurnServer } from './turn/server-uri.ts'

interface NatOptions {
  readonly self: PeerId
  /** Random at each start: 16 hexadecimal digits. */
  readonly instance: string
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly settings: SettingsStore
  readonly endpoint: UdpEndpoint
  readonly network: Network
  readonly tls: ReturnType<typeof tlsOptions>
  readonly signals: SignalExchange
  /** Servers beside those of the settings. */
  readonly servers?: () => { readonly stun: readonly StunServer[]; readonly turn: readonly TurnServer[] }
  /** Takes what clients of a TURN server send to this port; false for what is not for one. */
  readonly relay?: {
    receive(message: StunMessage, from: TransportAddress): boolean
    receiveChannelData(packet: Buffer, from: TransportAddress): boolean
  }
  /** True for a peer that may make this host look for a way to it. */
  readonly isWelcome: (peer: PeerId) => boolean
  /** What each peer may learn of this host's addresses, and what any may. */
  readonly disclosure: Disclosure & { widestShare(): Share }
  /** Takes a link, dialled here or there. */
  readonly onLink: (link: Link) => void
  /** A peer that looks, or is looked for, says that it may be reached at these addresses from outside. */
  readonly onTold: (peer: PeerId, addresses: readonly HostPort[]) => void
}

/** Friends that relay for this host at one time: those that two hosts have in common shall be among them. */
const MAX_FRIEND_RELAYS = 4
type MappingView = StatusView['internet']['mappings'][number]

/** How long servers are waited for, how often it is looked, and how long a name may take. */
const EXAMINATION: Milliseconds = 4500
const LOOK: Milliseconds = 100
const RESOLVING: Milliseconds = 1500
/** States of a server that something still follows. */
const UNDECIDED: ReadonlySet<string> = new Set(['unresolved', 'trying', 'ready'])

/** First bytes of what a peer may send through a relay: STUN, sealed datagrams and UDX (see `daemon/network/demultiplexer.ts`). */
const isForPeers = (first = 0): boolean => first <= 3 || (first >= 0xd0 && first <= 0xdf) || first === 0xff

/** Everything that gets through NAT, built and wired: candidates and relays that all peers share, and ways to each peer. */
export class Nat {
  readonly traversal: Traversal
  readonly #options: NatOptions
  readonly #relays: Relays
  readonly #friendRelays: Relays
  readonly #pool: CandidatePool
  readonly #mapper: PortMapper
  readonly #mux: IceMux
  readonly #carriers: UdxCarriers
  readonly #stops: readonly (() => void)[]
  #share: Share = 'all'
  #friends: readonly StunServer[] = []

  constructor(options: NatOptions) {
    const { clock, logger, refusals, settings, endpoint, network, tls } = options
    this.#options = options
    this.#mux = new IceMux({ refusals })
    this.#relays = new Relays({
      clock,
      logger: logger.part('turn'),
      endpoint,
      random: randomBytes,
      onData: (packet, from) => this.#relayed(packet, from),
    })
    this.#friendRelays = new Relays({
      clock,
      logger: logger.part('friend-relay'),
      endpoint,
      random: randomBytes,
      onData: (packet, from) => this.#relayed(packet, from),
      kind: 'friend-relay',
      used: MAX_FRIEND_RELAYS,
    })
    const open = systemGatewaySocket
    const { random } = Math
    const protocols = [
      new Pcp({ clock, open, nonce: (mapping) => secretOf(tls.key, `partyline pcp ${mapping}`, NONCE_SIZE) }),
      new NatPmp({ clock, open }),
      new Upnp({ search: systemSearch(clock), fetch: systemFetch, random }),
    ]
    this.#mapper = new PortMapper({
      clock,
      logger: logger.part('mapping'),
      random,
      port: () => endpoint.port,
      isWanted: () => settings.get('nat.map') && this.#share !== 'relay' && this.#share !== 'none',
      protocols: settings.get('nat.map-by').flatMap((name) => protocols.filter((one) => one.name === name)),
      gateways: (interfaces) => findGateways(interfaces),
      listen: (heard) => listenForAnnouncements(logger.part('mapping'), heard),
    })
    this.#pool = new CandidatePool({
      clock,
      port: () => endpoint.port,
      hasFamily: (family) => !endpoint.missing.has(family),
      send: (packet, to) => void endpoint.send(packet, to),
      random: randomBytes,
      resolve: systemResolve,
      relays: joinSources([this.#friendRelays, this.#relays]),
      mapped: this.#mapper,
    })
    const send = (packet: Buffer, to: TransportAddress): void => this.send(packet, to)
    this.#carriers = new UdxCarriers({ endpoint, clock, refusals, send })
    this.traversal = new Traversal({
      ...options,
      logger: logger.part('traversal'),
      mux: this.#mux,
      carriers: this.#carriers,
      handshakes: new Handshakes(),
      families: () => ([4, 6] as const).filter((family) => !endpoint.missing.has(family)),
      interfaces: () => network.interfaces(),
      candidates: () => this.#pool.candidates(),
      network: () => this.#pool.summary(),
      send,
      shakeHands: (carrier, role, expected, signal) => shakeHands(carrier, { role, tls, expected, signal }),
      want: () => this.#pool.want(),
    })
    this.#configure()
    this.#stops = [
      settings.onChange(() => this.#configure()),
      this.#pool.onChange(() => this.traversal.candidatesChanged()),
      endpoint.handle('stun', (packet, from) => this.#stun(packet, from)),
      endpoint.handle('channel-data', (packet, from) => {
        if (this.#relays.receiveChannelData(packet, from)) return
        if (this.#friendRelays.receiveChannelData(packet, from)) return
        if (!options.relay?.receiveChannelData(packet, from)) refusals.count('peer.malformed')
      }),
      endpoint.onSendError((to, code) => this.traversal.sendFailed(to, code)),
    ]
  }

  /** Sends straight from the UDP port, or through a relay of ours. */
  send(packet: Buffer, to: TransportAddress): void {
    if (to.relay === undefined) this.#options.endpoint.send(packet, to)
    else if (this.#friendRelays.owns(to.relay)) this.#friendRelays.send(packet, to)
    else this.#relays.send(packet, to)
  }

  /** Trusted peers that would relay for this host, and tell it how it looks from where they are. */
  setFriends(servers: readonly TurnServer[]): void {
    this.#friends = servers.map(({ host, port }) => ({ host, port }))
    this.#friendRelays.setServers(servers)
    this.#configure()
  }

  /** Peers may learn other addresses than before. */
  policyChanged(): void {
    this.traversal.shareChanged()
    if (this.#options.disclosure.widestShare() !== this.#share) this.#configure()
  }

  /** Where routers forward a port of theirs to this host's, as far as is known now. */
  mapped(): readonly HostPort[] {
    return this.#mapper.addresses()
  }

  /** Others know of other servers than before. */
  serversChanged(): void {
    this.#configure()
  }

  /** The interfaces there are now. */
  networkChanged(interfaces: readonly NetworkInterface[]): void {
    this.#pool.networkChanged(interfaces)
    this.#mapper.networkChanged(interfaces)
    this.#relays.networkChanged()
    this.#friendRelays.networkChanged()
    this.traversal.networkChanged()
  }

  /** What the socket tells of the internet. */
  status(): StatusView['internet'] {
    const stun = this.#pool.state().map(({ server, state, mapped, roundTrip, detail }) => ({
      server,
      kind: 'stun' as const,
      state,
      address: mapped ? formatHostPort(mapped) : '',
      rtt: roundTrip ?? null,
      detail,
    }))
    const turn = this.#relays.state().map(({ server, state, relay, roundTrip, reason = '' }) => ({
      server,
      kind: 'turn' as const,
      state,
      address: relay?.relayed.map(formatHostPort).join(' ') ?? '',
      rtt: roundTrip ?? null,
      detail: reason,
    }))
    const servers = [...stun, ...turn]
    const mappings = this.#mapper.status().map(mappingView)
    const known = servers.filter(({ address }) => address !== '').length
    if (servers.length === 0)
      return { state: 'unused', detail: 'No STUN or TURN server is set (`nat.stun`, `nat.turn`).', servers, mappings }
    if (known > 0) return { state: 'ready', detail: `${known} of ${servers.length} servers answer.`, servers, mappings }
    if (this.#pool.isActive) return { state: 'failed', detail: 'No server has answered.', servers, mappings }
    return { state: 'idle', detail: 'Servers are asked when a path through NAT is looked for.', servers, mappings }
  }

  /** Asks the servers that are set and waits for what they say, a few seconds at most; and what NAT there is, as one of them sees it. */
  async examine(): Promise<{ internet: StatusView['internet']; nat: NatBehaviour | undefined }> {
    const { clock } = this.#options
    const release = this.#pool.want()
    try {
      const nat = this.#probe()
      this.#pool.askAnew()
      for (let waited = 0; waited < EXAMINATION && this.#isWaiting(); waited += LOOK)
        await new Promise<void>((resolve) => clock.after(LOOK, resolve))
      return { nat: await nat, internet: this.status() }
    } finally {
      release()
    }
  }

  /** Has candidates gathered, and waits for what servers say, a few seconds at most; they are kept fresh until what it returns is called. */
  async gather(): Promise<() => void> {
    const { clock } = this.#options
    const release = this.#pool.want()
    for (let waited = 0; waited < EXAMINATION && this.#isWaiting(); waited += LOOK)
      await new Promise<void>((resolve) => clock.after(LOOK, resolve))
    return release
  }

  /** Some server has neither answered nor been given up. */
  #isWaiting(): boolean {
    return this.#pool.isUndecided || this.status().servers.some(({ state }) => UNDECIDED.has(state))
  }

  async #probe(): Promise<NatBehaviour | undefined> {
    const { clock, logger } = this.#options
    const server = await this.#pool.resolvedServer(RESOLVING)
    if (!server) return undefined
    return probeNat(server, clock).catch((error: unknown) => {
      logger.debug('the NAT could not be tested', { error: toPartylineError(error).message })
      return undefined
    })
  }

  /** What the socket tells of the paths to a peer. */
  paths(peer: PeerId): PathView[] {
    return this.traversal.pairs(peer).map(pathView)
  }

  /** Gives relays back; resolves when that is done, or after a second. Safe to call twice. */
  async close(): Promise<void> {
    this.traversal.close()
    this.#carriers.close()
    this.#pool.close()
    for (const stop of this.#stops) stop()
    await Promise.all([this.#relays.close(), this.#friendRelays.close(), this.#mapper.close()])
  }

  /** Takes up the settings; what cannot be read in them is left out, and said. */
  #configure(): void {
    const { settings, logger } = this.#options
    const read = <T>(key: 'nat.stun' | 'nat.turn', parse: (text: string) => T): T[] =>
      settings.get(key).flatMap((text) => {
        try {
          return [parse(text)]
        } catch (error) {
          logger.warn('a server in the settings is left out', { setting: key, error: toPartylineError(error).message })
          return []
        }
      })
    const share = this.#options.disclosure.widestShare()
    this.#share = share
    this.traversal.shareChanged()
    const others = this.#options.servers?.() ?? { stun: [], turn: [] }
    this.#relays.setServers(share === 'none' ? [] : [...read('nat.turn', parseTurnServer), ...others.turn])
    this.#pool.configure([...read('nat.stun', parseStunServer), ...others.stun, ...this.#friends], share)
    this.#mapper.settingsChanged()
  }

  #stun(packet: Buffer, from: TransportAddress): void {
    const { clock, refusals } = this.#options
    let message: StunMessage
    try {
      message = StunMessage.decode(packet)
    } catch {
      return refusals.count('peer.malformed')
    }
    if (from.relay === undefined) {
      if (this.#relays.receiveStun(message, packet, from)) return
      if (this.#friendRelays.receiveStun(message, packet, from)) return
      if (this.#pool.receive(message, from)) return
      if (this.#options.relay?.receive(message, from)) return
    }
    this.#mux.receive(message, from, clock.now())
  }

  /** A relay brought something. */
  #relayed(packet: Buffer, from: TransportAddress): void {
    const { endpoint, refusals } = this.#options
    if (isForPeers(packet[0])) endpoint.deliver(packet, from)
    else refusals.count('peer.malformed')
  }
}

/** Bytes that are the same each time, and tell nobody anything. */
const secretOf = (key: string, purpose: string, size: number): Buffer =>
  Buffer.from(hkdfSync('sha256', key, '', purpose, size))

function pathView({ to, local, remote, state, isSelected, rtt, loss, mtu, reason }: PairReport): PathView {
  return {
    to: formatHostPort(to),
    via: to.relay ?? '',
    local,
    remote,
    state,
    used: isSelected,
    rtt: rtt ?? null,
    loss,
    mtu,
    reason,
  }
}

function mappingView({ protocol, external, lifetime, isDoubleNat, ...mapping }: MappingStatus): MappingView {
  return {
    ...mapping,
    protocol: protocol ?? '',
    address: external ? formatHostPort(external) : '',
    lifetime: external && lifetime !== Number.POSITIVE_INFINITY ? lifetime : null,
    doubleNat: isDoubleNat,
  }
}
