import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import type { Clock, Timer } from '../clock.ts'
import type { Logger } from '../logger.ts'
import type { Milliseconds } from '../types.ts'
import { broadcastOf, scopeOf } from './addresses.ts'
import { readInterfaceFacts } from './interface-facts.ts'
import { type InterfaceFacts, interfaceKind } from './interface-kind.ts'
import type { InterfaceAddress, InterfaceKind, Network, NetworkChange, NetworkInterface } from './network.ts'

/** The list of interfaces that are up is cheap to read (a netlink dump), and so is asked for often. */
const LOOK_INTERVAL: Milliseconds = 2000
/** This much more time than there should be between two looks: the machine slept. */
const SLEEP_THRESHOLD: Milliseconds = 5000
/** How long an interface whose name tells nothing waits for what the system knows of it. */
const FACTS_PATIENCE: Milliseconds = 1500
/** Facts of interfaces that are gone are kept up to this many, for those that come back. */
const MAX_FACTS = 100

type RawInterfaces = NodeJS.Dict<NetworkInterfaceInfo[]>

interface SystemNetworkOptions {
  readonly clock: Clock
  readonly logger: Logger
  /** Names of the interfaces that take part; empty for all but VPN and container ones. */
  readonly include: readonly string[]
  /** Names of those that never do. */
  readonly exclude: readonly string[]
  readonly read?: () => RawInterfaces
  readonly readFacts?: () => Promise<readonly InterfaceFacts[]>
}

/**
 * The machine's interfaces: looked at every two seconds; kinds, speeds and MTUs asked for when a new name appears, and
 * filled in when they come. Only an interface whose name tells nothing waits for that before it takes part: it may be
 * a virtual one.
 */
export class SystemNetwork implements Network {
  readonly #options: SystemNetworkOptions
  readonly #listeners = new Set<(change: NetworkChange) => void>()
  /** By name; undefined for those the system was asked about and told nothing of. */
  readonly #facts = new Map<string, InterfaceFacts | undefined>()
  #interfaces: readonly NetworkInterface[] = []
  #timer: Timer | undefined
  #lastNow: Milliseconds = 0
  #lastWall = 0
  #started = false
  #unreadable = false
  #asking = false
  #askAgain = false

  constructor(options: SystemNetworkOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#started) return
    this.#started = true
    const { clock } = this.#options
    this.#lastNow = clock.now()
    this.#lastWall = clock.wall()
    this.#interfaces = this.#read() ?? []
    void this.#learnFacts()
    this.#schedule()
  }

  async stop(): Promise<void> {
    this.#started = false
    this.#timer?.cancel()
    this.#listeners.clear()
  }

  interfaces(): readonly NetworkInterface[] {
    return this.#interfaces
  }

