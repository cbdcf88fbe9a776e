import { type NetworkInterfaceInfo, networkInterfaces } from 'node:os'
import { networkInterfaces as systemFacts } from 'systeminformation'
import type { Clock, Timer } from '../clock.ts'
import type { Logger } from '../logger.ts'
import type { Milliseconds } from '../types.ts'
import { broadcastOf, scopeOf } from './addresses.ts'
import { type InterfaceFacts, interfaceKind } from './interface-kind.ts'
import type { InterfaceAddress, Network, NetworkChange, NetworkInterface } from './network.ts'

/** The list of interfaces that are up is cheap to read (a netlink dump), and so is asked for often. */
const LOOK_INTERVAL: Milliseconds = 2000
/** The wall clock ran this much further than the monotonic one between two looks: the machine slept. */
const SLEEP_THRESHOLD: Milliseconds = 5000
/** How long `start` waits for what only slow system tools know. */
const FACTS_PATIENCE: Milliseconds = 1500

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

/** The machine's interfaces: looked at every two seconds; kinds, speeds and MTUs asked for when a new name appears. */
export class SystemNetwork implements Network {
  readonly #options: SystemNetworkOptions
  readonly #listeners = new Set<(change: NetworkChange) => void>()
  readonly #facts = new Map<string, InterfaceFacts>()
  #interfaces: readonly NetworkInterface[] = []
  #timer: Timer | undefined
  #lastNow: Milliseconds = 0
  #lastWall = 0
  #started = false

  constructor(options: SystemNetworkOptions) {
    this.#options = options
  }

  async start(): Promise<void> {
    if (this.#started) return
    this.#started = true
    const { clock } = this.#options
    this.#lastNow = clock.now()
    this.#lastWall = clock.wall()
    let timer: Timer | undefined
    const patience = new Promise<void>((resolve) => {
      timer = clock.after(FACTS_PATIENCE, resolve)
    })
    await Promise.race([this.#learnFacts(), patience])
    timer?.cancel()
    this.#interfaces = this.#read()
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
    this.#timer = this.#options.clock.after(LOOK_INTERVAL, () => {
      this.#look()
      if (this.#started) this.#schedule()
    })
  }

  #look(): void {
    const { clock } = this.#options
    const now = clock.now()
    const wall = clock.wall()
    const jump = wall - this.#lastWall - (now - this.#lastNow)
    this.#lastNow = now
    this.#lastWall = wall

    const before = new Map(this.#interfaces.map((one) => [one.name, one]))
    this.#interfaces = this.#read()
    const after = new Map(this.#interfaces.map((one) => [one.name, one]))
    const change: NetworkChange = {
      interfaces: this.#interfaces,
      appeared: [...after.keys()].filter((name) => !before.has(name)),
      vanished: [...before.keys()].filter((name) => !after.has(name)),
      altered: [...after.keys()].filter(
        (name) => before.has(name) && fingerprint(before.get(name)) !== fingerprint(after.get(name)),
      ),
      slept: jump > SLEEP_THRESHOLD ? jump : 0,
    }
    if (change.appeared.some((name) => !this.#facts.has(name))) void this.#learnFacts()
    if (change.slept > 0 || [change.appeared, change.vanished, change.altered].some((names) => names.length > 0))
      this.#tell(change)
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

  /** Slow (it starts processes), so asked for only at start and when a name is new; without it, names have to do. */
  async #learnFacts(): Promise<void> {
    try {
      const read = this.#options.readFacts ?? readSystemFacts
      for (const facts of await read()) this.#facts.set(facts.iface, facts)
    } catch (error) {
      this.#options.logger.warn('the system tells nothing of its interfaces', { error: String(error) })
    }
  }

  #read(): readonly NetworkInterface[] {
    const raw = (this.#options.read ?? networkInterfaces)()
    return Object.entries(raw).flatMap(([name, infos]) => (infos ? [this.#describe(name, infos)] : []))
  }

  #describe(name: string, infos: readonly NetworkInterfaceInfo[]): NetworkInterface {
    const facts = this.#facts.get(name)
    const kind = interfaceKind(name, facts)
    const { include, exclude } = this.#options
    const chosen =
      include.length > 0 ? include.includes(name) || kind === 'loopback' : kind !== 'vpn' && kind !== 'container'
    return {
      name,
      index: infos.find((info) => info.family === 'IPv6')?.scopeid || 0,
      kind,
      participating: chosen && !exclude.includes(name),
      multicast: kind !== 'loopback',
      addresses: infos.map(describeAddress),
      ...(facts?.speed && facts.speed > 0 && { speed: facts.speed * 1_000_000 }),
      ...(facts?.mtu && { mtu: facts.mtu }),
    }
  }
}

async function readSystemFacts(): Promise<readonly InterfaceFacts[]> {
  const facts = await systemFacts()
  return Array.isArray(facts) ? facts : [facts]
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

/** What makes an interface a different one for those who use it: its addresses, and whether it takes part. */
function fingerprint(one: NetworkInterface | undefined): string {
  return one
    ? JSON.stringify([one.participating, one.addresses.map(({ address, prefix }) => `${address}/${prefix}`).sort()])
    : ''
}
