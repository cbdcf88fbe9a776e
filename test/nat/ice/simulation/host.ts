import type { Timer } from '../../../../daemon/clock.ts'
import type { TransportAddress } from '../../../../daemon/nat/transport-address.ts'
import type { HostPort, Milliseconds } from '../../../../daemon/types.ts'
import type { Link } from './link.ts'
import { familyOf, type Packet, sizeOf } from './packet.ts'
import type { RelayAllocation } from './relay-server.ts'
import type { Node, Segment } from './segment.ts'
import type { Timeline } from './timeline.ts'

/** A network that a host is plugged into. */
interface Plugged {
  readonly segment: Segment
  readonly link: Link
  /** Its addresses there, one of a family at most. */
  readonly addresses: readonly string[]
}

/** The one UDP port of a simulated host. */
const PORT = 47_800

/**
 * A machine with one UDP port for all its networks. Its clock is monotonic and stands still while it sleeps; the world goes on then, and
 * what arrives is lost.
 */
export class SimulatedHost implements Node {
  readonly name: string
  readonly port = PORT
  readonly allocations = new Map<string, RelayAllocation>()
  onDatagram: (payload: Buffer, from: TransportAddress) => void = () => {}
  onSent: (payload: Buffer, to: TransportAddress) => void = () => {}
  onWake: () => void = () => {}
  readonly #timeline: Timeline
  readonly #plugged = new Map<string, Plugged>()
  /** Tasks that fell due during the sleep. */
  #late: (() => void)[] = []
  #slept: Milliseconds = 0
  #asleepSince: Milliseconds | undefined

  constructor(name: string, timeline: Timeline) {
    this.name = name
    this.#timeline = timeline
  }

  /** Its own time. */
  get now(): Milliseconds {
    return (this.#asleepSince ?? this.#timeline.now) - this.#slept
  }

  get isAsleep(): boolean {
    return this.#asleepSince !== undefined
  }

  get addresses(): readonly string[] {
    return [...this.#plugged.values()].flatMap(({ link, addresses }) => (link.isUp ? addresses : []))
  }

  /** The segments that it is on now. */
  get segments(): readonly Segment[] {
    return [...this.#plugged.values()].flatMap(({ link, segment }) => (link.isUp ? [segment] : []))
  }

  /** What tells its way to the internet from another; undefined where it has none. */
  get uplink(): string | undefined {
    for (const { segment, link, addresses } of this.#plugged.values())
      if (link.isUp && segment.leadsOut) return `${segment.name} ${addresses.join(' ')}`
    return undefined
  }

  plug(name: string, plugged: Plugged): void {
    this.unplug(name)
    this.#plugged.set(name, plugged)
    for (const address of plugged.addresses) plugged.segment.attach(address, this, plugged.link)
  }

  unplug(name: string): void {
    const plugged = this.#plugged.get(name)
    this.#plugged.delete(name)
    for (const address of plugged?.addresses ?? []) plugged?.segment.detach(address)
  }

  /** Sends from its port; the code of the error where the system would say at once that it cannot. */
  send(payload: Buffer, to: TransportAddress): 'ENETUNREACH' | 'EMSGSIZE' | undefined {
    if (this.isAsleep) return undefined
    this.onSent(payload, to)
    if (to.relay !== undefined) {
      const allocation = this.allocations.get(to.relay)
      allocation?.send(payload, to)
      return allocation ? undefined : 'ENETUNREACH'
    }
    const way = this.#wayTo(to.address)
    if (!way) return 'ENETUNREACH'
    const packet: Packet = { source: { address: way.source, port: this.port }, to, payload }
    if (sizeOf(packet) > INTERFACE_MTU) return 'EMSGSIZE'
    if (way.source === to.address) this.#timeline.after(0, () => this.receive(packet))
    else way.plugged.segment.send(packet, way.plugged.link)
    return undefined
  }

  receive({ payload, source, to }: Packet): void {
    if (!this.isAsleep && to.port === this.port) this.onDatagram(payload, source)
  }

  /** What came to a relayed address of ours. */
  relayed(payload: Buffer, from: HostPort, relay: string): void {
    if (!this.isAsleep) this.onDatagram(payload, { ...from, relay })
  }

  /** Runs a task once so much of its own time has passed. */
  after(delay: Milliseconds, task: () => void): Timer {
    const due = this.now + delay
    let isCancelled = false
    const check = (): void => {
      if (isCancelled) return
      if (this.isAsleep) this.#late.push(check)
      else if (this.now < due) this.#timeline.after(due - this.now, check)
      else task()
    }
    const timer = this.#timeline.after(delay, check)
    return {
      cancel: () => {
        isCancelled = true
        timer.cancel()
      },
    }
  }

  sleep(duration: Milliseconds): void {
    if (this.isAsleep) return
    this.#asleepSince = this.#timeline.now
    this.#timeline.after(duration, () => this.#wake())
  }

  #wake(): void {
    this.#slept += this.#timeline.now - (this.#asleepSince ?? this.#timeline.now)
    this.#asleepSince = undefined
    const late = this.#late
    this.#late = []
    for (const check of late) check()
    this.onWake()
  }

  #wayTo(address: string): { readonly plugged: Plugged; readonly source: string } | undefined {
    const ways = [...this.#plugged.values()].flatMap((plugged) => {
      const source = plugged.addresses.find((one) => familyOf(one) === familyOf(address))
      return source !== undefined && plugged.link.isUp ? [{ plugged, source }] : []
    })
    return (
      ways.find(({ source }) => prefixOf(source) === prefixOf(address)) ??
      ways.find((way) => way.plugged.segment.leadsOut)
    )
  }
}

/** The longest IP packet that a host's own interfaces take. */
const INTERFACE_MTU = 1500

/** The network that an address of the simulation belongs to: /24, or the first three groups of an IPv6 address. */
function prefixOf(address: string): string {
  return familyOf(address) === 4 ? address.slice(0, address.lastIndexOf('.')) : address.split(':', 3).join(':')
}
