import { Duplex } from 'node:stream'
import { Connector, type ElectedLink } from '../../daemon/connect/connector.ts'
import { PartylineError } from '../../daemon/errors.ts'
import type { Link } from '../../daemon/link/link.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { HostPort, Milliseconds, PeerId } from '../../daemon/types.ts'
import { VirtualClock } from '../virtual-clock.ts'

/** Numbers from a seed (mulberry32): the same seed, the same run. */
function randomFrom(seed: number): () => number {
  let state = seed
  return () => {
    state = (state + 0x6d2b79f5) | 0
    let mixed = Math.imul(state ^ (state >>> 15), 1 | state)
    mixed = (mixed + Math.imul(mixed ^ (mixed >>> 7), 61 | mixed)) ^ mixed
    return ((mixed ^ (mixed >>> 14)) >>> 0) / 2 ** 32
  }
}

/** One end of a simulated link: what is written arrives at the other end after a delay, in order. */
class SimulatedSocket extends Duplex {
  other: SimulatedSocket | undefined
  readonly #clock: VirtualClock
  readonly #delay: () => Milliseconds
  readonly #underWay: ((other: SimulatedSocket) => void)[] = []
  #arrival: Milliseconds = 0
  #severed = false

  constructor(clock: VirtualClock, delay: () => Milliseconds) {
    super({ allowHalfOpen: true })
    this.#clock = clock
    this.#delay = delay
    this.on('error', () => {})
  }

  /** From now on nothing gets through in either direction, and nobody is told. */
  sever(): void {
    this.#severed = true
    if (this.other) this.other.#severed = true
  }

  override _read(): void {}

  override _write(chunk: Buffer, _encoding: string, done: () => void): void {
    this.#tell((other) => other.push(chunk))
    done()
  }

  override _final(done: () => void): void {
    this.#tell((other) => other.push(null))
    done()
  }

  override _destroy(_error: Error | null, done: () => void): void {
    this.#tell((other) => other.destroy())
    done()
  }

  #tell(what: (other: SimulatedSocket) => void): void {
    this.#arrival = Math.max(this.#arrival, this.#clock.now() + this.#delay())
    // The first that was sent arrives first, even where two moments differ by a rounding only.
    this.#underWay.push(what)
    this.#clock.after(this.#arrival - this.#clock.now(), () => {
      const first = this.#underWay.shift()
      if (!this.#severed && this.other && !this.other.destroyed) first?.(this.other)
    })
  }
}

/** Both ends of a link. */
interface Pair {
  readonly near: SimulatedSocket
  readonly far: SimulatedSocket
}

/** What the network knows of a host. */
export interface SimulatedNode {
  readonly peer: PeerId
  readonly connector: Connector
  /** Counts its starts. */
  readonly life: number
}

/** What every simulated host's connector is made of; the rest is what lies above it. */
export function connectorOf<H extends SimulatedNode>(
  host: H,
  network: SimulatedNetwork<H>,
  above: Pick<ConstructorParameters<typeof Connector>[0], 'holds' | 'suspend' | 'onElected' | 'onStream'>,
): Connector {
  const { peer, life } = host
  return new Connector({
    self: peer,
    instance: `${peer}${life}`.padStart(16, '0'),
    clock: network.clock,
    logger: silentLogger,
    refusals: new Refusals(),
    dial: (target, _expected, signal) => network.dial(host, target, signal),
    addressesOf: (other) => [{ address: '10.0.0.1', port: network.portOf(other), interface: '', lastGood: false }],
    interfaces: () => [],
    isBlocked: () => false,
    name: () => peer,
    port: () => network.portOf(peer),
    greetingTimeout: 5000,
    ...above,
  })
}

/** A host of the simulation: a real connector, and above it sessions that end with their link. */
export class SimulatedHost implements SimulatedNode {
  readonly peer: PeerId
  connector: Connector
  session: string | undefined
  /** What went against the rules; empty if all is well. */
  readonly faults: string[] = []
  readonly #network: SimulatedNetwork<SimulatedHost>
  readonly #known = new Set<string>()
  #link: Link | undefined
  #life = 0

  constructor(network: SimulatedNetwork<SimulatedHost>, peer: PeerId) {
    this.peer = peer
    this.#network = network
    this.connector = this.#begin()
  }

  get life(): number {
    return this.#life
  }

  /** Its keepalive finds the session dead. */
  loseSession(): void {
    this.#link?.destroy()
    this.#link = undefined
    this.session = undefined
  }

  /** The daemon is killed and started again: what was there is gone, and the system closes its connections. */
  restart(): void {
    this.connector.stop()
    this.session = undefined
    this.#link = undefined
    this.connector = this.#begin()
  }

