import { IceMux } from '../../../../daemon/nat/ice/mux.ts'
import { StunMessage } from '../../../../daemon/nat/stun/message.ts'
import type { TransportAddress } from '../../../../daemon/nat/transport-address.ts'
import { seeded, seededBytes } from '../../../datagram/random.ts'
import { CandidatePool } from './candidate-pool.ts'
import type { Signal } from './exchange.ts'
import type { SimulatedHost } from './host.ts'
import { IcePeer } from './ice-peer.ts'
import type { LinkQuality } from './link.ts'
import { type SignalFaults, Signals } from './signals.ts'
import { SimulatedInternet } from './simulated-internet.ts'
import type { Place, WorldSpec } from './world-spec.ts'

/** First byte of a datagram between hosts that is no STUN message. */
const DATA = 0x80

interface IceWorldOptions {
  readonly seed: number
  readonly spec: WorldSpec
  readonly quality: (of: 'host' | 'line', random: () => number) => LinkQuality
  readonly signals: SignalFaults
  readonly restarts: boolean
}

/** Hosts of a simulated internet, each with a pool of candidates and an agent for every peer. */
export class IceWorld {
  readonly internet: SimulatedInternet
  readonly signals: Signals
  readonly hosts: readonly IceHost[]

  constructor({ seed, spec, quality, signals, restarts }: IceWorldOptions) {
    const random = seeded(seed)
    this.internet = new SimulatedInternet(spec, { random, quality: (of) => quality(of, random) })
    this.signals = new Signals(this.internet, random, signals)
    this.hosts = spec.hosts.map((_, index) => new IceHost(this, index, random, restarts))
  }

  host(index: number): IceHost {
    return this.hosts[index] as IceHost
  }

  peer(from: number, to: number): IcePeer {
    return this.host(from).peer(to) as IcePeer
  }

  advance(ms: number): void {
    this.internet.timeline.advance(ms)
  }

  /** Puts a host elsewhere, which it notices after a moment. */
  move(index: number, places: readonly Place[]): void {
    this.internet.move(index, places)
    this.internet.host(index).after(20, () => this.host(index).networkChanged())
  }

  close(): void {
    for (const host of this.hosts) host.close()
  }
}

/** A host with its pool, its mux and its agents. */
export class IceHost {
  readonly host: SimulatedHost
  readonly pool: CandidatePool
  readonly mux = new IceMux()
  /** STUN messages sent, and the moments of the host's time they were sent at. */
  readonly stunSent: number[] = []
  /** Takes a signal of another host. */
  onSignal = (from: number, signal: Signal): void => this.#peers.get(from)?.exchange.receive(signal)
  readonly #world: IceWorld
  readonly #index: number
  readonly #random: (bytes: number) => Buffer
  readonly #restarts: boolean
  readonly #peers = new Map<number, IcePeer>()

  constructor(world: IceWorld, index: number, random: () => number, restarts: boolean) {
    this.#world = world
    this.#index = index
    this.#random = seededBytes(random)
    this.#restarts = restarts
    this.host = world.internet.host(index)
    this.pool = new CandidatePool(world.internet, index, () => {
      for (const peer of this.#peers.values()) peer.candidatesChanged()
    })
    this.host.onDatagram = (payload, from) => this.#receive(payload, from)
    this.host.onSent = (payload) => this.#sent(payload)
    this.host.onWake = () => this.networkChanged()
    this.pool.gather()
  }

  peer(index: number): IcePeer | undefined {
    return this.#peers.get(index)
  }

  get peers(): readonly IcePeer[] {
    return [...this.#peers.values()]
  }

  /** Begins to look for a way to another host. */
  connect(to: number, isControlling: boolean): void {
    const { signals, internet } = this.#world
    const peer = new IcePeer({
      host: this.host,
      families: internet.spec.hosts[this.#index]?.families ?? [],
      random: this.#random,
      isControlling,
      restarts: this.#restarts,
      register: (agent) => this.mux.register(agent),
      candidates: () => this.pool.candidates,
      signal: (signal) => signals.send(this.#index, to, () => this.#world.host(to).onSignal(this.#index, signal)),
    })
    this.#peers.set(to, peer)
  }

  networkChanged(): void {
    this.pool.gather()
    for (const peer of this.#peers.values()) peer.networkChanged()
  }

  close(): void {
    for (const peer of this.#peers.values()) peer.close()
  }

  /** Sends a datagram over the path to a peer. */
  sendData(to: number): boolean {
    return this.#peers.get(to)?.sendData(Buffer.from([DATA, this.#index])) ?? false
  }

  #receive(payload: Buffer, from: TransportAddress): void {
    for (const peer of this.#peers.values()) peer.checks.heard(from)
    if (this.pool.receive(payload, from)) return
    if (payload[0] === DATA) return this.#heard(payload[1] ?? -1, from)
    this.mux.receive(StunMessage.decode(payload), from, this.host.now)
    for (const peer of this.#peers.values()) peer.schedule()
  }

  #heard(index: number, from: TransportAddress): void {
    const peer = this.#peers.get(index)
    peer?.heard.push(from)
    peer?.agent.alive(from, this.host.now)
    peer?.schedule()
  }

  #sent(payload: Buffer): void {
    if ((payload[0] ?? DATA) < DATA) this.stunSent.push(this.host.now)
  }
}
