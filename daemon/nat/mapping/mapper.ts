import { createHash } from 'node:crypto'
import type { Clock, Timer } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import { plainAddress, scopeOf } from '../../network/addresses.ts'
import type { NetworkInterface } from '../../network/network.ts'
import type { HostPort, Milliseconds } from '../../types.ts'
import { type LocalCandidate, priorityOf } from '../candidate.ts'
import type { CandidateSource } from '../pool/candidate-source.ts'
import type { Announcement } from './announcements.ts'
import { Epoch } from './epoch.ts'
import { PortMapping } from './port-mapping.ts'
import type { Gateway, MappedTransport, MappingProtocol, MappingProtocolName } from './protocol.ts'

/** How long routers have to take back what they granted, at the end. */
const CLOSING: Milliseconds = 2000
/**
 * When it is looked who the routers are: a network that has just come is left in peace for a moment, since addresses and routes follow each other,
 * some of them late; and nobody tells of another route.
 */
const LOOKS: readonly Milliseconds[] = [300, 5000, 300_000]
/** Ports below are others' business, and some routers stumble over them. */
const LEAST_PORT = 1024

interface MapperOptions {
  readonly clock: Clock
  readonly logger: Logger
  /** 0 to 1, exclusive. */
  readonly random: () => number
  /** The daemon's port for TCP and UDP; 0 while there is none. */
  readonly port: () => number
  /** The owner wants ports mapped. */
  readonly isWanted: () => boolean
  /** The best first. */
  readonly protocols: readonly MappingProtocol[]
  readonly gateways: (interfaces: readonly NetworkInterface[]) => Promise<readonly Gateway[]>
  /** Calls `heard` with what routers say to everybody, and who said it; returns the way to stop that. */
  readonly listen: (heard: (announcement: Announcement, from: string) => void) => () => void
}

/** The mappings of one router. */
interface Pair {
  /** What they are for: the router, our address and port. */
  readonly key: string
  readonly tcp: PortMapping
  readonly udp: PortMapping
}

/** What is known of one mapping, for people. */
export interface MappingStatus {
  readonly transport: MappedTransport
  readonly gateway: string
  readonly protocol: MappingProtocolName | undefined
  readonly external: HostPort | undefined
  readonly lifetime: Milliseconds
  readonly state: PortMapping['state']
  readonly detail: string
  /** The router's own address is a private one: there is another NAT behind it. */
  readonly isDoubleNat: boolean
}

/**
 * Ports of the routers that lead to this host's: one for UDP and one for TCP, of the same number where that can be had, kept as long as the
 * daemon runs; and holes for both in the firewall of an IPv6 router.
 */
export class PortMapper implements CandidateSource {
  readonly #options: MapperOptions
  readonly #listeners = new Set<() => void>()
  readonly #stops: readonly (() => void)[]
  #interfaces: readonly NetworkInterface[] = []
  #pairs: readonly Pair[] = []
  #timer: Timer | undefined
  /** Which look is the next, and which was the last to begin. */
  #nextLook = 0
  #review = 0
  /** The router may have been without power, or mappings may have run out while this machine slept. */
  #isDoubtful = false
  /** While there are mappings: the way to hear routers no more, and what they said. */
  #unlisten: (() => void) | undefined
  readonly #epochs = new WeakMap<Pair, Epoch>()
  /** Given back at the end, or in the place of others. */
  #leaving: Promise<unknown> = Promise.resolve()
  #isClosed = false

  constructor(options: MapperOptions) {
    this.#options = options
    this.#stops = options.protocols.map((protocol) =>
      protocol.onReset(() => {
        for (const mapping of this.#mappings) if (mapping.protocol === protocol.name) mapping.reset()
      }),
    )
  }