  #begin(): Connector {
    this.#life++
    return connectorOf<SimulatedHost>(this, this.#network, {
      holds: () => ({ session: '', heard: false }),
      suspend: () => undefined,
      onElected: (elected) => this.#elected(elected),
      onStream: () => false,
    })
  }

  #elected({ link, session, resumedAt }: ElectedLink): void {
    if (this.#known.has(session)) this.faults.push(`${session} was elected twice`)
    if (resumedAt !== undefined) this.faults.push(`${session} is resumed, and nobody holds it`)
    this.#known.add(session)
    this.#link?.destroy()
    this.#link = link
    this.session = session
    const ended = (): void => {
      link.destroy()
      if (this.#link !== link) return
      this.#link = undefined
      this.session = undefined
    }
    link.socket.on('end', ended).on('close', ended).resume()
  }
}

/** Two hosts and the links between them; delays, cuts and reachability come from a seed. */
export class SimulatedNetwork<H extends SimulatedNode> {
  readonly clock = new VirtualClock()
  readonly random: () => number
  readonly hosts: readonly [H, H]
  /** Whose dials get through. */
  readonly reaches = new Map<H, boolean>()
  readonly #pairs = new Set<Pair>()

  constructor(seed: number, make: (network: SimulatedNetwork<H>, peer: PeerId) => H) {
    this.random = randomFrom(seed)
    const names = this.random() < 0.5 ? ['a', 'b'] : ['b', 'a']
    this.hosts = [make(this, names[0] as PeerId), make(this, names[1] as PeerId)]
  }

  /** A moment of up to `most`; short ones are common. */
  delay(most: Milliseconds): Milliseconds {
    return this.random() ** 3 * most
  }

  portOf(peer: PeerId): number {
    return peer === 'a' ? 1 : 2
  }

  async dial(from: H, target: HostPort, signal: AbortSignal): Promise<Link> {
    const to = this.hosts.find(({ peer }) => this.portOf(peer) === target.port) ?? from
    const [lifeFrom, lifeTo] = [from.life, to.life]
    await new Promise<void>((resolve) => this.clock.after(this.delay(300), resolve))
    if (signal.aborted || !this.reaches.get(from) || lifeFrom !== from.life || lifeTo !== to.life)
      throw new PartylineError('network.unreachable', 'refused')
    const near = new SimulatedSocket(this.clock, () => this.delay(200))
    const far = new SimulatedSocket(this.clock, () => this.delay(200))
    near.other = far
    far.other = near
    this.#pairs.add({ near, far })
    // The listening side learns of the link a moment later than the dialling side, as in TLS 1.3.
    this.clock.after(this.delay(200), () => {
      if (lifeTo !== to.life) far.destroy()
      else if (!far.destroyed) void to.connector.accept(linkOf(far, from.peer, this.portOf(from.peer), false), () => {})
    })
    return linkOf(near, to.peer, this.portOf(to.peer), true)
  }

  /** Something happens to one of the links there were: either end is lost at once, or both in silence. */
  hurt(): void {
    const pairs = [...this.#pairs]
    const pair = pairs[Math.floor(this.random() * pairs.length)]
    if (!pair) return
    const { near, far } = pair
    const kind = this.random()
    if (kind < 0.35) near.destroy()
    else if (kind < 0.7) far.destroy()
    else {
      near.sever()
      // The keepalive of whoever uses it finds out, each side at its own time.
      for (const end of [near, far]) this.clock.after(this.random() * 10_000, () => end.destroy())
    }
    this.#pairs.delete(pair)
  }

  /** The cable is cut: every link there is goes silent, and nobody is told. */
  severAll(): void {
    for (const { near } of this.#pairs) near.sever()
    this.#pairs.clear()
  }

  /** Lets time pass, with everything that waits for promises done at each moment. */
  async run(span: Milliseconds): Promise<void> {
    const until = this.clock.now() + span
    for (;;) {
      await settled()
      const next = this.clock.next ?? until
      if (next >= until) break
      this.clock.advance(next - this.clock.now())
    }
    this.clock.advance(until - this.clock.now())
    await settled()
  }
}

const settled = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))

function linkOf(socket: SimulatedSocket, peer: PeerId, port: number, dialled: boolean): Link {
  const at = { address: '10.0.0.1', port }
  return {
    peer,
    carrier: 'tcp',
    dialled,
    local: at,
    remote: at,
    cipher: '',
    group: '',
    exportKey: (label, length) => Buffer.alloc(length, label),
    socket,
    destroy: () => socket.destroy(),
  }
}
