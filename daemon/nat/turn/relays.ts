import { lookup } from 'node:dns/promises'
import type { Clock, Timer } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import type { UdpEndpoint } from '../../network/udp-endpoint.ts'
import type { HostPort, Milliseconds } from '../../types.ts'
import { type LocalCandidate, priorityOf } from '../candidate.ts'
import type { StunMessage } from '../stun/message.ts'
import type { TransportAddress } from '../transport-address.ts'
import type { TurnAllocation } from './allocation.ts'
import { familyOf } from './peer-address.ts'
import { RelayServer, type RelayServerOptions, type RelayServerState } from './relay-server.ts'
import type { TurnServer, TurnTransport } from './server-uri.ts'
import { type OpenStream, streamOpener, type TlsChecks } from './stream-connection.ts'

/** Relays at a time, unless told otherwise: another one stands by, where there is another server. */
const MAX_USED = 2
/** Servers that are looked at. */
export const MAX_SERVERS = 8
/** How long relays are kept once nobody wants them. */
const LINGER: Milliseconds = 60_000
/** How long one over TCP is kept once there is one over UDP on the same server. */
const MOVE: Milliseconds = 60_000
const CLOSING: Milliseconds = 1000
/** How long a server's better ways to be talked to may take to answer before the next one is tried too: where UDP is blocked people wait for it. */
const STAGGER: Milliseconds = 300
/** Best first: over streams one lost packet holds up all. */
const TRANSPORTS: readonly TurnTransport[] = ['udp', 'tcp', 'tls']

interface RelaysOptions {
  readonly clock: Clock
  readonly logger: Logger
  /** The daemon's UDP port. */
  readonly endpoint: Pick<UdpEndpoint, 'send' | 'onSendError' | 'missing'>
  /** Random bytes that nobody can guess. */
  readonly random: (bytes: number) => Buffer
  /** Takes what came from peers: a view, which is the taker's to keep. `from.relay` is set. */
  readonly onData: (packet: Buffer, from: TransportAddress) => void
  readonly servers?: readonly TurnServer[]
  /** Whose they are. */
  readonly kind?: 'relay' | 'friend-relay'
  /** Relays at a time. */
  readonly used?: number
  readonly tls?: TlsChecks
  /** Instead of the machine's own resolver and sockets. */
  readonly resolve?: RelayServerOptions['resolve']
  readonly openStream?: OpenStream
}

/** What is known of one server, for people. */
interface RelayStatus {
  /** Its URI, without name and password. */
  readonly server: string
  readonly state: RelayServerState
  /** Why it is not `open`, or failed last. */
  readonly reason: string | undefined
  /** In milliseconds from now; while it is `resting`. */
  readonly retryIn: Milliseconds | undefined
  readonly roundTrip: Milliseconds | undefined
  /** While it is `open`. */
  readonly relay?: {
    readonly id: string
    readonly relayed: readonly HostPort[]
    readonly mapped: HostPort | undefined
    readonly channels: number
    readonly mobile: boolean
  }
}

/**
 * All relays of this host: one allocation on each of the one or two nearest TURN servers, shared by all peers, and there only while somebody
 * wants them. Nothing is asked of any server before.
 */
export class Relays {
  readonly #options: RelaysOptions
  readonly #serverOptions: RelayServerOptions
  readonly #listeners = new Set<() => void>()
  readonly #stopListening: () => void
  #servers: RelayServer[] = []
  readonly #leaving = new Set<RelayServer>()
  readonly #kind: 'relay' | 'friend-relay'
  readonly #used: number
  #ids = 0
  #wants = 0
  #isActive = false
  #linger: Timer | undefined
  #stagger: Timer[] = []
  /** Servers that are given up for a better way to the same host. */
  readonly #retiring = new Map<RelayServer, Timer>()
  #timer: Timer | undefined
  #timerAt: Milliseconds = Number.POSITIVE_INFINITY
  #told = ''
  #closing: Promise<void> | undefined

