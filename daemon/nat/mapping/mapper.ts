import { createHash } from 'node:crypto'
import type { Clock, Timer } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import { scopeOf } from '../../network/addresses.ts'
import type { NetworkInterface } from '../../network/network.ts'
import type { HostPort, Milliseconds } from '../../types.ts'
import { type LocalCandidate, priorityOf } from '../candidate.ts'
import type { CandidateSource } from '../pool/candidate-source.ts'
import { PortMapping } from './port-mapping.ts'
import type { Gateway, MappedTransport, MappingProtocol, MappingProtocolName } from './protocol.ts'

/** How long routers have to take back what they granted, at the end. */
const CLOSING: Milliseconds = 1000
/** A network that has just come is left in peace for so long: addresses and routes follow each other. */
const SETTLING: Milliseconds = 300
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
  #mappings: readonly PortMapping[] = []
  /** What the mappings are for. */
  #target = ''
  #timer: Timer | undefined
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

  /** The interfaces there are now. */
  networkChanged(interfaces: readonly NetworkInterface[]): void {
    this.#interfaces = interfaces
    this.settingsChanged()
  }

  /** The owner may want ports mapped, or not any more; the port may be another. */
  settingsChanged(): void {
    if (this.#isClosed) return
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(SETTLING, () => void this.#review())
  }

  /** Gives all back; resolves when that is done, or after a second. Safe to call twice. */
  async close(): Promise<void> {
    this.#isClosed = true
    this.#timer?.cancel()
    for (const stop of this.#stops) stop()
    this.#replace([])
    await this.#leaving
  }

  /** Looks who the routers are, and begins anew where they, our address or our port are others than before. */
  async #review(): Promise<void> {
    const { isWanted, port, gateways } = this.#options
    const own = port()
    const isOn = isWanted() && own >= LEAST_PORT
    const found = isOn ? await gateways(this.#interfaces).catch(() => []) : []
    if (this.#isClosed) return
    // A public IPv4 address needs no mapping; an IPv6 one may need a hole in the router's firewall.
    const useful = found.filter(({ family, own: address }) => family === 6 || scopeOf(address) === 'private')
    const target = JSON.stringify([own, useful])
    if (target === this.#target) return
    this.#target = target
    this.#replace(useful.flatMap((gateway) => this.#pair(gateway, own)))
    for (let index = 0; index < this.#mappings.length; index += 2)
      void this.#startPair(this.#mappings[index], this.#mappings[index + 1])
  }

  /** TCP first: its port is told to people and kept in their books; UDP then wishes for the same. */
  async #startPair(tcp: PortMapping | undefined, udp: PortMapping | undefined): Promise<void> {
    await tcp?.start()
    await udp?.start()
  }

  #pair(gateway: Gateway, port: number): [PortMapping, PortMapping] {
    const { clock, logger, random, protocols } = this.#options
    const shared = { clock, logger, gateway, internalPort: port, random, changed: () => this.#changed() }
    // Only PCP and IGD 2 know of IPv6; those that do not say so at once.
    const tcp: PortMapping = new PortMapping({ ...shared, transport: 'tcp', protocols, wish: () => port })
    const udp = new PortMapping({
      ...shared,
      transport: 'udp',
      protocols,
      wish: () => tcp.external?.port ?? port,
    })
    return [tcp, udp]
  }

  #replace(mappings: readonly PortMapping[]): void {
    const before = this.#mappings
    this.#mappings = mappings
    if (before.length > 0) {
      const closed = before.map((mapping) => mapping.close(CLOSING))
      this.#leaving = Promise.all([this.#leaving, ...closed])
    }
    this.#changed()
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
