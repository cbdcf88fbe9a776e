import { isIPv4 } from 'node:net'
import { PartylineError } from '../../errors.ts'
import type { Milliseconds } from '../../types.ts'
import type { Gateway, Mapped, MappingProtocol, MappingWish } from './protocol.ts'
import { order, readDescription, type UpnpFetch, UpnpRefusal, type UpnpService } from './upnp-device.ts'
import { leadsTo, type SearchGateway } from './upnp-search.ts'

const LABEL = 'Partyline'
/** Codes of WANIPConnection (2.0, section 2.5.16) that another try answers. */
const CONFLICT = 718
const PERMANENT_ONLY = 725
const INVALID_ACTION = 401
const NOT_IMPLEMENTED = 602
/** Ports that are tried where one is another host's. */
const TRIES = 8
/** Seconds; IGD 1 knows more, IGD 2 has a week. */
const MAX_LEASE = 604_800

interface UpnpOptions {
  readonly search: SearchGateway
  readonly fetch: UpnpFetch
  /** 0 to 1, exclusive. */
  readonly random: () => number
}

/** What was found on a router. */
interface Found {
  readonly mapper: UpnpService
  /** It is a second-generation router, which picks a free port itself. */
  readonly isSecond: boolean
}

/**
 * UPnP IGD 1 and 2. Written here rather than taken from a library: those that there are follow a router, and whoever answers in its place, to any
 * address, and read pages without end; and this is the protocol that everybody on the network may speak.
 */
export class Upnp implements MappingProtocol {
  readonly name = 'upnp'
  readonly #options: UpnpOptions
  /** The router that answered last, by its address and ours. */
  #found: { readonly key: string; readonly found: Found } | undefined

  constructor(options: UpnpOptions) {
    this.#options = options
  }

  async map(wish: MappingWish, signal: AbortSignal): Promise<Mapped> {
    const { gateway } = wish
    try {
      const found = await this.#find(gateway, signal)
      const external = await this.#externalAddress(found, signal)
      const { port, lifetime } = await this.#add(found, wish, signal)
      return { external: { address: external, port }, lifetime }
    } catch (error) {
      // It may have been restarted, and be elsewhere now.
      if (!signal.aborted) this.#found = undefined
      throw error
    }
  }

  /** Only what is still ours: not every router looks whose mapping it is, and it may have been restarted and given the port to another host. */
  async unmap({ gateway, transport, externalPort }: MappingWish, signal: AbortSignal): Promise<void> {
    const { mapper } = await this.#find(gateway, signal)
    const which = { ...remote(transport), NewExternalPort: externalPort }
    try {
      const entry = await this.#order(mapper, 'GetSpecificPortMappingEntry', which, signal)
      if (entry.get('NewInternalClient') !== gateway.own) return
    } catch (error) {
      if (!isUnknownAction(error)) return
    }
    await this.#order(mapper, 'DeletePortMapping', which, signal).catch(() => {})
  }

  /** Routers tell of a restart to everybody and nobody can check it: what is lost is found at the next renewal. */
  onReset(): () => void {
    return () => {}
  }

  async #find(gateway: Gateway, signal: AbortSignal): Promise<Found> {
    const { search, fetch } = this.#options
    const key = `${gateway.address} ${gateway.own}`
    if (this.#found?.key === key) return this.#found.found
    const location = await search(gateway, signal)
    const { status, body } = await fetch(location, undefined, signal)
    if (status !== 200) throw new PartylineError('network.no-mapping', `the UPnP router answers ${status}`)
    const mapper = readDescription(body, location, (url) => leadsTo(url, gateway))
    const found = { mapper, isSecond: mapper.type.endsWith(':2') }
    this.#found = { key, found }
    return found
  }

  async #externalAddress({ mapper }: Found, signal: AbortSignal): Promise<string> {
    const answer = await this.#order(mapper, 'GetExternalIPAddress', {}, signal)
    const address = answer.get('NewExternalIPAddress') ?? ''
    if (!isIPv4(address) || address === '0.0.0.0')
      throw new PartylineError('network.no-mapping', "the router's own line is down")
    return address
  }

  /** The wished port, another one where it is taken; for ever where the router knows no end. */
  async #add(found: Found, wish: MappingWish, signal: AbortSignal): Promise<{ port: number; lifetime: Milliseconds }> {
    let lease = Math.min(MAX_LEASE, Math.ceil(wish.lifetime / 1000))
    let port = wish.externalPort
    let isPicking = found.isSecond
    for (let tries = 0; tries < TRIES; tries++) {
      try {
        const granted = await this.#addOne(found, wish, { port, lease, isPicking }, signal)
        return { port: granted, lifetime: lease === 0 ? Number.POSITIVE_INFINITY : lease * 1000 }
      } catch (error) {
        if (!(error instanceof UpnpRefusal)) throw error
        if (error.reason === PERMANENT_ONLY && lease !== 0) lease = 0
        else if (isPicking && isUnknownAction(error)) isPicking = false
        else if (error.reason === CONFLICT) port = 1024 + Math.floor(this.#options.random() * 64_511)
        else throw error
      }
    }
    throw new PartylineError('network.no-mapping', 'the router has no free port')
  }

  async #addOne(
    { mapper }: Found,
    { gateway, transport, internalPort }: MappingWish,
    { port, lease, isPicking }: { readonly port: number; readonly lease: number; readonly isPicking: boolean },
    signal: AbortSignal,
  ): Promise<number> {
    const answer = await this.#order(
      mapper,
      isPicking ? 'AddAnyPortMapping' : 'AddPortMapping',
      {
        ...remote(transport),
        NewExternalPort: port,
        NewInternalPort: internalPort,
        NewInternalClient: gateway.own,
        NewEnabled: 1,
        NewPortMappingDescription: LABEL,
        NewLeaseDuration: lease,
      },
      signal,
    )
    const reserved = Number(answer.get('NewReservedPort') ?? port)
    if (!Number.isInteger(reserved) || reserved < 1 || reserved > 65_535)
      throw new PartylineError('network.no-mapping', 'the router grants a port that is none')
    return reserved
  }

  #order(
    service: UpnpService,
    action: string,
    args: Readonly<Record<string, string | number>>,
    signal: AbortSignal,
  ): Promise<ReadonlyMap<string, string>> {
    return order(this.#options.fetch, service, action, args, signal)
  }
}

const isUnknownAction = (error: unknown): boolean =>
  error instanceof UpnpRefusal && (error.reason === INVALID_ACTION || error.reason === NOT_IMPLEMENTED)

/** The order of arguments is part of the protocol: old routers read them by place. */
const remote = (transport: MappingWish['transport']): Record<string, string | number> => ({
  NewRemoteHost: '',
  NewExternalPort: 0,
  NewProtocol: transport.toUpperCase(),
})
