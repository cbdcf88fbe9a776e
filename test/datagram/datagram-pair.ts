import { DatagramPath, type DatagramPathEvents, type DatagramPathOptions } from '../../daemon/datagram/datagram-path.ts'
import type { DatagramState } from '../../daemon/datagram/path-statistics.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { HostPort, Milliseconds } from '../../daemon/types.ts'
import { seeded, seededBytes } from './random.ts'

/** How the network between the two treats packets. */
export interface Conditions {
  loss: number
  duplicate: number
  /** One way, at least and at most: what is between makes packets overtake each other. */
  delay: [Milliseconds, Milliseconds]
  /** Largest UDP payload that arrives. */
  mtu: number
  /** Nothing arrives. */
  cut: boolean
  /** Bytes per second, with a queue of 50 ms behind which packets are lost; 0 has no limit. */
  rate: number
}

export const GOOD: Conditions = { loss: 0, duplicate: 0, delay: [1, 1], mtu: 65_535, cut: false, rate: 0 }

/** One packet on its way, for tests that look at it or tamper with it. */
export interface Flight {
  readonly packet: Buffer
  readonly from: HostPort
  readonly to: HostPort
}

/** One of the two hosts. */
export class End {
  readonly path: DatagramPath
  readonly cid: Buffer
  readonly refusals = new Refusals()
  readonly messages: Buffer[] = []
  readonly states: DatagramState[] = []
  readonly roundTrips: Milliseconds[] = []
  /** Bytes that left, by destination. */
  readonly told = new Map<string, number>()
  address: HostPort
  busyUntil: Milliseconds = 0

  constructor(address: HostPort, options: Omit<DatagramPathOptions, 'refusals'>, output: DatagramPathEvents['output']) {
    this.address = address
    this.cid = options.cid
    this.path = new DatagramPath(
      { ...options, refusals: this.refusals },
      {
        output: (packet, to) => {
          const key = addressKey(to)
          this.told.set(key, (this.told.get(key) ?? 0) + packet.length)
          output(packet, to)
        },
        message: (bytes) => this.messages.push(Buffer.from(bytes)),
        state: (state) => this.states.push(state),
        roundTrip: (ms) => this.roundTrips.push(ms),
      },
    )
  }
}

export function addressKey({ address, port }: HostPort): string {
  return `${address}:${port}`
}

/** Two paths of one link, and a network between them, in virtual time. */
export class DatagramPair {
  now: Milliseconds = 0
  readonly network: Conditions
  readonly a: End
  readonly b: End
  /** Every packet that left, while it is set. */
  onPacket: ((flight: Flight) => void) | undefined
  readonly #random: () => number
  readonly #flights: (Flight & { at: Milliseconds })[] = []

  constructor(seed = 1, options: Partial<DatagramPathOptions> = {}, network: Partial<Conditions> = {}) {
    this.network = { ...GOOD, ...network }
    this.#random = seeded(seed)
    const bytes = seededBytes(this.#random)
    const secret = bytes(64)
    const common = { now: 0, secret, random: bytes, maxPayload: 1472, ...options }
    const end = (dialled: boolean, address: string): End => {
      const one: End = new End({ address, port: 4000 }, { ...common, dialled, cid: bytes(8) }, (packet, to) =>
        this.#carry(packet, one, to),
      )
      return one
    }
    this.a = end(true, '10.0.0.1')
    this.b = end(false, '10.0.0.2')
  }

  /** The link tells both where the other is. */
  introduce(): void {
    this.a.path.peer({ cid: this.b.cid, candidates: [this.b.address] }, this.now)
    this.b.path.peer({ cid: this.a.cid, candidates: [this.a.address] }, this.now)
  }

  /** Both open. */
  open(): this {
    this.introduce()
    this.advance(50)
    return this
  }

  /** The link tells where each is now. */
  reintroduce(): void {
    this.a.path.candidates([this.b.address], this.now)
    this.b.path.candidates([this.a.address], this.now)
  }

  /** Lets time pass, with all that falls due in it. */
  advance(ms: Milliseconds): void {
    const until = this.now + ms
    for (let steps = 0; ; steps++) {
      if (steps > 2_000_000) throw new Error('the paths do not come to rest')
      const next = Math.min(this.#flights[0]?.at ?? Infinity, this.a.path.deadline, this.b.path.deadline)
      if (next > until) break
      this.now = Math.max(this.now, next)
      const flight = this.#flights[0]
      if (flight && flight.at <= this.now) {
        this.#flights.shift()
        this.deliver(flight)
      }
      for (const end of [this.a, this.b]) if (end.path.deadline <= this.now) end.path.tick(this.now)
    }
    this.now = until
  }

  /** Gives a packet to whoever has the address now; true when the path took it. */
  deliver({ packet, from, to }: Flight): boolean {
    const end = [this.a, this.b].find((one) => addressKey(one.address) === addressKey(to))
    return end?.path.receive(Buffer.from(packet), from, this.now) ?? false
  }

  #carry(packet: Buffer, from: End, to: HostPort): void {
    const flight = { packet, from: from.address, to }
    this.onPacket?.(flight)
    const { loss, duplicate, delay, mtu, cut, rate } = this.network
    if (cut || packet.length > mtu || this.#random() < loss) return
    let leaves = this.now
    if (rate > 0) {
      if (from.busyUntil > this.now + 50) return
      leaves = from.busyUntil = Math.max(from.busyUntil, this.now) + (packet.length / rate) * 1000
    }
    for (let copies = this.#random() < duplicate ? 2 : 1; copies > 0; copies--)
      this.#fly({ ...flight, at: leaves + delay[0] + this.#random() * (delay[1] - delay[0]) })
  }

  #fly(flight: Flight & { at: Milliseconds }): void {
    let low = 0
    let high = this.#flights.length
    while (low < high) {
      const middle = (low + high) >> 1
      if ((this.#flights[middle]?.at ?? 0) <= flight.at) low = middle + 1
      else high = middle
    }
    this.#flights.splice(low, 0, flight)
  }
}
