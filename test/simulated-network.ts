import { isIPv4 } from 'node:net'
import { broadcastOf, scopeOf } from '../daemon/network/addresses.ts'
import { interfaceKind } from '../daemon/network/interface-kind.ts'
import type { Network, NetworkChange, NetworkInterface } from '../daemon/network/network.ts'
import type { Milliseconds } from '../daemon/types.ts'

/** An interface with these addresses (`192.168.1.2/24`); the rest follows from its name unless told. */
export function networkInterface(
  name: string,
  addresses: readonly string[],
  told: Partial<NetworkInterface> = {},
): NetworkInterface {
  const kind = interfaceKind(name)
  return {
    name,
    index: 0,
    kind,
    participating: kind !== 'vpn' && kind !== 'container',
    multicast: kind !== 'loopback',
    addresses: addresses.map((text) => {
      const [address = '', prefix = ''] = text.split('/')
      const broadcast = broadcastOf(address, Number(prefix))
      return {
        address,
        family: isIPv4(address) ? 4 : 6,
        prefix: Number(prefix),
        scope: scopeOf(address),
        ...(broadcast && { broadcast }),
      }
    }),
    ...told,
  }
}

/** A network whose interfaces are what a test says. */
export class SimulatedNetwork implements Network {
  readonly #listeners = new Set<(change: NetworkChange) => void>()
  #interfaces: readonly NetworkInterface[]

  constructor(interfaces: readonly NetworkInterface[] = []) {
    this.#interfaces = interfaces
  }

  async start(): Promise<void> {}
  async stop(): Promise<void> {}
  async check(): Promise<void> {}

  interfaces(): readonly NetworkInterface[] {
    return this.#interfaces
  }

  onChange(listener: (change: NetworkChange) => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** From now on these are there; what differs from before is told. */
  set(interfaces: readonly NetworkInterface[]): void {
    const before = new Map(this.#interfaces.map((one) => [one.name, one]))
    const after = new Map(interfaces.map((one) => [one.name, one]))
    this.#interfaces = interfaces
    this.#tell({
      appeared: [...after.keys()].filter((name) => !before.has(name)),
      vanished: [...before.keys()].filter((name) => !after.has(name)),
      altered: [...after.keys()].filter((name) => before.has(name) && before.get(name) !== after.get(name)),
    })
  }

  /** The machine slept for `ms`; its interfaces are as before. */
  sleep(ms: Milliseconds): void {
    this.#tell({ slept: ms })
  }

  #tell(change: Partial<NetworkChange>): void {
    for (const listener of [...this.#listeners])
      listener({ interfaces: this.#interfaces, appeared: [], vanished: [], altered: [], slept: 0, ...change })
  }
}