  constructor(options: RelaysOptions) {
    const { clock, endpoint, random, onData, servers = [], tls = {}, kind = 'relay', used = MAX_USED } = options
    this.#options = options
    this.#kind = kind
    this.#used = used
    this.#serverOptions = {
      now: () => clock.now(),
      random,
      nextId: () => `${this.#kind}-${++this.#ids}`,
      resolve: options.resolve ?? resolveHost,
      openStream: options.openStream ?? streamOpener(clock, tls),
      sendUdp: (packet, to) => void endpoint.send(packet, to),
      hasFamily: (family) => !endpoint.missing.has(family),
      data: onData,
      changed: (server) => this.#changed(server),
    }
    this.#stopListening = endpoint.onSendError((to, code) => this.#sendFailed(to, code))
    this.setServers(servers)
  }

  /**
   * The settings changed, or a server's credentials: relays of servers that are no longer among them are given back. At most `MAX_SERVERS`
   * count.
   */
  setServers(servers: readonly TurnServer[]): void {
    if (this.#closing) return
    const wanted = new Map(servers.slice(0, MAX_SERVERS).map((server) => [JSON.stringify(server), server]))
    const same = this.#servers.filter(({ server }) => wanted.delete(JSON.stringify(server)))
    const kept = this.#servers.filter((one) => {
      if (same.includes(one)) return true
      const [key, renewed] = [...wanted].find(([, server]) => isSamePlace(server, one.server)) ?? []
      if (key === undefined || renewed === undefined) return false
      wanted.delete(key)
      one.renew(renewed)
      return true
    })
    const gone = this.#servers.filter((server) => !kept.includes(server))
    this.#servers = [...kept, ...[...wanted.values()].map((server) => new RelayServer(server, this.#serverOptions))]
    for (const server of gone) this.#leave(server)
    this.#notify()
    if (this.#isActive) this.#startIdle()
  }

  /** True where servers are set. */
  get isConfigured(): boolean {
    return this.#servers.length > 0
  }

  /** Has relays ready until the function that it returns is called, and for a minute after that. */
  want(): () => void {
    if (this.#closing) return () => {}
    this.#wants++
    this.#linger?.cancel()
    if (!this.#isActive) {
      this.#isActive = true
      this.#startIdle()
    }
    let isHeld = true
    return () => {
      if (isHeld) this.#release()
      isHeld = false
    }
  }

  /** True for the id of a relay of these. */
  owns(relay: string): boolean {
    return this.#servers.some(({ id }) => id === relay)
  }

  /** Where peers reach us through relays, best first. */
  candidates(): readonly LocalCandidate[] {
    return this.#open()
      .flatMap(({ server, allocation }) => allocation.relayed.map((at) => this.#candidate(at, server, allocation)))
      .sort((a, b) => b.priority - a.priority)
  }

  /** Tells when the candidates are others; returns the way to stop that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /**
   * Sends a copy through the relay that `to` names. The first packets to an address wait for the server's permission, later ones go as Send
   * indications until a channel is bound. False when it is dropped: there is no such relay, or no room.
   */
  send(packet: Buffer, to: TransportAddress): boolean {
    const allocation = this.#relay(to.relay)
    if (!allocation) return false
    const isSent = allocation.send(packet, to, this.#options.clock.now())
    this.#arm()
    return isSent
  }

  /** Lets packets of an address in through a relay, until `unpermit` was called as often. False where that cannot be. */
  permit(relay: string, address: string): boolean {
    const isPermitted = this.#relay(relay)?.permit(address, this.#options.clock.now()) ?? false
    this.#arm()
    return isPermitted
  }

  unpermit(relay: string, address: string): void {
    this.#relay(relay)?.unpermit(address)
  }

  /** Takes a STUN message of the UDP port; true when it was an answer or a packet from one of our servers. */
  receiveStun(message: StunMessage, _packet: Buffer, from: HostPort): boolean {
    const isTaken = this.#all().some((server) => server.isAt(from) && server.receive(message))
    if (isTaken) this.#arm()
    return isTaken
  }

  /** Takes ChannelData of the UDP port; true when it was of a channel of ours. */
  receiveChannelData(packet: Buffer, from: HostPort): boolean {
    for (const server of this.#servers) if (server.isAt(from) && server.receiveChannelData(packet)) return true
    return false
  }

  /** Our addresses may be others than before: relays are moved where the server can do that, or made anew. */
  networkChanged(): void {
    if (!this.#isActive) return
    for (const server of this.#servers) server.networkChanged()
    this.#startIdle()
    this.#arm()
  }

  /** All servers that are set, for status. */
  state(): readonly RelayStatus[] {
    const now = this.#options.clock.now()
    return this.#servers.map((server) => {
      const { uri, state, reason, retryAt, roundTrip, allocation, id } = server
      const retryIn = retryAt === undefined ? undefined : Math.max(0, retryAt - now)
      const status = { server: uri, state, reason, retryIn, roundTrip }
      if (!allocation) return status
      const { relayed, mapped, channels, isMobile } = allocation
      return { ...status, relay: { id, relayed, mapped, channels, mobile: isMobile } }
    })
  }

  /** Gives everything back; resolves when that is done, or after a second. Safe to call twice. */
  close(): Promise<void> {
    this.#closing ??= this.#close()
    return this.#closing
  }

  async #close(): Promise<void> {
    this.#linger?.cancel()
    this.#isActive = false
    const { promise: patience, resolve } = Promise.withResolvers<void>()
    const timer = this.#options.clock.after(CLOSING, resolve)
    const all = this.#stopAll()
    this.#arm()
    await Promise.race([all, patience])
    timer.cancel()
    this.#timer?.cancel()
    this.#timerAt = Number.NEGATIVE_INFINITY
    this.#stopListening()
    this.#listeners.clear()
  }

  #release(): void {
    this.#wants--
    if (this.#wants > 0 || this.#closing) return
    this.#linger = this.#options.clock.after(LINGER, () => {
      this.#isActive = false
      void this.#stopAll()
      this.#arm()
    })
  }

  /** Still to give back what it has, and of no use any more. */
  #leave(server: RelayServer): void {
    this.#leaving.add(server)
    void server.stop().then(() => this.#leaving.delete(server))
  }

  async #stopAll(): Promise<void> {
    for (const timer of this.#stagger) timer.cancel()
    this.#stagger = []
    for (const timer of this.#retiring.values()) timer.cancel()
    this.#retiring.clear()
    await Promise.all(this.#all().map((server) => server.stop()))
  }

  /** Tries servers that are not used: each host first by its best way, by the others if that does not answer soon. */
  #startIdle(): void {
    for (const server of [...this.#servers]) {
      if (server.state !== 'idle') continue
      const better = this.#sameHost(server).filter((other) => rank(other) < rank(server))
      if (better.length === 0) server.try()
      else this.#later(better.length * STAGGER, () => this.#tryStaggered(server))
    }
    this.#arm()
  }

  #tryStaggered(server: RelayServer): void {
    const isAnswered = this.#sameHost(server).some(({ state }) => state === 'ready' || state === 'open')
    if (this.#isActive && !isAnswered) server.try()
    this.#arm()
  }

  #later(delay: Milliseconds, task: () => void): void {
    const timer = this.#options.clock.after(delay, () => {
      this.#stagger = this.#stagger.filter((one) => one !== timer)
      task()
    })
    this.#stagger.push(timer)
  }

  #sameHost({ server }: RelayServer): readonly RelayServer[] {
    return this.#servers.filter((other) => other.server.host === server.host && other.server !== server)
  }

  #changed(server: RelayServer): void {
    const { uri, state, reason } = server
    this.#options.logger.debug('a TURN server', { server: uri, state, ...(reason !== undefined && { reason }) })
    if (this.#isActive) this.#choose(server)
    this.#notify()
    this.#arm()
  }

  #choose(changed: RelayServer): void {
    const isLive = (server: RelayServer): boolean => server.isChosen && !this.#retiring.has(server)
    // Those that answer first are the nearest: all were asked at the same time.
    if (changed.state === 'ready') {
      const rivals = this.#sameHost(changed).filter(isLive)
      const isBetter = rivals.every((rival) => rank(changed) < rank(rival))
      const hasRoom = this.#servers.filter(isLive).length - rivals.length < this.#used
      if (isBetter && hasRoom) return changed.choose()
    }
    if (changed.state === 'open')
      for (const worse of this.#sameHost(changed).filter((one) => isLive(one) && rank(one) > rank(changed)))
        this.#retire(worse)
    const used = this.#servers.filter(isLive)
    const isSettled = used.length > 0 && used.every(({ state }) => state === 'open')
    if (isSettled) for (const server of this.#servers) if (server.state === 'ready') void server.stop()
    // Others take over from one that failed.
    if (changed.state === 'resting' && used.length < this.#used) this.#startIdle()
    // Wanted again while what there was was given back.
    if (changed.state === 'idle' && this.#servers.every(({ state }) => state === 'idle')) this.#startIdle()
  }

  #retire(server: RelayServer): void {
    const timer = this.#options.clock.after(MOVE, () => {
      this.#retiring.delete(server)
      void server.stop()
      this.#arm()
    })
    this.#retiring.set(server, timer)
  }

  #all(): readonly RelayServer[] {
    return this.#leaving.size === 0 ? this.#servers : [...this.#servers, ...this.#leaving]
  }

  #relay(id: string | undefined): TurnAllocation | undefined {
    for (const server of this.#servers) if (server.id === id) return server.allocation
    return undefined
  }

  #open(): readonly { readonly server: RelayServer; readonly allocation: TurnAllocation }[] {
    return this.#servers.flatMap((server) => {
      const { allocation } = server
      return allocation ? [{ server, allocation }] : []
    })
  }

  #candidate(at: HostPort, server: RelayServer, { mapped, roundTrip = 0 }: TurnAllocation): LocalCandidate {
    const family = familyOf(at.address)
    // UDP before streams, near before far, IPv6 before IPv4.
    const local = 0xffff - rank(server) * 0x4000 - Math.min(Math.round(roundTrip), 1000) * 2 - (family === 4 ? 1 : 0)
    return {
      kind: this.#kind,
      address: at.address,
      port: at.port,
      priority: priorityOf(this.#kind, local),
      foundation: `${this.#kind === 'relay' ? 'relay' : 'friend'}${this.#servers.indexOf(server)}v${family}`,
      relay: server.id,
      ...(mapped && { related: mapped }),
      interface: '',
    }
  }

  #notify(): void {
    const told = JSON.stringify(this.#open().map(({ server, allocation }) => [server.id, allocation.relayed]))
    if (told === this.#told) return
    this.#told = told
    for (const listener of [...this.#listeners]) listener()
  }

  #sendFailed(to: HostPort, code: string): void {
    const server = this.#servers.find((one) => one.isAt(to))
    // Told from within `send`, in the middle of whatever sends.
    if (server && code !== 'EMSGSIZE') this.#later(0, () => server.sendFailed(code))
  }

  #arm(): void {
    let at = Number.POSITIVE_INFINITY
    for (const { deadline } of this.#all()) at = Math.min(at, deadline)
    if (at >= this.#timerAt) return
    this.#timer?.cancel()
    this.#timerAt = at
    const { clock } = this.#options
    this.#timer = clock.after(Math.max(0, at - clock.now()), () => {
      this.#timerAt = Number.POSITIVE_INFINITY
      for (const server of this.#all()) server.tick()
      this.#arm()
    })
  }
}

function rank({ server }: RelayServer): number {
  return TRANSPORTS.indexOf(server.transport)
}

async function resolveHost(host: string): Promise<readonly string[]> {
  const found = await lookup(host, { all: true, order: 'verbatim' })
  return found.map(({ address }) => address)
}

/** True for one server, whatever name and password it is to be asked with. */
const isSamePlace = (one: TurnServer, other: TurnServer): boolean =>
  one.host === other.host && one.port === other.port && one.transport === other.transport
