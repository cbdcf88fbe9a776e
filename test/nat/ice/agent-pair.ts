import { type LocalCandidate, priorityOf } from '../../../daemon/nat/candidate.ts'
import {
  IceAgent,
  type IceAgentOptions,
  type IceCredentials,
  type SelectedPath,
} from '../../../daemon/nat/ice/agent.ts'
import { newCredentials } from '../../../daemon/nat/ice/credentials.ts'
import { IceMux } from '../../../daemon/nat/ice/mux.ts'
import { StunMessage } from '../../../daemon/nat/stun/message.ts'
import { formatTransport, type TransportAddress } from '../../../daemon/nat/transport-address.ts'
import { Refusals } from '../../../daemon/refusals.ts'
import { seeded, seededBytes } from '../../datagram/random.ts'

/** An address of an end, and through which of its relays it is reached. */
export function candidate(
  kind: LocalCandidate['kind'],
  address: string,
  { port = 47_800, local = 65_535, relay }: { port?: number; local?: number; relay?: string } = {},
): LocalCandidate {
  const foundation = `${kind}${address}`
  return {
    kind,
    address,
    port,
    priority: priorityOf(kind, local),
    foundation,
    interface: '',
    ...(relay !== undefined && { relay }),
  }
}

interface Packet {
  readonly bytes: Buffer
  readonly from: End
  readonly to: TransportAddress
  readonly at: number
}

/** What the wire does with a packet: undefined for what gets lost, else delays in milliseconds, one for each copy. */
export type Fate = (packet: Packet) => readonly number[]

/** One end: an agent, its mux, and what both told. */
export class End {
  readonly agent: IceAgent
  readonly refusals = new Refusals()
  readonly mux = new IceMux({ refusals: this.refusals })
  readonly selections: { readonly at: number; readonly path: SelectedPath | undefined; readonly reason: string }[] = []
  readonly failures: { readonly at: number; readonly reason: string }[] = []
  readonly measured: SelectedPath[] = []
  credentials: IceCredentials
  readonly #wire: Wire
  candidates: readonly LocalCandidate[]

  constructor(wire: Wire, options: Partial<IceAgentOptions>, candidates: readonly LocalCandidate[], seed: number) {
    this.#wire = wire
    const random = seededBytes(seeded(seed))
    this.credentials = newCredentials(random)
    this.candidates = candidates
    this.agent = new IceAgent(
      { now: wire.now, random, isControlling: false, local: this.credentials, families: [4, 6], ...options },
      {
        output: (packet, to) => wire.send(this, packet, to),
        selected: (path, reason) => void this.selections.push({ at: wire.now, path, reason }),
        failed: (reason) => void this.failures.push({ at: wire.now, reason }),
        measured: (path) => void this.measured.push(path),
      },
    )
    this.mux.register(this.agent)
    this.agent.setLocal(candidates, wire.now)
  }

  get path(): string | undefined {
    const { selected } = this.agent
    return selected && formatTransport(selected.to)
  }

  /** Hears what the other one is. */
  learn(other: End): void {
    this.agent.setRemote(other.credentials, other.candidates, this.#wire.now)
  }

  /** Has other candidates from now on. */
  become(candidates: readonly LocalCandidate[]): void {
    this.candidates = candidates
    this.agent.setLocal(candidates, this.#wire.now)
  }

  restart(credentials: IceCredentials): void {
    this.credentials = credentials
    this.agent.restart(credentials, this.#wire.now)
  }
}

/** Two ends, or more, in virtual time. Who sends from where is decided by what it sends to: see `source`. */
export class Wire {
  now = 1000
  /** Decides on all that is random. */
  seed = 1
  readonly ends: End[] = []
  readonly sent: Packet[] = []
  fate: Fate = () => [10]
  /** The address that a packet seems to come from; undefined: it cannot be sent, and nobody says so. */
  source: (from: End, to: TransportAddress) => TransportAddress | undefined = (from, to) => {
    const isSixth = to.address.includes(':')
    return from.candidates.find((one) =>
      to.relay === undefined ? one.kind === 'host' && one.address.includes(':') === isSixth : one.relay === to.relay,
    )
  }
  #queue: { readonly at: number; readonly order: number; readonly run: () => void }[] = []
  #order = 0

  end(candidates: readonly LocalCandidate[], options: Partial<IceAgentOptions> = {}): End {
    const end = new End(this, options, candidates, this.seed + this.ends.length)
    this.ends.push(end)
    return end
  }

  send(from: End, bytes: Buffer, to: TransportAddress): void {
    const packet = { bytes, from, to, at: this.now }
    this.sent.push(packet)
    for (const delay of this.fate(packet)) this.after(delay, () => this.#deliver(packet))
  }

  after(delay: number, run: () => void): void {
    this.#queue.push({ at: this.now + delay, order: this.#order++, run })
  }

  /** Lets time pass; what falls due happens in order. */
  advance(ms: number): void {
    const until = this.now + ms
    for (let steps = 0; ; steps++) {
      if (steps > 200_000) throw new Error(`time stands still at ${this.now}`)
      const packets = this.#queue.reduce((first, one) => Math.min(first, one.at), Number.POSITIVE_INFINITY)
      const ticks = Math.min(...this.ends.map(({ agent }) => agent.deadline))
      const next = Math.min(packets, ticks)
      if (next > until) break
      this.now = Math.max(this.now, next)
      const due = this.#queue.filter(({ at }) => at <= this.now).sort((a, b) => a.at - b.at || a.order - b.order)
      this.#queue = this.#queue.filter(({ at }) => at > this.now)
      for (const { run } of due) run()
      for (const { agent } of this.ends) if (agent.deadline <= this.now) agent.tick(this.now)
    }
    this.now = until
  }

  #deliver({ bytes, from, to }: Packet): void {
    const source = this.source(from, to)
    if (!source) return
    for (const end of this.ends) {
      const own = end.candidates.find((one) => one.address === to.address && one.port === to.port)
      if (!own || end === from) continue
      const { address, port } = source
      end.mux.receive(
        StunMessage.decode(bytes),
        own.relay === undefined ? { address, port } : { address, port, relay: own.relay },
        this.now,
      )
    }
  }
}

/** Two ends with these candidates that know each other from the beginning; the first one controls. */
export function connect(
  a: readonly LocalCandidate[],
  b: readonly LocalCandidate[],
  prepare: (wire: Wire) => void = () => {},
): { readonly wire: Wire; readonly a: End; readonly b: End } {
  const wire = new Wire()
  prepare(wire)
  const one = wire.end(a, { isControlling: true })
  const other = wire.end(b)
  one.learn(other)
  other.learn(one)
  return { wire, a: one, b: other }
}
