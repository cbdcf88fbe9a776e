import { randomBytes } from 'node:crypto'
import { createSocket, type Socket } from 'node:dgram'
import { once } from 'node:events'
import type { Clock, Timer } from '../../clock.ts'
import type { Identity } from '../../identity/key.ts'
import type { Logger } from '../../logger.ts'
import { interfaceOf, plainAddress } from '../../network/addresses.ts'
import type { NetworkChange, NetworkInterface } from '../../network/network.ts'
import type { UdpEndpoint } from '../../network/udp-endpoint.ts'
import type { Refusals } from '../../refusals.ts'
import type { HostPort, Milliseconds, PeerId, Sighting } from '../../types.ts'
import type { Announcement, DiscoveryEvents, DiscoveryMethod, DiscoveryState, Prober } from '../discovery.ts'
import { type Action, BeaconAgent, type Source } from './agent.ts'

/** UDP port on which every daemon of a machine hears announcements. */
export const BEACON_PORT = 47799
/** IPv6 group of announcements: transient, link-local scope (RFC 4291 section 2.7). */
const GROUP = 'ff12::7061:7274'
/** When a probe is sent again, and when it is given up. */
const PROBE_REPEATS: readonly Milliseconds[] = [0, 400, 1200]
const PROBE_PATIENCE: Milliseconds = 2500
/** Probes under way; more wait for nothing and fail. */
const MAX_PROBES = 512

interface BeaconOptions {
  readonly identity: Identity
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  /** The daemon's own port, bound before `start`. */
  readonly endpoint: Pick<UdpEndpoint, 'handle' | 'send' | 'announce' | 'missing'>
  /** False: announce nothing and listen to no announcements, only answer and send probes. */
  readonly broadcast: boolean
  /** False for a peer that is not to learn that somebody is here. */
  readonly mayAnswer?: (peer: PeerId, address: string) => boolean
}

/** Where announcements go out: an address for everyone on one interface. */
interface Outlet {
  readonly interface: string
  readonly family: 4 | 6
  readonly address: string
}

interface Probe {
  readonly target: string
  readonly port: number
  readonly done: (sighting: Sighting | undefined) => void
}

/** The beacon on its sockets: the daemon's own port for all it sends and what is meant for it alone, two on the port that all share. */
export class BeaconDiscovery implements DiscoveryMethod, Prober {
  readonly name = 'beacon'
  readonly #options: BeaconOptions
  readonly #shared = new Map<4 | 6, Socket>()
  /** Families of which the shared port could not be opened, and why. */
  readonly #closed = new Map<4 | 6, string>()
  readonly #outlets = new Map<string, Outlet>()
  readonly #failures = new Map<string, string>()
  readonly #joined = new Set<string>()
  readonly #probes = new Set<Probe>()
  #interfaces: readonly NetworkInterface[] = []
  #events: DiscoveryEvents | undefined
  #agent: BeaconAgent | undefined
  #timer: Timer | undefined
  #unhandle: (() => void) | undefined
  #stopping: Promise<void> | undefined

  constructor(options: BeaconOptions) {
    this.#options = options
  }

  async start(
    announcement: Announcement,
    interfaces: readonly NetworkInterface[],
    events: DiscoveryEvents,
  ): Promise<void> {
    const { identity, clock, broadcast, endpoint, mayAnswer } = this.#options
    this.#events = events
    this.#agent = new BeaconAgent(
      {
        identity,
        instance: randomBytes(8).toString('hex'),
        port: announcement.port,
        random: Math.random,
        nonce: () => randomBytes(16).toString('hex'),
        ...(mayAnswer && { mayAnswer }),
      },
      announcement.name,
      clock.now(),
    )
    this.#unhandle = endpoint.handle('beacon', (packet, from) => this.#receive(packet, from))
    if (broadcast) for (const family of [4, 6] as const) await this.#open(family)
    if (!this.#agent) return this.#closeSockets()
    this.#use(interfaces)
    this.#tick()
  }

