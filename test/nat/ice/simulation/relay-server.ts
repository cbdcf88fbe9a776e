import type { HostPort, Milliseconds } from '../../../../daemon/types.ts'
import type { SimulatedHost } from './host.ts'
import { Link, PERFECT } from './link.ts'
import type { Packet } from './packet.ts'
import type { Node, Segment } from './segment.ts'
import type { Timeline } from './timeline.ts'

/** RFC 8656 section 9. */
const PERMISSION: Milliseconds = 300_000

interface ServerOptions {
  readonly timeline: Timeline
  readonly random: () => number
  readonly internet: Segment
  readonly address: string
}

/** A TURN server, as far as who may send what to whom goes; how hosts talk with it is left out. */
export class RelayServer implements Node {
  isUp = true
  readonly #options: ServerOptions
  readonly #wire: Link
  readonly #byPort = new Map<number, RelayAllocation>()
  #port = 49_152

  constructor(options: ServerOptions) {
    this.#options = options
    this.#wire = new Link(options.timeline, options.random, { ...PERFECT, latency: 3 })
    options.internet.attach(options.address, this, this.#wire)
  }

  get address(): string {
    return this.#options.address
  }

  get now(): Milliseconds {
    return this.#options.timeline.now
  }

  /** Gives a host an address here; undefined where neither reaches the other. */
  allocate(host: SimulatedHost, leg: Link): RelayAllocation | undefined {
    const { uplink } = host
    if (!this.isUp || uplink === undefined) return undefined
    const port = this.#port++
    const allocation = new RelayAllocation({ server: this, host, leg, uplink, port })
    this.#byPort.set(port, allocation)
    return allocation
  }

  release(allocation: RelayAllocation): void {
    this.#byPort.delete(allocation.port)
  }

  /** As a server that is switched off: allocations are gone for good. */
  fail(): void {
    this.isUp = false
    this.#byPort.clear()
  }

  has(allocation: RelayAllocation): boolean {
    return this.#byPort.get(allocation.port) === allocation
  }

  forward(payload: Buffer, port: number, to: HostPort): void {
    this.#options.internet.send({ source: { address: this.address, port }, to, payload }, this.#wire)
  }

  receive({ source, to, payload }: Packet): void {
    this.#byPort.get(to.port)?.arrived(payload, source)
  }
}

interface AllocationOptions {
  readonly server: RelayServer
  readonly host: SimulatedHost
  readonly leg: Link
  readonly uplink: string
  readonly port: number
}

/** A relayed address of a host. It works from where the host was when it asked for it. */
export class RelayAllocation {
  readonly id: string
  readonly #options: AllocationOptions
  readonly #permissions = new Map<string, Milliseconds>()

  constructor(options: AllocationOptions) {
    this.#options = options
    this.id = `relay-${options.port}`
  }

  get address(): string {
    return this.#options.server.address
  }

  get port(): number {
    return this.#options.port
  }

  /** False once the server has forgotten it, or the host is elsewhere. */
  get isAlive(): boolean {
    const { server, host, uplink } = this.#options
    return server.has(this) && host.uplink === uplink
  }

  /** To the peer, whom it permits thereby to answer. */
  send(payload: Buffer, to: HostPort): void {
    const { server, leg, port } = this.#options
    if (!this.isAlive) return
    const packet: Packet = { source: { address: this.address, port }, to, payload }
    leg.carry(packet, 'out', () => {
      if (!this.isAlive) return
      this.#permissions.set(to.address, server.now + PERMISSION)
      server.forward(payload, port, to)
    })
  }

  /** From a peer, at the server. */
  arrived(payload: Buffer, from: HostPort): void {
    const { server, host, leg, port } = this.#options
    if ((this.#permissions.get(from.address) ?? 0) < server.now) return
    const packet: Packet = { source: from, to: { address: this.address, port }, payload }
    leg.carry(packet, 'in', () => this.isAlive && host.relayed(payload, from, this.id))
  }
}
