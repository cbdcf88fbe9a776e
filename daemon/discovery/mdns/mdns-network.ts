import type { Clock } from '../../clock.ts'
import type { Logger } from '../../logger.ts'
import { interfaceOf } from '../../network/addresses.ts'
import type { NetworkChange, NetworkInterface } from '../../network/network.ts'
import type { Refusals } from '../../refusals.ts'
import type { MdnsService } from './mdns-service.ts'
import { MdnsResponder } from './responder.ts'
import { serviceName } from './service-name.ts'

interface MdnsOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
}

/** How mDNS fares on one interface. */
export interface MdnsState {
  readonly interface: string
  /** Families that work, 4 and 6. */
  readonly families: readonly (4 | 6)[]
  /** What is wrong with the others. */
  readonly failures: readonly string[]
}

interface Open {
  readonly responder: MdnsResponder
  /** The interface's addresses of the family; others mean another responder. */
  readonly key: string
  readonly interface: string
  readonly family: 4 | 6
}

/**
 * mDNS / DNS-SD (RFC 6762, RFC 6763) for all services of this host: one responder for each interface and family, there for as long as a
 * service is attached.
 */
export class Mdns {
  readonly #options: MdnsOptions
  readonly #responders = new Map<string, Open>()
  readonly #failures = new Map<string, string>()
  readonly #services = new Set<MdnsService>()
  #interfaces: readonly NetworkInterface[] = []
  #handled: NetworkChange | undefined

  constructor(options: MdnsOptions) {
    this.#options = options
  }

  /** Browses and advertises a service on these interfaces. Safe to call twice. */
  attach(service: MdnsService, interfaces: readonly NetworkInterface[]): void {
    this.#services.add(service)
    this.#use(interfaces, false)
    for (const { responder } of this.#responders.values()) responder.serve(service)
  }

  /** Says goodbye for a service; the sockets close with the last one. Safe to call twice. */
  async detach(service: MdnsService): Promise<void> {
    if (!this.#services.delete(service)) return
    const open = [...this.#responders.values()]
    if (this.#services.size > 0) {
      await Promise.all(open.map(({ responder }) => responder.dismiss(service)))
      return
    }
    this.#responders.clear()
    await Promise.all(open.map(({ responder }) => responder.close(true)))
  }

  /** The interfaces changed, or the machine woke. Every service passes the same change on, which is taken up once. */
  networkChanged(change: NetworkChange): void {
    if (this.#services.size === 0 || this.#handled === change) return
    this.#handled = change
    this.#use(change.interfaces, change.slept > 0)
  }

  /** What a service advertises has changed. */
  advertise(service: MdnsService): void {
    for (const { responder } of this.#responders.values()) responder.advertise(service)
  }

  /** Asks on every interface for an instance. */
  askFor(service: MdnsService, instance: string): void {
    const fqdn = `${instance}.${serviceName(service.type)}`
    for (const { responder } of this.#responders.values()) responder.askFor(service, fqdn)
  }

  states(): MdnsState[] {
    return this.#interfaces.filter(isUsable).map(({ name }) => ({
      interface: name,
      families: [...this.#responders].flatMap(([id, one]) =>
        one.interface === name && !this.#failures.has(id) ? [one.family] : [],
      ),
      failures: [...this.#failures].flatMap(([id, reason]) => (id.startsWith(`${name} `) ? [reason] : [])),
    }))
  }

  /** Keeps the responders whose interface is as it was, closes the others, and opens new ones. */
  #use(interfaces: readonly NetworkInterface[], afresh: boolean): void {
    this.#interfaces = interfaces
    const wanted = new Map<string, { one: NetworkInterface; family: 4 | 6; key: string }>()
    for (const one of interfaces.filter(isUsable))
      for (const family of [4, 6] as const) {
        const addresses = one.addresses.filter((address) => address.family === family)
        if (addresses.length > 0)
          wanted.set(`${one.name} ${family}`, { one, family, key: addresses.map(({ address }) => address).join(' ') })
      }
    for (const [id, { responder, key, interface: name }] of this.#responders) {
      const next = wanted.get(id)
      if (next?.key === key && !afresh) continue
      this.#responders.delete(id)
      void responder.close(next !== undefined)
      if (!next) for (const service of this.#services) service.interfaceGone(name)
    }
    for (const id of this.#failures.keys()) if (!wanted.has(id)) this.#failures.delete(id)
    for (const [id, { one, family, key }] of wanted) if (!this.#responders.has(id)) this.#open(id, one, family, key)
  }

  #open(id: string, one: NetworkInterface, family: 4 | 6, key: string): void {
    const { clock, logger, refusals } = this.#options
    this.#failures.delete(id)
    try {
      const responder = new MdnsResponder({
        clock,
        interfaceName: one.name,
        family,
        addresses: one.addresses,
        services: () => this.#services,
        isMine: ({ address }) => interfaceOf(address, this.#interfaces)?.name === one.name,
        onRefused: (code) => refusals.count(code),
        onError: (error) => {
          if (this.#failures.get(id) === error.message) return
          this.#failures.set(id, error.message)
          logger.warn('mDNS fails on an interface', { interface: one.name, family, error: error.message })
        },
      })
      this.#responders.set(id, { responder, key, interface: one.name, family })
    } catch (error) {
      this.#failures.set(id, (error as Error).message)
    }
  }
}

const isUsable = ({ participating, kind, multicast }: NetworkInterface): boolean =>
  participating && multicast && kind !== 'loopback'
