import { type Action, BeaconAgent, type Source } from '../../daemon/discovery/beacon/agent.ts'
import type { Milliseconds, PeerId } from '../../daemon/types.ts'
import { simulatedIdentity } from './simulated-keys.ts'

/** Numbers from 0 to below 1 that a seed determines (mulberry32). */
export function seededRandom(seed: number): () => number {
  let state = seed >>> 0
  return () => {
    state = (state + 0x6d2b79f5) >>> 0
    let mixed = Math.imul(state ^ (state >>> 15), state | 1)
    mixed ^= mixed + Math.imul(mixed ^ (mixed >>> 7), mixed | 61)
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

interface Event {
  readonly at: Milliseconds
  readonly run: () => void
}

/** Events in the order of their time: a binary heap. */
class Agenda {
  readonly #heap: Event[] = []

  get next(): Milliseconds {
    return this.#heap[0]?.at ?? Number.POSITIVE_INFINITY
  }

  add(event: Event): void {
    let at = this.#heap.push(event) - 1
    while (at > 0) {
      const parent = (at - 1) >> 1
      if (this.#time(parent) <= this.#time(at)) break
      this.#swap(at, parent)
      at = parent
    }
  }

  take(): Event | undefined {
    const first = this.#heap[0]
    const last = this.#heap.pop()
    if (!last || this.#heap.length === 0) return first
    this.#heap[0] = last
    for (let at = 0; ; ) {
      const [left, right] = [2 * at + 1, 2 * at + 2]
      const child = this.#time(right) < this.#time(left) ? right : left
      if (this.#time(child) >= this.#time(at)) return first
      this.#swap(at, child)
      at = child
    }
  }

  #time(index: number): Milliseconds {
    return this.#heap[index]?.at ?? Number.POSITIVE_INFINITY
  }

  #swap(a: number, b: number): void {
    const [one, other] = [this.#heap[a], this.#heap[b]]
    if (!one || !other) return
    this.#heap[a] = other
    this.#heap[b] = one
  }
}

interface Weather {
  readonly seed: number
  /** Share of deliveries that are lost, and that come twice. */
  readonly loss?: number
  readonly doubled?: number
  /** Longest delay of a delivery: packets overtake each other within it. */
  readonly delay?: Milliseconds
}

export interface SimulatedHost {
  readonly peer: PeerId
  readonly address: string
  readonly agent: BeaconAgent
  /** Who is there, as far as this host knows. */
  readonly sees: Set<PeerId>
  readonly refused: Map<string, number>
  alive: boolean
}

/** Hosts with a beacon on one LAN, in virtual time. */
export class SimulatedLan {
  readonly #agenda = new Agenda()
  readonly #hosts = new Map<string, SimulatedHost>()
  readonly #random: () => number
  readonly #weather: Required<Weather>
  readonly #ticks = new Map<SimulatedHost, Milliseconds>()
  /** Packets put on the LAN so far, and what they were. */
  readonly sent: { readonly at: Milliseconds; readonly packet: Buffer; readonly from: string }[] = []
  now: Milliseconds = 0

  constructor(weather: Weather) {
    this.#weather = { loss: 0, doubled: 0, delay: 1, ...weather }
    this.#random = seededRandom(weather.seed)
  }

  get hosts(): readonly SimulatedHost[] {
    return [...this.#hosts.values()].filter(({ alive }) => alive)
  }

  join(): SimulatedHost {
    const identity = simulatedIdentity()
    const number = this.#hosts.size + 1
    const hex = (bytes: number): string =>
      Array.from({ length: bytes * 2 }, () => Math.floor(this.#random() * 16).toString(16)).join('')
    const host: SimulatedHost = {
      peer: identity.peer,
      address: `10.${number >> 16}.${(number >> 8) & 255}.${number & 255}`,
      agent: new BeaconAgent(
        { identity, instance: hex(8), port: 47800, random: this.#random, nonce: () => hex(16) },
        `host ${number}`,
        this.now,
      ),
      sees: new Set(),
      refused: new Map(),
      alive: true,
    }
    this.#hosts.set(host.address, host)
    host.agent.setOutlets(['lan'], this.now)
    this.#do(host, host.agent.tick(this.now))
    return host
  }

  /** It says goodbye. */
  leave(host: SimulatedHost): void {
    this.#do(host, host.agent.goodbye())
    host.alive = false
  }

  /** It says nothing. */
  kill(host: SimulatedHost): void {
    host.alive = false
  }

  /** Puts a packet on the LAN in somebody's name. */
  inject(packet: Buffer, from: string, to: SimulatedHost): void {
    this.#deliver(packet, from, to)
  }

  run(duration: Milliseconds): void {
    const until = this.now + duration
    while (this.#agenda.next <= until) {
      const event = this.#agenda.take()
      this.now = event?.at ?? until
      event?.run()
    }
    this.now = until
  }

  /** Every host that lives sees every other, and nobody else. */
  get isComplete(): boolean {
    return this.completeness === 1 && this.hosts.every(({ sees }) => sees.size === this.hosts.length - 1)
  }

  /** The share of hosts that the average host sees, of those it should. */
  get completeness(): number {
    const living = this.hosts
    const seen = living.map(({ sees }) => living.filter(({ peer }) => sees.has(peer)).length)
    return seen.reduce((sum, count) => sum + count, 0) / (living.length * (living.length - 1))
  }

  #do(host: SimulatedHost, actions: readonly Action[]): void {
    for (const action of actions) {
      if (action.kind === 'seen') host.sees.add(action.peer)
      else if (action.kind === 'gone') host.sees.delete(action.peer)
      else if (action.kind === 'refused') host.refused.set(action.code, (host.refused.get(action.code) ?? 0) + 1)
      else this.#send(host, action)
    }
    this.#schedule(host)
  }

  #send(host: SimulatedHost, action: Extract<Action, { kind: 'announce' | 'send' }>): void {
    this.sent.push({ at: this.now, packet: action.packet, from: host.address })
    if (action.kind === 'send') {
      const to = this.#hosts.get(action.to.address)
      if (to) this.#scatter(action.packet, host, to)
    } else for (const to of this.#hosts.values()) if (to !== host) this.#scatter(action.packet, host, to)
  }

  #scatter(packet: Buffer, from: SimulatedHost, to: SimulatedHost): void {
    const { loss, doubled, delay } = this.#weather
    for (let copies = this.#random() < doubled ? 2 : 1; copies > 0; copies--) {
      if (this.#random() < loss) continue
      this.#agenda.add({ at: this.now + this.#random() * delay, run: () => this.#deliver(packet, from.address, to) })
    }
  }

  #deliver(packet: Buffer, from: string, to: SimulatedHost): void {
    if (!to.alive) return
    const source: Source = { address: from, port: 47800, interface: 'eth0' }
    this.#do(to, to.agent.receive(packet, source, this.now))
  }

  /** One tick is planned per host: the earliest that was asked for. */
  #schedule(host: SimulatedHost): void {
    const at = Math.max(this.now + 1, host.agent.deadline)
    if (at >= (this.#ticks.get(host) ?? Number.POSITIVE_INFINITY) || at === Number.POSITIVE_INFINITY) return
    this.#ticks.set(host, at)
    this.#agenda.add({
      at,
      run: () => {
        if (this.#ticks.get(host) !== at) return
        this.#ticks.delete(host)
        if (host.alive) this.#do(host, host.agent.tick(this.now))
      },
    })
  }
}
