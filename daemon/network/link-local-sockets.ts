import type { Clock } from '../clock.ts'
import type { Milliseconds } from '../types.ts'
import type { DatagramSocket } from './datagram-socket.ts'
import type { NetworkInterface } from './network.ts'

/** Sockets at most; interfaces beyond that have none. */
export const MAX_SOCKETS = 32
/** How often sockets are tried that could not be opened. */
const RETRY: Milliseconds = 1000

interface LinkLocalSocketsOptions {
  readonly clock: Clock
  /** Opens a socket on an address with its zone. Throws the system's error. */
  readonly open: (address: string, zone: string) => DatagramSocket
}

/** True for an interface with a link-local IPv6 address. */
const hasLinkLocal = ({ addresses }: NetworkInterface): boolean =>
  addresses.some(({ family, scope }) => family === 6 && scope === 'link-local')

/**
 * A socket for each link-local IPv6 address of the machine. `udx-native` tells link-local senders without their zone, and such an address
 * means nothing without it; which socket a datagram came to tells the zone.
 */
export class LinkLocalSockets {
  readonly #options: LinkLocalSocketsOptions
  /** By address with zone. */
  readonly #sockets = new Map<string, DatagramSocket>()
  readonly #byZone = new Map<string, DatagramSocket>()
  #interfaces: readonly NetworkInterface[] = []
  #nextTry: Milliseconds = 0

  constructor(options: LinkLocalSocketsOptions) {
    this.#options = options
  }

  /** The interfaces there are now. */
  use(interfaces: readonly NetworkInterface[]): void {
    this.#interfaces = interfaces
    const wanted = this.#wanted()
    for (const [address, socket] of this.#sockets)
      if (!wanted.has(address)) {
        this.#sockets.delete(address)
        void socket.close()
      }
    this.#open(wanted)
  }

  /** The socket to send with into a zone. */
  get(zone: string): DatagramSocket | undefined {
    return this.#byZone.get(zone)
  }

  /** True for the zone of an interface there is, by name or index. */
  isZone(zone: string): boolean {
    return this.#interfaces.some(({ name, index }) => name === zone || (index > 0 && String(index) === zone))
  }

  /**
   * The zone of a sender that came to no socket of ours: there is none yet, because its address was being checked (RFC 4862 section 5.4),
   * which it no longer is. Undefined where there is more than one to choose from; whoever sent it will send again.
   */
  onlyZone(): string | undefined {
    const now = this.#options.clock.now()
    if (now >= this.#nextTry) {
      this.#nextTry = now + RETRY
      this.#open(this.#wanted())
    }
    const [only, ...others] = this.#interfaces.filter(hasLinkLocal)
    return only?.participating && others.length === 0 ? only.name : undefined
  }

  async close(): Promise<void> {
    const sockets = [...this.#sockets.values()]
    this.#interfaces = []
    this.#sockets.clear()
    this.#byZone.clear()
    await Promise.all(sockets.map((socket) => socket.close()))
  }

  /** Zones by address with zone. */
  #wanted(): Map<string, string> {
    const wanted = this.#interfaces
      .filter(({ participating }) => participating)
      .flatMap(({ name, addresses }) =>
        addresses
          .filter(({ family, scope }) => family === 6 && scope === 'link-local')
          .map(({ address }) => [`${address}%${name}`, name] as const),
      )
    return new Map(wanted.slice(0, MAX_SOCKETS))
  }

  #open(wanted: ReadonlyMap<string, string>): void {
    this.#byZone.clear()
    for (const [address, zone] of wanted) {
      try {
        const socket = this.#sockets.get(address) ?? this.#options.open(address, zone)
        this.#sockets.set(address, socket)
        if (!this.#byZone.has(zone)) this.#byZone.set(zone, socket)
      } catch {
        // An address that is still being checked, or gone already.
      }
    }
  }
}
