import type { TransportAddress } from '../../../../daemon/nat/transport-address.ts'
import type { HostPort } from '../../../../daemon/types.ts'
import { SimulatedHost } from './host.ts'
import { Link, type LinkQuality, PERFECT } from './link.ts'
import type { NatTraits } from './nat.ts'
import { familyOf } from './packet.ts'
import { RelayServer } from './relay-server.ts'
import { Router } from './router.ts'
import { Segment } from './segment.ts'
import { StunServer } from './stun-server.ts'
import { Timeline } from './timeline.ts'
import type { HomeSpec, HostSpec, Place, WorldSpec } from './world-spec.ts'

/** How good a way of one host to another is: straight, over a mapping of a NAT or a firewall's router, over a relay. */
export type PathClass = 'host' | 'punched' | 'relay'

interface InternetOptions {
  readonly random: () => number
  /** Quality of each link that is made: of a host's cable, or of a router's line. */
  readonly quality?: (of: 'host' | 'line') => LinkQuality
}

/** An internet of hosts, homes, carriers, two STUN servers and a relay, in virtual time, the same for the same seed. */
export class SimulatedInternet {
  readonly timeline = new Timeline()
  readonly internet = new Segment('internet')
  readonly hosts: readonly SimulatedHost[]
  readonly routers: readonly Router[]
  readonly stunServers: readonly StunServer[]
  readonly relay: RelayServer
  readonly #random: () => number
  readonly #quality: (of: 'host' | 'line') => LinkQuality
  readonly #lans: readonly Segment[]
  readonly #lines: readonly Link[]
  readonly #links: readonly Link[]
  readonly #legs: readonly Link[]
  #spec: WorldSpec
  #addresses = 0

  constructor(spec: WorldSpec, { random, quality = () => PERFECT }: InternetOptions) {
    this.#spec = spec
    this.#random = random
    this.#quality = quality
    const { timeline, internet } = this
    this.stunServers = STUN_ADDRESSES.map((address) => new StunServer(timeline, random, internet, address))
    this.relay = new RelayServer({ timeline, random, internet, address: RELAY_ADDRESS })
    this.relay.isUp = spec.relay
    const carriers = spec.carriers.map((nat, index) => this.#carrier(nat, index))
    this.#lans = spec.homes.map((_, index) => new Segment(`home ${index}`))
    this.#lines = spec.homes.map(() => this.#link('line'))
    this.routers = spec.homes.map((home, index) => this.#home(home, index, carriers))
    this.hosts = spec.hosts.map((_, index) => new SimulatedHost(`host ${index}`, timeline))
    this.#links = spec.hosts.map(() => this.#link('host'))
    this.#legs = this.#links.map(({ quality: { latency, loss, jitter } }) => {
      return new Link(timeline, random, { ...PERFECT, latency: latency + 10, loss, jitter })
    })
    spec.hosts.forEach(({ places }, index) => void this.move(index, places))
  }

  /** What there is now. */
  get spec(): WorldSpec {
    return this.#spec
  }

  host(index: number): SimulatedHost {
    return this.hosts[index] as SimulatedHost
  }

  /** The link of a host, whatever it is plugged into. */
  link(index: number): Link {
    return this.#links[index] as Link
  }

  /** The way of a host to its relay. */
  leg(index: number): Link {
    return this.#legs[index] as Link
  }