  stop(): Promise<void> {
    this.#stopping ??= this.#stop().finally(() => {
      this.#stopping = undefined
    })
    return this.#stopping
  }

  async #stop(): Promise<void> {
    const agent = this.#agent
    this.#agent = undefined
    this.#timer?.cancel()
    for (const { done } of this.#probes) done(undefined)
    if (agent) await Promise.all(agent.goodbye().map((action) => this.#send(action)))
    this.#closeSockets()
  }

  networkChanged(change: NetworkChange): void {
    if (!this.#agent) return
    this.#use(change.interfaces)
    this.#tick()
  }

  renamed(name: string): void {
    this.#agent?.rename(name, this.#options.clock.now())
    this.#tick()
  }

  states(): readonly DiscoveryState[] {
    if (!this.#options.broadcast)
      return [{ method: 'beacon', interface: '', state: 'off', detail: 'switched off by the setting discovery.beacon' }]
    const missing = [...this.#options.endpoint.missing].map(
      ([family, why]) => [family, `IPv${family}: ${why}`] as const,
    )
    const closed = new Map([...missing, ...this.#closed])
    return this.#interfaces
      .filter(({ participating }) => participating)
      .map(({ name }) => {
        const outlets = [...this.#outlets].filter(([, outlet]) => outlet.interface === name)
        const failures = [...this.#failures].flatMap(([key, reason]) => (key.startsWith(`${name} `) ? [reason] : []))
        failures.push(...closed.values())
        const working = outlets.filter(([key, { family }]) => !this.#failures.has(key) && !closed.has(family))
        const detail = [...working.map(([, { address }]) => `announces to ${address}`), ...failures].join('; ')
        const state = working.length > 0 ? 'active' : 'failed'
        return { method: 'beacon', interface: name, state, detail: detail || 'no address to announce to' } as const
      })
  }

  /** True while the peer is heard by beacon at this address. */
  /** Where else somebody announces this host's own peer id. */
  twins(): readonly HostPort[] {
    const twin = this.#agent?.twin(this.#options.clock.now())
    return twin ? [twin] : []
  }

  hears(peer: PeerId, at: { readonly address: string; readonly interface: string }): boolean {
    return this.#agent?.knows(peer, at) ?? false
  }

  probe(target: HostPort, interfaceName: string): Promise<Sighting | undefined> {
    const { clock } = this.#options
    if (!this.#agent || this.#probes.size >= MAX_PROBES) return Promise.resolve(undefined)
    return new Promise((resolve) => {
      const probe: Probe = {
        target: plainAddress(target.address),
        port: target.port,
        done: (sighting) => {
          if (!this.#probes.delete(probe)) return
          for (const timer of timers) timer.cancel()
          resolve(sighting && { ...sighting, interface: sighting.interface || interfaceName })
        },
      }
      const ask = (): void => {
        const packet = this.#agent?.probe(clock.now())
        if (packet) void this.#send({ kind: 'send', to: target, packet })
      }
      this.#probes.add(probe)
      const timers = PROBE_REPEATS.map((delay) => clock.after(delay, ask))
      timers.push(clock.after(PROBE_PATIENCE, () => probe.done(undefined)))
    })
  }

  async #open(family: 4 | 6): Promise<void> {
    const socket = createSocket({ type: family === 4 ? 'udp4' : 'udp6', reuseAddr: true, ipv6Only: family === 6 })
    try {
      socket.bind({ port: BEACON_PORT, address: family === 4 ? '0.0.0.0' : '::' })
      await once(socket, 'listening')
    } catch (error) {
      const { message } = error as Error
      this.#options.logger.warn('a beacon socket cannot be opened', { family, error: message })
      this.#closed.set(family, `IPv${family}: ${message}`)
      socket.close()
      return
    }
    socket.on('error', (error) =>
      this.#options.logger.warn('a beacon socket reports an error', { family, error: error.message }),
    )
    socket.on('message', (packet, from) => this.#receive(packet, from))
    this.#shared.set(family, socket)
  }

  #closeSockets(): void {
    this.#unhandle?.()
    for (const socket of this.#shared.values()) socket.close()
    this.#shared.clear()
    this.#closed.clear()
  }

  /** Announces on these interfaces from now on, and forgets who was heard on others. */
  #use(interfaces: readonly NetworkInterface[]): void {
    const agent = this.#agent
    if (!agent) return
    this.#interfaces = interfaces
    this.#outlets.clear()
    this.#failures.clear()
    const taking = interfaces.filter(({ participating }) => participating)
    if (this.#options.broadcast) for (const one of taking) this.#addOutlets(one)
    this.#do(agent.forgetInterfaces(new Set(taking.map(({ name }) => name))))
    agent.setOutlets([...this.#outlets.keys()], this.#options.clock.now())
  }

  #addOutlets({ name, kind, addresses }: NetworkInterface): void {
    if (kind === 'loopback') {
      this.#outlets.set(`${name} 127.255.255.255`, { interface: name, family: 4, address: '127.255.255.255' })
      return
    }
    for (const { broadcast } of addresses)
      if (broadcast) this.#outlets.set(`${name} ${broadcast}`, { interface: name, family: 4, address: broadcast })
    if (!addresses.some(({ family, scope }) => family === 6 && scope === 'link-local') || !this.#join(name)) return
    this.#outlets.set(`${name} ${GROUP}`, { interface: name, family: 6, address: `${GROUP}%${name}` })
  }

  /** Membership is per interface: there may be no default route to find one by. */
  #join(name: string): boolean {
    try {
      this.#shared.get(6)?.addMembership(GROUP, `::%${name}`)
      this.#joined.add(name)
      return true
    } catch (error) {
      // Joined already, before the cable was out and in: the membership lasted.
      if ((error as NodeJS.ErrnoException).code === 'EADDRINUSE' && this.#joined.has(name)) return true
      this.#failures.set(`${name} ${GROUP}`, `IPv6: ${(error as Error).message}`)
      return false
    }
  }

  #receive(packet: Buffer, { address, port }: HostPort): void {
    const agent = this.#agent
    if (!agent) return
    const on = interfaceOf(address, this.#interfaces)
    if (on && !on.participating) return
    const from: Source = { address, port, interface: on?.name ?? '' }
    this.#do(agent.receive(packet, from, this.#options.clock.now()))
    this.#schedule()
  }

  #tick(): void {
    const agent = this.#agent
    if (!agent) return
    this.#do(agent.tick(this.#options.clock.now()))
    this.#schedule()
  }

  #schedule(): void {
    this.#timer?.cancel()
    const { clock } = this.#options
    const wait = Math.min(60_000, (this.#agent?.deadline ?? 0) - clock.now())
    if (this.#agent) this.#timer = clock.after(Math.max(1, wait), () => this.#tick())
  }

  #do(actions: readonly Action[]): void {
    for (const action of actions) {
      if (action.kind === 'refused') this.#options.refusals.count(action.code)
      else if (action.kind === 'seen') this.#seen(action)
      else if (action.kind === 'gone') this.#events?.gone(action.peer, 'beacon', action.at.interface, action.at.address)
      else void this.#send(action)
    }
  }

  #seen({ peer, name, port, at }: Extract<Action, { kind: 'seen' }>): void {
    const sighting: Sighting = {
      peer,
      method: 'beacon',
      interface: at.interface,
      address: at.address,
      port,
      name,
      proven: true,
    }
    for (const probe of [...this.#probes])
      if (probe.target === plainAddress(at.address) && probe.port === at.port) probe.done(sighting)
    // Whoever answers a probe from elsewhere is not on a LAN of ours: that is for the method that asked.
    if (at.interface !== '' && this.#options.broadcast) this.#events?.seen(sighting)
  }

  async #send(action: Extract<Action, { kind: 'announce' | 'send' }>): Promise<void> {
    const { endpoint } = this.#options
    if (action.kind === 'send') {
      endpoint.send(action.packet, action.to)
      return
    }
    const outlet = this.#outlets.get(action.outlet)
    if (!outlet || endpoint.missing.has(outlet.family)) return
    try {
      await endpoint.announce(action.packet, { address: outlet.address, port: BEACON_PORT })
      this.#failures.delete(action.outlet)
    } catch (error) {
      this.#failures.set(action.outlet, (error as Error).message)
    }
  }
}
