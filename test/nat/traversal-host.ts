import { randomBytes } from 'node:crypto'
import { systemClock } from '../../daemon/clock.ts'
import type { Link } from '../../daemon/link/link.ts'
import { tlsOptions } from '../../daemon/link/tls-options.ts'
import { UdxCarriers } from '../../daemon/link/udx-carriers.ts'
import { shakeHands } from '../../daemon/link/udx-link.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { type LocalCandidate, priorityOf } from '../../daemon/nat/candidate.ts'
import { Handshakes } from '../../daemon/nat/handshakes.ts'
import { IceMux } from '../../daemon/nat/ice/mux.ts'
import type { Description } from '../../daemon/nat/rendezvous/description.ts'
import { StunMessage } from '../../daemon/nat/stun/message.ts'
import type { TransportAddress } from '../../daemon/nat/transport-address.ts'
import { Traversal } from '../../daemon/nat/traversal.ts'
import { UdpEndpoint } from '../../daemon/network/udp-endpoint.ts'
import type { Share } from '../../daemon/peers/peer-policy.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { SignalExchange, SignallerName } from '../../daemon/signaling/signaller.ts'
import type { PeerId } from '../../daemon/types.ts'
import { type Keyed, newKey } from '../link/tls-host.ts'
import { disclosureOf } from './disclosure.ts'

const PORT = 4000
/** How a relay of a simulated host is called there. */
const RELAY = 'relay-1'
const ONE_WAY = 2

/** An internet between hosts of this process, and a signaller. Everything arrives after a moment, but for what is closed or lost. */
export class SimulatedPaths {
  readonly hosts = new Map<string, TraversalHost>()
  /** Pairs of addresses between which nothing passes, as `from to`. */
  readonly closed = new Set<string>()
  /** Addresses that packets left from. */
  readonly sources = new Set<string>()
  /** The delays after which a signal arrives: none for one that is lost. */
  signalFate: () => readonly number[] = () => [1]
  signals = 0

  /** Both ways. */
  close(one: string, other: string): void {
    this.closed.add(`${one} ${other}`).add(`${other} ${one}`)
  }

  open(one: string, other: string): void {
    this.closed.delete(`${one} ${other}`)
    this.closed.delete(`${other} ${one}`)
  }

  carry(packet: Buffer, from: string, to: TransportAddress): void {
    this.sources.add(from)
    if (this.closed.has(`${from} ${to.address}`)) return
    const copy = Buffer.from(packet)
    setTimeout(() => this.hosts.get(to.address)?.arrived(copy, to.address, { address: from, port: PORT }), ONE_WAY)
  }

  signal(from: TraversalHost, to: PeerId, content: Uint8Array): void {
    const host = [...this.hosts.values()].find(({ peer }) => peer === to)
    this.signals++
    for (const delay of this.signalFate()) setTimeout(() => host?.signalled(from.peer, content), delay)
  }
}

/** The traversal of one host, with real UDX and TLS, at an address and at the one of its relay. */
export class TraversalHost implements AsyncDisposable {
  readonly peer: PeerId
  readonly address: string
  readonly relay: string
  readonly refusals = new Refusals()
  readonly links: Link[] = []
  /** Addresses of peers that were passed on. */
  readonly told: string[] = []
  traversal: Traversal
  readonly carriers: UdxCarriers
  /** What peers are told of. */
  candidates: readonly LocalCandidate[]
  network: Description['network'] = { udp: true, mapping: 'same', relay: false }
  isWelcome = true
  share: Share = 'all'
  isSignalled = true
  wants = 0
  readonly #endpoint: UdpEndpoint
  readonly #mux = new IceMux()
  readonly #begin: () => Traversal
  #onLink: () => void = () => {}
  #listener: (peer: PeerId, content: Uint8Array) => void = () => {}

