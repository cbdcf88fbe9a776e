import type { HostPort, Milliseconds } from '../../../../daemon/types.ts'
import { Link, PERFECT } from './link.ts'
import { Filter, Nat, type NatBehaviour } from './nat.ts'
import { familyOf, keyOf, type Packet } from './packet.ts'
import type { Node, Segment } from './segment.ts'
import type { Timeline } from './timeline.ts'

export interface RouterOptions {
  readonly timeline: Timeline
  readonly random: () => number
  /** The network that it joins others to, and its own. */
  readonly outer: Segment
  readonly inner: Segment
  /** Its IPv4 address outside. */
  readonly address: string
  readonly wan: Link
  readonly nat: NatBehaviour
  /** Lets UDP through. */
  readonly udp: boolean
  /** What it does with IPv6: nothing, let in what answers something only (RFC 6092), or let in everything. */
  readonly ip6: 'none' | 'firewall' | 'open'
  /** Forwards ports to who asks for it. */
  readonly forwards: boolean
}

/** A home's router, or a carrier's: NAT for IPv4, a stateful firewall for IPv6. */
export class Router implements Node {
  readonly #options: RouterOptions
  readonly #nat: Nat
  readonly #lan: Link
  #address: string
  readonly #firewall = new Map<string, Filter>()

  constructor(options: RouterOptions) {
    this.#options = options
    const { timeline, random, outer, inner, wan } = options
    this.#address = options.address
    this.#nat = new Nat(options.nat, random)
    this.#lan = new Link(timeline, random, { ...PERFECT, latency: 0 })
    outer.attach(this.#address, this, wan)
    inner.gateway = { node: this, link: this.#lan }
  }

  get address(): string {
    return this.#address
  }

  /** Its line. */
  get wan(): Link {
    return this.#options.wan
  }

  /** Forgets everything; with another address outside where one is named. */
  reboot(address = this.#address): void {
    this.#nat.forget()
    this.#firewall.clear()
    this.#options.outer.detach(this.#address)
    this.#address = address
    this.#options.outer.attach(address, this, this.#options.wan)
  }

  /** A port outside that is forwarded to somebody inside; undefined where it does no such thing. */
  forward(inner: HostPort): HostPort | undefined {
    if (!this.#options.forwards) return undefined
    return { address: this.#address, port: this.#nat.forward(inner) }
  }

  receive(packet: Packet, on: Segment): void {
    if (!this.#options.udp) return
    if (on === this.#options.inner) this.#leave(packet)
    else this.#enter(packet)
  }

  #leave(packet: Packet): void {
    const { outer, wan, nat } = this.#options
    const { now } = this.#options.timeline
    const { source, to, payload } = packet
    if (familyOf(to.address) === 6) {
      if (this.#options.ip6 === 'none') return
      this.#filterOf(source).open(to, now)
      return outer.send(packet, wan)
    }
    if (to.address === this.#address && !nat.hairpin) return
    const translated = { source: { address: this.#address, port: this.#nat.outbound(source, to, now) }, to, payload }
    if (to.address === this.#address) this.#enter(translated)
    else outer.send(translated, wan)
  }

  #enter(packet: Packet): void {
    const { inner, ip6 } = this.#options
    const { now } = this.#options.timeline
    const { source, to, payload } = packet
    if (familyOf(to.address) === 6) {
      if (ip6 === 'open' || this.#filterOf(to).admits(source, now)) inner.send(packet, this.#lan)
      return
    }
    const host = this.#nat.inbound(to.port, source, now)
    if (host) inner.send({ source, to: host, payload }, this.#lan)
  }

  #filterOf(inside: HostPort): Filter {
    const key = keyOf(inside)
    const known = this.#firewall.get(key)
    if (known) return known
    const filter = new Filter('port', IPV6_TIMEOUT)
    this.#firewall.set(key, filter)
    return filter
  }
}

/** RFC 6092 section 3.2.3 (REC-14) asks for two minutes at least. */
const IPV6_TIMEOUT: Milliseconds = 120_000
