import type { Link } from './link.ts'
import type { Packet } from './packet.ts'

/** Whatever has an address: a host, a router, a server. */
export interface Node {
  receive(packet: Packet, on: Segment): void
}

interface Attachment {
  readonly node: Node
  readonly link: Link
}

/** A LAN, a carrier's network, or the internet itself: whoever is attached to it reaches whoever else is. */
export class Segment {
  readonly name: string
  /** Hosts see the router only, not each other (guest Wi-Fi). */
  isIsolated = false
  readonly #attached = new Map<string, Attachment>()
  readonly #prefixes = new Map<string, Attachment>()
  #gateway: Attachment | undefined

  constructor(name: string) {
    this.name = name
  }

  attach(address: string, node: Node, link: Link): void {
    if (this.#attached.has(address)) throw new Error(`${address} is taken on ${this.name}`)
    this.#attached.set(address, { node, link })
  }

  detach(address: string): void {
    this.#attached.delete(address)
  }

  /** Addresses that begin so are behind this router. */
  route(prefix: string, node: Node, link: Link): void {
    this.#prefixes.set(prefix, { node, link })
  }

  /** Who gets what nobody here has the address for. */
  set gateway(gateway: { readonly node: Node; readonly link: Link }) {
    this.#gateway = gateway
  }

  /** True when the internet can be reached from it. */
  get leadsOut(): boolean {
    return this.#gateway !== undefined || this.name === 'internet'
  }

  has(address: string): boolean {
    return this.#attached.has(address)
  }

  /** Sends a packet from whoever hangs on a link. */
  send(packet: Packet, from: Link): void {
    from.carry(packet, 'out', (sent) => {
      const next = this.#next(sent.to.address, from)
      next?.link.carry(sent, 'in', (arrived) => next.node.receive(arrived, this))
    })
  }

  #next(address: string, from: Link): Attachment | undefined {
    const attached = this.#attached.get(address)
    if (attached) {
      const isBetweenHosts = attached.link !== this.#gateway?.link && from !== this.#gateway?.link
      return this.isIsolated && isBetweenHosts ? undefined : attached
    }
    for (const [prefix, router] of this.#prefixes) if (address.startsWith(prefix) && router.link !== from) return router
    return this.#gateway?.link === from ? undefined : this.#gateway
  }
}