  onChange(listener: (change: NetworkChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  async check(): Promise<void> {
    if (this.#started) this.#look()
  }

  #schedule(): void {
    // A listener may have stopped and started us.
    this.#timer?.cancel()
    this.#timer = this.#options.clock.after(LOOK_INTERVAL, () => {
      this.#look()
      if (this.#started) this.#schedule()
    })
  }

  #look(): void {
    const slept = this.#sleptSinceLastLook()
    const before = new Map(this.#interfaces.map((one) => [one.name, one]))
    this.#interfaces = this.#read() ?? this.#interfaces
    const after = new Map(this.#interfaces.map((one) => [one.name, one]))
    const change: NetworkChange = {
      interfaces: this.#interfaces,
      appeared: [...after.keys()].filter((name) => !before.has(name)),
      vanished: [...before.keys()].filter((name) => !after.has(name)),
      altered: [...after.keys()].filter(
        (name) => before.has(name) && fingerprint(before.get(name)) !== fingerprint(after.get(name)),
      ),
      slept,
    }
    if (change.appeared.some((name) => this.#isWorthAsking(name))) void this.#learnFacts()
    if (slept > 0 || [change.appeared, change.vanished, change.altered].some((names) => names.length > 0))
      this.#tell(change)
  }

  /**
   * While the machine sleeps, the monotonic clock stands still on Linux; on macOS (libuv takes `mach_continuous_time`)
   * and Windows it runs on, and the look is late instead. A process that was stopped for as long looks the same, and
   * needs the same care. A wall clock that is set back is no sleep.
   */
  #sleptSinceLastLook(): Milliseconds {
    const { clock } = this.#options
    const now = clock.now()
    const wall = clock.wall()
    const elapsed = now - this.#lastNow
    const missed = Math.max(wall - this.#lastWall - elapsed, elapsed - LOOK_INTERVAL)
    this.#lastNow = now
    this.#lastWall = wall
    return missed > SLEEP_THRESHOLD ? missed : 0
  }

  #tell(change: NetworkChange): void {
    const { appeared, vanished, altered, slept } = change
    this.#options.logger.info('the network changed', { appeared, vanished, altered, slept })
    for (const listener of [...this.#listeners]) {
      try {
        listener(change)
      } catch (error) {
        this.#options.logger.error('a listener to network changes failed', { error: String(error) })
      }
    }
  }

  /** Containers come and go, each with an interface of its own; their names say enough. */
  #isWorthAsking(name: string): boolean {
    const kind = interfaceKind(name)
    return !this.#facts.has(name) && kind !== 'container' && kind !== 'vpn' && kind !== 'loopback'
  }

  /**
   * Slow on some systems (it starts processes), so asked for only at start and when a name is new; without it, names
   * have to do. What comes after the patience has run out still counts. A change is told only if it makes an interface
   * take part or not: that a cable turns out to be Wi-Fi matters to who asks next, and to nobody before.
   */
  async #learnFacts(): Promise<void> {
    const asked = this.#interfaces.map(({ name }) => name)
    // Also where the system still owes an answer, which may never come.
    const patience = this.#options.clock.after(FACTS_PATIENCE, () => this.#settle(asked))
    this.#askAgain = this.#asking
    if (this.#asking) return
    this.#asking = true
    try {
      const read = this.#options.readFacts ?? readInterfaceFacts
      for (const facts of await read()) this.#facts.set(facts.iface, facts)
    } catch (error) {
      this.#options.logger.warn('the system tells nothing of its interfaces', { error: String(error) })
    }
    patience.cancel()
    this.#asking = false
    if (this.#askAgain && this.#started) return this.#learnFacts()
    this.#settle(asked)
  }

  /** No more will be known of these interfaces for now. */
  #settle(asked: readonly string[]): void {
    if (!this.#started) return
    const present = new Set(this.#interfaces.map(({ name }) => name))
    for (const name of asked) if (present.has(name) && !this.#facts.has(name)) this.#facts.set(name, undefined)
    for (const name of this.#facts.keys())
      if (this.#facts.size > MAX_FACTS && !present.has(name)) this.#facts.delete(name)
    this.#look()
  }

  /** Undefined when the system does not let us (a sandbox without netlink sockets, say). */
  #read(): readonly NetworkInterface[] | undefined {
    try {
      const raw = (this.#options.read ?? networkInterfaces)()
      this.#unreadable = false
      return Object.entries(raw).flatMap(([name, infos]) => (infos ? [this.#describe(name, infos)] : []))
    } catch (error) {
      if (!this.#unreadable) this.#options.logger.error('cannot list the interfaces', { error: String(error) })
      this.#unreadable = true
      return undefined
    }
  }

  #describe(name: string, infos: readonly NetworkInterfaceInfo[]): NetworkInterface {
    const facts = this.#facts.get(name)
    const kind = interfaceKind(name, facts)
    return {
      name,
      // Only link-local addresses come with it.
      index: infos.find((info) => info.family === 'IPv6' && info.scopeid > 0)?.scopeid ?? 0,
      kind,
      participating: this.#participates(name, kind),
      multicast: kind !== 'loopback',
      addresses: infos.map(describeAddress),
      ...(facts?.speed && facts.speed > 0 && { speed: facts.speed * 1_000_000 }),
      ...(facts?.mtu && { mtu: facts.mtu }),
    }
  }

  #participates(name: string, kind: InterfaceKind): boolean {
    const { include, exclude } = this.#options
    if (exclude.includes(name)) return false
    if (kind === 'loopback') return true
    if (include.length > 0) return include.includes(name)
    return kind !== 'vpn' && kind !== 'container' && (kind !== 'other' || this.#facts.has(name))
  }
}

function describeAddress({ address, family, cidr }: NetworkInterfaceInfo): InterfaceAddress {
  const prefix = Number(cidr?.split('/')[1] ?? (family === 'IPv4' ? 32 : 128))
  const broadcast = broadcastOf(address, prefix)
  return {
    address,
    family: family === 'IPv4' ? 4 : 6,
    prefix,
    scope: scopeOf(address),
    ...(broadcast && { broadcast }),
  }
}

/**
 * What makes an interface a different one for those who use it: its addresses, whether it takes part, and its index,
 * which changes when the device was taken away and put back between two looks, memberships of groups and all.
 */
function fingerprint(one: NetworkInterface | undefined): string {
  return one
    ? JSON.stringify([
        one.participating,
        one.index,
        one.addresses.map(({ address, prefix }) => `${address}/${prefix}`).sort(),
      ])
    : ''
}
