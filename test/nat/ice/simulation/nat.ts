import type { HostPort, Milliseconds } from '../../../../daemon/types.ts'
import { keyOf } from './packet.ts'

/** What a mapping, or a filter, depends on (RFC 4787 sections 4.1 and 5): nothing, the address, the address and the port of the other end. */
export type Dependence = 'none' | 'address' | 'port'

export interface NatTraits {
  /** EIM, ADM, APDM. */
  readonly mapping: Dependence
  /** EIF, ADF, APDF. */
  readonly filtering: Dependence
  /** The port outside is that inside, where it is free. */
  readonly keepsPort: boolean
  /** Hosts inside reach each other through their addresses outside (RFC 4787 section 6). */
  readonly hairpin: boolean
}

export interface NatBehaviour extends NatTraits {
  /** Silence after which a mapping and the holes of its filter are forgotten. */
  readonly timeout: Milliseconds
}

const traits = (mapping: Dependence, filtering: Dependence, keepsPort: boolean, hairpin: boolean): NatTraits => ({
  mapping,
  filtering,
  keepsPort,
  hairpin,
})

/** The kinds of the namespace lab, by its names. */
export const NAT_KINDS = {
  eim: traits('none', 'port', true, false),
  'eim-rnd': traits('none', 'port', false, false),
  arc: traits('none', 'address', true, false),
  cone: traits('none', 'none', true, true),
  adm: traits('address', 'port', false, false),
  sym: traits('port', 'port', false, false),
  'sym-cone': traits('port', 'none', false, true),
}

function keyFor(dependence: Dependence, remote: HostPort): string {
  if (dependence === 'none') return ''
  return dependence === 'address' ? remote.address : keyOf(remote)
}

/** Whom something inside has written to lately, and who may therefore write to it. */
export class Filter {
  readonly #dependence: Dependence
  readonly #timeout: Milliseconds
  readonly #last = new Map<string, Milliseconds>()

  constructor(dependence: Dependence, timeout: Milliseconds) {
    this.#dependence = dependence
    this.#timeout = timeout
  }

  open(remote: HostPort, now: Milliseconds): void {
    this.#last.set(keyFor(this.#dependence, remote), now)
  }

  /** Whether the remote may write to it now; what gets through keeps the hole open. */
  admits(remote: HostPort, now: Milliseconds): boolean {
    const key = keyFor(this.#dependence, remote)
    const last = this.#last.get(key)
    if (this.#dependence !== 'none' && (last === undefined || now - last > this.#timeout)) return false
    this.#last.set(key, now)
    return true
  }
}

interface Mapping {
  readonly inner: HostPort
  readonly port: number
  readonly filter: Filter
  /** A port that was asked for (PCP, UPnP) stays. */
  readonly isStatic: boolean
  last: Milliseconds
}

/** The translation of a router, for one address outside. */
export class Nat {
  readonly behaviour: NatBehaviour
  readonly #random: () => number
  readonly #byPort = new Map<number, Mapping>()
  /** By inner address and what of the remote counts. */
  readonly #byInner = new Map<string, Mapping>()
  /** What came in is answered through the mapping that it came by, whatever mapping others would get (as connection tracking does it). */
  readonly #flows = new Map<string, Mapping>()

  constructor(behaviour: NatBehaviour, random: () => number) {
    this.behaviour = behaviour
    this.#random = random
  }

  /** The port outside for a packet that leaves. */
  outbound(inner: HostPort, remote: HostPort, now: Milliseconds): number {
    const flow = `${keyOf(inner)} ${keyOf(remote)}`
    const mapping = this.#living(this.#flows.get(flow), now) ?? this.#mappingFor(inner, remote, now)
    this.#flows.set(flow, mapping)
    mapping.last = now
    mapping.filter.open(remote, now)
    return mapping.port
  }

  /** Who inside gets what arrives at a port outside; undefined for nobody. */
  inbound(port: number, remote: HostPort, now: Milliseconds): HostPort | undefined {
    const mapping = this.#living(this.#byPort.get(port), now)
    if (!mapping?.filter.admits(remote, now)) return undefined
    mapping.last = now
    this.#flows.set(`${keyOf(mapping.inner)} ${keyOf(remote)}`, mapping)
    return mapping.inner
  }

  /** Forwards a port, for good, from anybody; the port outside is that inside where it is free. */
  forward(inner: HostPort): number {
    const known = [...this.#byPort.values()].find((one) => one.isStatic && keyOf(one.inner) === keyOf(inner))
    if (known) return known.port
    const port = this.#byPort.has(inner.port) ? this.#freePort() : inner.port
    const filter = new Filter('none', this.behaviour.timeout)
    const mapping: Mapping = { inner, port, filter, isStatic: true, last: 0 }
    this.#byPort.set(port, mapping)
    if (this.behaviour.mapping === 'none') this.#byInner.set(`${keyOf(inner)} `, mapping)
    return port
  }

  /** As a router that is switched off and on. */
  forget(): void {
    this.#byPort.clear()
    this.#byInner.clear()
    this.#flows.clear()
  }

  #mappingFor(inner: HostPort, remote: HostPort, now: Milliseconds): Mapping {
    const key = `${keyOf(inner)} ${keyFor(this.behaviour.mapping, remote)}`
    const known = this.#living(this.#byInner.get(key), now)
    if (known) return known
    const { keepsPort, filtering, timeout } = this.behaviour
    const isFree = !this.#living(this.#byPort.get(inner.port), now)
    const port = keepsPort && isFree ? inner.port : this.#freePort()
    const mapping: Mapping = { inner, port, filter: new Filter(filtering, timeout), isStatic: false, last: now }
    this.#byPort.set(port, mapping)
    this.#byInner.set(key, mapping)
    return mapping
  }

  #living(mapping: Mapping | undefined, now: Milliseconds): Mapping | undefined {
    if (!mapping || this.#byPort.get(mapping.port) !== mapping) return undefined
    if (mapping.isStatic || now - mapping.last <= this.behaviour.timeout) return mapping
    this.#byPort.delete(mapping.port)
    return undefined
  }

  #freePort(): number {
    for (;;) {
      const port = 1024 + Math.floor(this.#random() * 64_512)
      if (!this.#byPort.has(port)) return port
    }
  }
}