  /** Where the internet reaches our UDP port, as far as the routers say. */
  candidates(): readonly LocalCandidate[] {
    return this.#open('udp')
      .filter(({ gateway }) => gateway.family === 4)
      .map(({ external, gateway }) => ({
        kind: 'mapped' as const,
        address: external.address,
        port: external.port,
        priority: priorityOf('mapped', 0xffff),
        foundation: createHash('sha256').update(`mapped ${gateway.address}`).digest('base64').slice(0, 8),
        related: { address: gateway.own, port: this.#options.port() },
        interface: gateway.interface,
      }))
  }

  /** Where the internet reaches our TCP port. */
  addresses(): readonly HostPort[] {
    return this.#open('tcp').map(({ external }) => external)
  }

  /** Mappings are kept as long as the daemon runs, wanted or not: they are how others find it again. */
  want(): () => void {
    return () => {}
  }

  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  status(): MappingStatus[] {
    const now = this.#options.clock.now()
    return this.#mappings.map((mapping) => ({
      transport: mapping.transport,
      gateway: mapping.gateway.address,
      protocol: mapping.protocol,
      external: mapping.external,
      lifetime: mapping.lifetime(now),
      state: mapping.state,
      detail: mapping.detail,
      isDoubleNat:
        mapping.gateway.family === 4 && mapping.external !== undefined && !isPublic(mapping.external.address),
    }))
  }

  /** The interfaces there are now; also after the machine slept. */
  networkChanged(interfaces: readonly NetworkInterface[]): void {
    this.#interfaces = interfaces
    this.#isDoubtful = true
    this.settingsChanged()
  }

  /** The owner may want ports mapped, or not any more; the port may be another. */
  settingsChanged(): void {
    if (this.#isClosed) return
    // Changes that follow each other without end do not put it off.
    if (this.#timer && this.#nextLook === 0) return
    this.#nextLook = 0
    this.#lookLater()
  }

  /** Gives all back; resolves when that is done, or after two seconds. Safe to call twice. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#timer?.cancel()
    for (const stop of this.#stops) stop()
    this.#replace([])
    await this.#leaving
  }

  get #mappings(): readonly PortMapping[] {
    return this.#pairs.flatMap(({ tcp, udp }) => [tcp, udp])
  }

  #lookLater(): void {
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(LOOKS[this.#nextLook] ?? 0, () => {
      this.#timer = undefined
      this.#nextLook = Math.min(this.#nextLook + 1, LOOKS.length - 1)
      void this.#look()
    })
  }

  /** Looks who the routers are; maps at those that are new, and gives back where they, our address or our port are others than before. */
  async #look(): Promise<void> {
    const { isWanted, port, gateways } = this.#options
    const review = ++this.#review
    const own = port()
    const isOn = isWanted() && own >= LEAST_PORT
    const found = isOn ? await gateways(this.#interfaces).catch(() => []) : []
    if (this.#isClosed || review !== this.#review) return
    // A public IPv4 address needs no mapping; an IPv6 one may need a hole in the router's firewall.
    const useful = found.filter(({ family, own: address }) => family === 6 || scopeOf(address) === 'private')
    if (this.#isDoubtful) for (const mapping of this.#mappings) mapping.reset()
    this.#isDoubtful = false
    this.#replace(
      useful.map((gateway) => {
        const key = JSON.stringify([own, gateway])
        return this.#pairs.find((pair) => pair.key === key) ?? this.#pair(key, gateway, own)
      }),
    )
    if (isOn && !this.#timer) this.#lookLater()
  }

  #pair(key: string, gateway: Gateway, port: number): Pair {
    const { clock, logger, random, protocols } = this.#options
    const shared = { clock, logger, gateway, internalPort: port, random, changed: () => this.#changed() }
    const tcp = new PortMapping({ ...shared, transport: 'tcp', protocols: () => protocols, wish: () => port })
    const udp = new PortMapping({
      ...shared,
      transport: 'udp',
      // What the router has just understood is the best guess.
      protocols: () => protocols.toSorted((a, b) => Number(b.name === tcp.protocol) - Number(a.name === tcp.protocol)),
      wish: () => tcp.external?.port ?? port,
    })
    return { key, tcp, udp }
  }

  /** Begins with those that are new, and gives the others back. */
  #replace(pairs: readonly Pair[]): void {
    const before = this.#pairs
    const coming = pairs.filter((pair) => !before.includes(pair))
    const leaving = before.filter((pair) => !pairs.includes(pair))
    if (coming.length + leaving.length === 0) return
    this.#pairs = pairs
    if (pairs.length > 0) this.#unlisten ??= this.#options.listen((told, from) => this.#announced(told, from))
    else this.#deafen()
    const closed = leaving.flatMap(({ tcp, udp }) => [tcp.close(CLOSING), udp.close(CLOSING)])
    this.#leaving = Promise.all([this.#leaving, ...closed])
    for (const pair of coming) void this.#start(pair)
    this.#changed()
  }

  /** TCP first: its port is told to people and kept in their books; UDP then wishes for the same. */
  async #start({ tcp, udp }: Pair): Promise<void> {
    // The same may be wished for again, which a router takes back a moment later otherwise.
    await this.#leaving
    await tcp.start()
    await udp.start()
  }

  #deafen(): void {
    this.#unlisten?.()
    this.#unlisten = undefined
  }

  /** Anybody can say it in a router's name: what follows is that the router is asked, which knows better, and not often. */
  #announced({ epoch, address }: Announcement, from: string): void {
    for (const pair of this.#pairs) {
      if (plainAddress(pair.tcp.gateway.address) !== plainAddress(from)) continue
      const known = this.#epochs.get(pair)
      const epochs = known ?? new Epoch()
      this.#epochs.set(pair, epochs)
      const isChanged = epochs.take(epoch, this.#options.clock.now())
      // Routers say nothing unless something has happened.
      const isAnew = isChanged || !known
      for (const mapping of [pair.tcp, pair.udp]) {
        const isElsewhere = address !== undefined && mapping.external?.address !== address
        if (isAnew || isElsewhere) mapping.reset()
      }
    }
  }

  #open(transport: MappedTransport): { readonly gateway: Gateway; readonly external: HostPort }[] {
    return this.#mappings.flatMap(({ transport: own, gateway, external }) =>
      own === transport && external && isPublic(external.address) ? [{ gateway, external }] : [],
    )
  }

  #changed(): void {
    for (const listener of [...this.#listeners]) listener()
  }
}

/** Documentation, benchmarking and reserved IPv4 networks are nobody's (RFC 6890). */
const RESERVED = /^(?:0|192\.0\.[02]|198\.1[89]|198\.51\.100|203\.0\.113|2[2-5]\d)\./

function isPublic(address: string): boolean {
  return scopeOf(address) === 'global' && (address.includes(':') || !RESERVED.test(address))
}
