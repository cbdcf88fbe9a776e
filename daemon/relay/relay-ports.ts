import { randomInt } from 'node:crypto'
import Udx from 'udx-native'
import type { Clock } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { familyOf } from '../nat/turn/peer-address.ts'
import { DatagramSocket, MAX_DATAGRAM } from '../network/datagram-socket.ts'
import type { HostPort, Milliseconds } from '../types.ts'
import type { PortWish } from './allocate-request.ts'
import type { RelayPort } from './allocations.ts'
import type { RelayAddresses } from './relay-addresses.ts'

/** Ports that are tried before there are said to be none. */
const TRIES = 16

interface RelayPortsOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly addresses: RelayAddresses
  /** Settings `relay.min-port` and `relay.max-port`. */
  readonly range: () => readonly [min: number, max: number]
}

/** The UDP ports that relays have. Datagrams leave with the don't-fragment bit and are at most 2 KiB long, as at the daemon's own port. */
export class RelayPorts {
  readonly #options: RelayPortsOptions
  readonly #udx = new Udx()

  constructor(options: RelayPortsOptions) {
    this.#options = options
  }

  /** A port, or two for a pair; none where they cannot be had. At random, so that nobody can tell which ports relays have (RFC 8656 section 7.2). */
  open(family: 4 | 6, wish: PortWish): readonly RelayPort[] {
    const { addresses, logger, range } = this.#options
    const address = addresses.bindFor(family)
    const [min, max] = range()
    for (let n = 0; n < TRIES && address !== undefined; n++) {
      const port = randomInt(min, Math.max(min, max) + 1)
      const first = this.#bind(address, wish === 'any' ? port : port & ~1)
      const second = first && wish === 'pair' ? this.#bind(address, first.local.port + 1) : undefined
      if (first && second) return [first, second]
      if (first && wish !== 'pair') return [first]
      first?.close()
    }
    logger.warn('no port for a relay', { family, address: address ?? 'none' })
    return []
  }

  #bind(address: string, port: number): RelayPort | undefined {
    const { clock, addresses } = this.#options
    let received: (packet: Buffer, from: HostPort, now: Milliseconds) => void = () => {}
    const socket = new DatagramSocket({
      udx: this.#udx,
      locate: () => undefined,
      received: (packet, from) => {
        if (packet.length <= MAX_DATAGRAM) received(packet, from, clock.now())
      },
      failed: () => {},
    })
    try {
      socket.open(address, port, false)
    } catch {
      // In use, most often.
      return undefined
    }
    const local = { address, port: socket.port }
    return {
      address: addresses.outside(local),
      local,
      receive: (handler) => {
        received = handler
      },
      send: (packet, to) => void socket.transmit(packet, to, to.address, familyOf(to.address)),
      close: () => void socket.close(),
    }
  }
}