  /** Puts a host elsewhere. */
  move(index: number, places: readonly Place[]): void {
    const host = this.host(index)
    const before = this.#hostSpec(index)
    for (const place of before.places) host.unplug(String(place))
    const hosts = this.#spec.hosts.map((one, other) => (other === index ? { ...one, places } : one))
    this.#spec = { ...this.#spec, hosts }
    for (const place of places) {
      const segment = place === 'internet' ? this.internet : (this.#lans[place] as Segment)
      host.plug(String(place), { segment, link: this.link(index), addresses: this.#addressesOf(index, place) })
    }
  }

  /** A router is switched off and on; its provider may give it another address. */
  reboot(home: number, renumber: boolean): void {
    const router = this.routers[home] as Router
    router.reboot(renumber ? this.#lineAddress(this.#homeSpec(home)) : router.address)
  }

  setRelay(isUp: boolean): void {
    this.#spec = { ...this.#spec, relay: isUp }
    if (isUp) this.relay.isUp = true
    else this.relay.fail()
  }

  /** A forwarded port to a host's own, where the router of its first home gives any. */
  forward(index: number): HostPort | undefined {
    const [place] = this.#hostSpec(index).places
    const address = this.host(index).addresses.find((one) => familyOf(one) === 4)
    if (typeof place !== 'number' || address === undefined) return undefined
    return this.routers[place]?.forward({ address, port: this.host(index).port })
  }

  /** True when signals get from one to the other. */
  canSignal(a: number, b: number): boolean {
    const [from, to] = [this.host(a), this.host(b)]
    if (from.isAsleep || to.isAsleep) return false
    if (from.uplink !== undefined && to.uplink !== undefined) return true
    return from.segments.some((segment) => !segment.isIsolated && to.segments.includes(segment))
  }

  /** What kind of an address it is. */
  classOf(to: TransportAddress): PathClass {
    if (to.relay !== undefined || to.address === RELAY_ADDRESS) return 'relay'
    return this.hosts.some(({ addresses }) => addresses.includes(to.address)) ? 'host' : 'punched'
  }

  #link(of: 'host' | 'line'): Link {
    return new Link(this.timeline, this.#random, this.#quality(of))
  }

  #carrier(nat: NatTraits, index: number): { readonly inner: Segment; readonly router: Router } {
    const inner = new Segment(`carrier ${index}`)
    const router = new Router({
      timeline: this.timeline,
      random: this.#random,
      outer: this.internet,
      inner,
      address: `203.0.113.${index + 1}`,
      wan: new Link(this.timeline, this.#random, PERFECT),
      nat: { ...nat, timeout: 120_000 },
      udp: true,
      ip6: 'open',
      forwards: false,
    })
    return { inner, router }
  }

  #home(
    spec: HomeSpec,
    index: number,
    carriers: readonly { readonly inner: Segment; readonly router: Router }[],
  ): Router {
    const carrier = spec.carrier === undefined ? undefined : carriers[spec.carrier]
    const outer = carrier?.inner ?? this.internet
    const inner = this.#lans[index] as Segment
    const wan = this.#lines[index] as Link
    inner.isIsolated = spec.isolated
    const { nat, timeout, udp, ip6, forwards } = spec
    const router = new Router({
      timeline: this.timeline,
      random: this.#random,
      outer,
      inner,
      address: this.#lineAddress(spec),
      wan,
      nat: { ...nat, timeout },
      udp,
      ip6,
      forwards,
    })
    if (ip6 === 'none') return router
    const prefix = `${prefixOfHome(index)}:`
    outer.route(prefix, router, wan)
    if (carrier) this.internet.route(prefix, carrier.router, carrier.router.wan)
    return router
  }

  /** A new address for a router's line. */
  #lineAddress({ carrier }: HomeSpec): string {
    const number = ++this.#addresses
    const network = carrier === undefined ? '198.18' : `100.${64 + carrier}`
    return `${network}.${number >> 8}.${number & 255}`
  }

  #addressesOf(index: number, place: Place): string[] {
    const last = 11 + index
    const { families } = this.#hostSpec(index)
    const home = place === 'internet' ? undefined : this.#homeSpec(place)
    const ip4 = home ? `192.168.${home.octet}.${last}` : `198.51.100.${last}`
    const ip6 = `${place === 'internet' ? '2001:db8:ffff' : prefixOfHome(place)}::${last.toString(16)}`
    const has6 = home?.ip6 !== 'none'
    return [...(families.includes(4) ? [ip4] : []), ...(families.includes(6) && has6 ? [ip6] : [])]
  }

  #hostSpec(index: number): HostSpec {
    return this.#spec.hosts[index] as HostSpec
  }

  #homeSpec(index: number): HomeSpec {
    return this.#spec.homes[index] as HomeSpec
  }
}

const STUN_ADDRESSES = ['192.0.2.10', '192.0.2.11']
const RELAY_ADDRESS = '192.0.2.20'

function prefixOfHome(index: number): string {
  return `2001:db8:${(index + 1).toString(16)}`
}
