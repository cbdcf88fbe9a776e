import { formatTransport, type TransportAddress } from '../../../../daemon/nat/transport-address.ts'
import type { HostPort } from '../../../../daemon/types.ts'
import { seeded } from '../../../datagram/random.ts'
import { CandidatePool } from './candidate-pool.ts'
import type { SimulatedHost } from './host.ts'
import { familyOf } from './packet.ts'
import { type PathClass, SimulatedInternet } from './simulated-internet.ts'
import type { WorldSpec } from './world-spec.ts'

const RANKS: readonly PathClass[] = ['host', 'punched', 'relay']

/** The worse of two. */
export function worse(a: PathClass, b: PathClass): PathClass {
  return RANKS.indexOf(a) > RANKS.indexOf(b) ? a : b
}

const known = new Map<string, PathClass | undefined>()

/**
 * The best way between two hosts there can be; undefined where there is none. Found without an agent, in a copy of the world that is new and
 * loses nothing: both write to every address that they know of the other, and to every one that the other was seen at, straight and over
 * each relay of their own, over and over; what was answered from where it was sent to is a way.
 */
export function bestPath(spec: WorldSpec, a: number, b: number): PathClass | undefined {
  const hosts = spec.hosts.map((host, index) => (index === a || index === b ? host : { ...host, places: [] }))
  const copy = { ...spec, hosts }
  const key = JSON.stringify([copy, a, b])
  if (!known.has(key)) known.set(key, tryAll(copy, a, b))
  return known.get(key)
}

function tryAll(spec: WorldSpec, a: number, b: number): PathClass | undefined {
  const internet = new SimulatedInternet(spec, { random: seeded(1) })
  const [one, other] = [new Puncher(internet, a), new Puncher(internet, b)]
  internet.timeline.advance(1000)
  one.learn(other.candidates)
  other.learn(one.candidates)
  for (let round = 0; round < 8; round++) {
    one.punch()
    other.punch()
    internet.timeline.advance(250)
  }
  // What works in one direction works in the other: the answers went that way.
  const found = [...one.found, ...other.found]
  return RANKS.find((rank) => found.includes(rank))
}

/** One end: asks with `?`, number and nothing else; answers with `!`, number and where the question came from. */
class Puncher {
  readonly found: PathClass[] = []
  readonly #internet: SimulatedInternet
  readonly #host: SimulatedHost
  readonly #pool: CandidatePool
  readonly #targets = new Map<string, HostPort>()
  readonly #asked: TransportAddress[] = []

  constructor(internet: SimulatedInternet, index: number) {
    this.#internet = internet
    this.#host = internet.host(index)
    this.#host.onDatagram = (payload, from) => this.#receive(payload, from)
    this.#pool = new CandidatePool(internet, index, () => {})
    this.#pool.gather()
  }

  get candidates(): readonly HostPort[] {
    return this.#pool.candidates
  }

  learn(addresses: readonly HostPort[]): void {
    for (const { address, port } of addresses) this.#targets.set(formatTransport({ address, port }), { address, port })
  }

  punch(): void {
    for (const target of this.#targets.values()) {
      this.#ask(target)
      if (familyOf(target.address) !== 4) continue
      for (const relay of this.#host.allocations.keys()) this.#ask({ ...target, relay })
    }
  }

  #ask(to: TransportAddress): void {
    this.#host.send(Buffer.from(`?${this.#asked.push(to) - 1} ${this.#host.name}`), to)
  }

  #receive(payload: Buffer, from: TransportAddress): void {
    if (this.#pool.receive(payload, from)) return
    const [text = '', ...rest] = payload.toString('latin1').split(' ')
    const number = text.slice(1)
    if (text.startsWith('?') && rest.join(' ') !== this.#host.name) {
      this.learn([from])
      this.#host.send(Buffer.from(`!${number} ${from.address}`), from)
      return
    }
    const asked = this.#asked[Number(number)]
    if (!text.startsWith('!') || !asked || formatTransport(asked) !== formatTransport(from)) return
    const seenAs = this.#internet.classOf({ address: rest[0] ?? '', port: 0 })
    this.found.push(worse(this.#internet.classOf(asked), seenAs))
  }
}
