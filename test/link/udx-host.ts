import { randomInt } from 'node:crypto'
import { systemClock } from '../../daemon/clock.ts'
import type { Link } from '../../daemon/link/link.ts'
import { tlsOptions } from '../../daemon/link/tls-options.ts'
import type { UdxCarrier } from '../../daemon/link/udx-carrier.ts'
import { UdxCarriers } from '../../daemon/link/udx-carriers.ts'
import { shakeHands } from '../../daemon/link/udx-link.ts'
import { silentLogger } from '../../daemon/logger.ts'
import type { TransportAddress } from '../../daemon/nat/transport-address.ts'
import { UdpEndpoint } from '../../daemon/network/udp-endpoint.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { PeerId } from '../../daemon/types.ts'
import { type Keyed, newKey } from './tls-host.ts'

const patience = (): AbortSignal => AbortSignal.timeout(15_000)

/** What becomes of a packet on its way out: gone for good, or sent after so many milliseconds. */
export type Weather = (packet: Buffer, to: TransportAddress) => 'lost' | number

/** A host with a UDP port and a key of its own, on loopback. What it sends by a relay comes to the peer from the same relay. */
export class UdxHost implements AsyncDisposable {
  readonly peer: PeerId
  readonly endpoint: UdpEndpoint
  readonly carriers: UdxCarriers
  readonly refusals: Refusals
  /** Every packet that left, by destination. */
  readonly sent: { packet: Buffer; to: TransportAddress }[] = []
  weather: Weather = () => 0
  /** Whom the packets for a relay go to. */
  beyondRelay: UdxHost | undefined
  readonly #tls: ReturnType<typeof tlsOptions>

  private constructor({ peer, certificate }: Keyed, endpoint: UdpEndpoint, refusals: Refusals, limit?: number) {
    this.peer = peer
    this.endpoint = endpoint
    this.refusals = refusals
    this.#tls = tlsOptions(certificate)
    this.carriers = new UdxCarriers({
      endpoint,
      refusals,
      clock: systemClock,
      send: (packet, to) => this.#send(packet, to),
      ...(limit !== undefined && { limit }),
    })
  }

  static async open(limit?: number): Promise<UdxHost> {
    const refusals = new Refusals()
    const endpoint = new UdpEndpoint({ clock: systemClock, logger: silentLogger, refusals })
    await endpoint.bind(0)
    return new UdxHost(await newKey(), endpoint, refusals, limit)
  }

  at(address = '127.0.0.1'): TransportAddress {
    return { address, port: this.endpoint.port }
  }

  shake(carrier: UdxCarrier, role: 'client' | 'server', expected: PeerId, signal = patience()): Promise<Link> {
    return shakeHands(carrier, { role, tls: this.#tls, expected, signal })
  }

  #send(packet: Buffer, to: TransportAddress): void {
    if (this.sent.length < 1000) this.sent.push({ packet: Buffer.from(packet), to })
    const weather = this.weather(packet, to)
    if (weather === 'lost') return
    const send = (): void => {
      if (to.relay === undefined) this.endpoint.send(packet, to)
      else this.beyondRelay?.carriers.receive(packet, { ...this.at(), relay: to.relay })
    }
    if (weather === 0) send()
    else setTimeout(send, weather)
  }

  async [Symbol.asyncDispose](): Promise<void> {
    this.carriers.close()
    await this.endpoint.close()
  }
}

/** Carriers of two hosts to each other. */
export function carriersOf(a: UdxHost, b: UdxHost, address = '127.0.0.1'): { near: UdxCarrier; far: UdxCarrier } {
  a.beyondRelay = b
  b.beyondRelay = a
  const id = randomInt(1, 2 ** 32)
  return { near: a.carriers.open(id, b.at(address)), far: b.carriers.open(id, a.at(address)) }
}

/** Two hosts with a link. */
export async function linked(
  a: UdxHost,
  b: UdxHost,
): Promise<{ near: Link; far: Link; carriers: ReturnType<typeof carriersOf> }> {
  const carriers = carriersOf(a, b)
  const [near, far] = await Promise.all([
    a.shake(carriers.near, 'client', b.peer),
    b.shake(carriers.far, 'server', a.peer),
  ])
  return { near, far, carriers }
}