  private constructor({ peer, certificate }: Keyed, paths: SimulatedPaths, endpoint: UdpEndpoint, number: number) {
    this.peer = peer
    this.#endpoint = endpoint
    this.address = `192.0.2.${number}`
    this.relay = `198.51.100.${number}`
    this.candidates = [this.direct, this.relayed]
    const send = (packet: Buffer, to: TransportAddress): void =>
      paths.carry(packet, to.relay === undefined ? this.address : this.relay, to)
    this.carriers = new UdxCarriers({ endpoint, clock: systemClock, refusals: this.refusals, send })
    const tls = tlsOptions(certificate)
    const signals: SignalExchange = {
      reaches: () => (this.isSignalled ? (['hub'] as SignallerName[]) : []),
      send: (to, _, content) => {
        if (this.isSignalled) paths.signal(this, to, content)
        return this.isSignalled
      },
      handle: (_, listener) => {
        this.#listener = listener
        return () => {
          this.#listener = () => {}
        }
      },
    }
    this.#begin = () =>
      new Traversal({
        self: peer,
        instance: randomBytes(8).toString('hex'),
        clock: systemClock,
        logger: silentLogger,
        refusals: this.refusals,
        mux: this.#mux,
        carriers: this.carriers,
        handshakes: new Handshakes(),
        families: () => [4],
        interfaces: () => [],
        candidates: () => this.candidates,
        network: () => this.network,
        signals,
        isWelcome: () => this.isWelcome,
        send,
        shakeHands: (carrier, role, expected, signal) => shakeHands(carrier, { role, tls, expected, signal }),
        disclosure: disclosureOf(() => this.share),
        want: () => {
          this.wants++
          return () => this.wants--
        },
        onTold: (_, addresses) => this.told.push(...addresses.map(({ address }) => address)),
        onLink: (link) => {
          link.socket.on('error', () => {})
          this.links.push(link)
          this.#onLink()
        },
      })
    this.traversal = this.#begin()
    for (const address of [this.address, this.relay]) paths.hosts.set(address, this)
  }

  /** The one with the lower number dials, as the one with the lower peer id does. */
  static async pair(paths: SimulatedPaths): Promise<readonly [TraversalHost, TraversalHost]> {
    const keys = (await Promise.all([newKey(), newKey()])).sort((a, b) => (a.peer < b.peer ? -1 : 1))
    const hosts = await Promise.all(
      keys.map(async (key, index) => {
        const refusals = new Refusals()
        const endpoint = new UdpEndpoint({ clock: systemClock, logger: silentLogger, refusals })
        await endpoint.bind(0)
        return new TraversalHost(key, paths, endpoint, index + 1)
      }),
    )
    return hosts as [TraversalHost, TraversalHost]
  }

  /** The daemon is killed and started again; the signaller brings nothing of that to anybody. */
  restart(): void {
    this.isSignalled = false
    this.traversal.close()
    this.isSignalled = true
    this.traversal = this.#begin()
  }

  get direct(): LocalCandidate {
    return {
      kind: 'host',
      address: this.address,
      port: PORT,
      priority: priorityOf('host', 1),
      foundation: 'd',
      interface: '',
    }
  }

  get relayed(): LocalCandidate {
    const priority = priorityOf('relay', 1)
    return { kind: 'relay', address: this.relay, port: PORT, priority, foundation: 'r', relay: RELAY, interface: '' }
  }

  /** Resolves when there are so many links. */
  async untilLinks(count: number): Promise<readonly Link[]> {
    while (this.links.length < count)
      await new Promise<void>((resolve) => {
        this.#onLink = resolve
      })
    return this.links
  }

  arrived(packet: Buffer, at: string, from: TransportAddress): void {
    const source = at === this.relay ? { ...from, relay: RELAY } : from
    if ((packet[0] ?? 0) > 3) return this.carriers.receive(packet, { ...source, relay: RELAY })
    this.#mux.receive(StunMessage.decode(packet), source, systemClock.now())
  }

  signalled(peer: PeerId, content: Uint8Array): void {
    this.#listener(peer, content)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.traversal.close()
    this.carriers.close()
    await this.#endpoint.close()
  }
}
