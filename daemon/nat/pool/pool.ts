import { createHash } from 'node:crypto'
import type { Clock, Timer } from '../../clock.ts'
import { formatHostPort, type NetworkInterface } from '../../network/network.ts'
import type { Share } from '../../peers/peer-policy.ts'
import type { HostPort, Milliseconds } from '../../types.ts'
import { type CandidateKind, type LocalCandidate, MAX_REMOTE_CANDIDATES, priorityOf } from '../candidate.ts'
import type { Description } from '../rendezvous/description.ts'
import { StunBinding } from '../stun/binding.ts'
import type { StunMessage } from '../stun/message.ts'
import type { CandidateSource } from './candidate-source.ts'
import { hostAddresses } from './host-candidates.ts'
import { type Resolve, Resolver } from './resolver.ts'
import type { StunServer } from './stun-server.ts'

/** STUN servers that are asked. */
const MAX_SERVERS = 8
/** How long candidates are kept fresh once nobody wants them. */
const LINGER: Milliseconds = 60_000
/** How often it is looked whether a name has been resolved. */
const RESOLVE_LOOK: Milliseconds = 100
/** Between the preferences of candidates of one kind (RFC 8445 section 5.1.2.1). */
const STEP = 256

interface PoolOptions {
  readonly clock: Clock
  /** The UDP port; 0 while there is none. */
  readonly port: () => number
  readonly hasFamily: (family: 4 | 6) => boolean
  readonly send: (packet: Buffer, to: HostPort) => void
  /** Random bytes that nobody can guess. */
  readonly random: (bytes: number) => Buffer
  readonly resolve: Resolve
  readonly relays: CandidateSource
  /** Ports that routers forward on request. */
  readonly mapped?: CandidateSource
}

/** What is known of one STUN server over one family, for people. */
export interface StunStatus {
  readonly server: string
  readonly state: StunBinding['state'] | 'unresolved'
  readonly mapped: HostPort | undefined
  readonly roundTrip: Milliseconds | undefined
  readonly detail: string
}

interface Asked {
  readonly server: StunServer
  readonly binding: StunBinding
}

/**
 * The candidates of this host, gathered once for all peers (RFC 8445 section 5.1): those of its interfaces, how it looks to STUN servers, its
 * relays, and mapped ports. Servers are asked only while somebody wants to be reached, and after a change of the network at once.
 */
export class CandidatePool {
  readonly #options: PoolOptions
  readonly #resolver: Resolver
  readonly #listeners = new Set<() => void>()
  readonly #stops: (() => void)[]
  #servers: readonly StunServer[] = []
  #share: Share = 'all'
  #interfaces: readonly NetworkInterface[] = []
  /** By server, family and address. */
  readonly #asked = new Map<string, Asked>()
  /** The other address of the only server that answers: asked once, for what the NAT does with it. */
  #second: StunBinding | undefined
  #wants = 0
  #isActive = false
  #linger: Timer | undefined
  #releases: (() => void)[] = []
  #timer: Timer | undefined
  #candidates: readonly LocalCandidate[] = []
  #told = ''

  constructor(options: PoolOptions) {
    const { clock, resolve, relays, mapped } = options
    this.#options = options
    this.#resolver = new Resolver(clock, resolve, () => this.#ask())
    this.#stops = [relays, mapped].flatMap((source) => (source ? [source.onChange(() => this.#update())] : []))
  }

  /** What peers may be told now, best first: each as far as the policy lets it. */
  candidates(): readonly LocalCandidate[] {
    return this.#candidates
  }

  /** Calls `listener` after each change of the candidates; returns the way to stop that. */
  onChange(listener: () => void): () => void {
    this.#listeners.add(listener)
    return () => this.#listeners.delete(listener)
  }

  /** Has candidates gathered and kept fresh until the function that it returns is called, and for a minute after that. */
  want(): () => void {
    this.#wants++
    this.#linger?.cancel()
    if (!this.#isActive) this.#begin()
    let isHeld = true
    return () => {
      if (isHeld && --this.#wants === 0) this.#linger = this.#options.clock.after(LINGER, () => this.#end())
      isHeld = false
    }
  }

  /** The settings: at most eight servers count. `share`: the most that any peer may be told of. */
  configure(servers: readonly StunServer[], share: Share): void {
    this.#servers = servers.slice(0, MAX_SERVERS)
    this.#share = share
    this.#ask()
    this.#update()
  }

  /** The interfaces there are now. Servers are asked again, since the way to them may be another one. */
  networkChanged(interfaces: readonly NetworkInterface[]): void {
    this.#interfaces = interfaces
    this.#ask()
    const now = this.#options.clock.now()
    this.#second = undefined
    for (const { binding } of this.#asked.values()) binding.refresh(now)
    this.#update()
    this.#schedule()
  }

  /** Takes a STUN message; true when it was an answer to a question of ours. */
  receive(message: StunMessage, from: HostPort): boolean {
    const now = this.#options.clock.now()
    for (const binding of this.#bindings()) {
      if (!binding.receive(message, from, now)) continue
      this.#schedule()
      return true
    }
    return false
  }

  /** What is known of the network, so that a failure can be explained. */
  summary(): Description['network'] {
    const bindings = [...this.#asked.values()].map(({ binding }) => binding)
    const known = bindings.filter(({ mapped }) => mapped)
    const isSilent = bindings.length > 0 && bindings.every(({ state }) => state === 'silent' || state === 'refused')
    return {
      udp: known.length > 0 ? true : isSilent ? false : null,
      mapping: this.#mapping(known),
      relay: this.#options.relays.candidates().length > 0,
    }
  }

  /** Every server that is set, for status. */
  state(): readonly StunStatus[] {
    return this.#servers.flatMap((server): StunStatus[] => {
      // Settings that are read anew give servers that are equal, and not the same.
      const isSame = ({ host, port }: StunServer): boolean => host === server.host && port === server.port
      const asked = [...this.#asked.values()].filter((one) => isSame(one.server))
      const name = formatHostPort({ address: server.host, port: server.port })
      if (asked.length === 0)
        return [{ server: name, state: 'unresolved', mapped: undefined, roundTrip: undefined, detail: '' }]
      return asked.map(({ binding: { state, mapped, roundTrip, detail } }) => ({
        server: name,
        state,
        mapped,
        roundTrip,
        detail,
      }))
    })
  }

  /** An address of the first STUN server that has one, IPv4 before IPv6; undefined where none is known in time. */
  async resolvedServer(patience: Milliseconds): Promise<HostPort | undefined> {
    const { clock, hasFamily } = this.#options
    for (let waited = 0; ; waited += RESOLVE_LOOK) {
      for (const { host, port } of this.#servers) {
        const found = oneOfEach(this.#resolver.addresses(host)).find((one) => hasFamily(one.includes(':') ? 6 : 4))
        if (found) return { address: found, port }
      }
      if (waited >= patience || this.#servers.length === 0) return undefined
      await new Promise<void>((resolve) => clock.after(RESOLVE_LOOK, resolve))
    }
  }

  /** Asks every server now. */
  askAnew(): void {
    const now = this.#options.clock.now()
    for (const { binding } of this.#asked.values()) binding.refresh(now)
    this.#schedule()
  }

  /** True while some server has neither answered what it was asked last nor been silent for long. */
  get isUndecided(): boolean {
    return [...this.#asked.values()].some(({ binding }) => binding.isUndecided)
  }

  /** True while servers are asked. */
  get isActive(): boolean {
    return this.#isActive
  }

  /** Safe to call twice. */
  close(): void {
    this.#linger?.cancel()
    this.#end()
    for (const stop of this.#stops) stop()
    this.#listeners.clear()
  }

  #begin(): void {
    const { relays, mapped } = this.#options
    this.#isActive = true
    this.#releases = [relays, mapped].flatMap((source) => (source ? [source.want()] : []))
    this.#ask()
    this.#update()
  }

  #end(): void {
    this.#isActive = false
    this.#timer?.cancel()
    this.#resolver.use([])
    this.#asked.clear()
    this.#second = undefined
    for (const release of this.#releases) release()
    this.#releases = []
    this.#update()
  }

  /** Asks the servers that are set, over each family that there is; those that are asked already go on. */
  #ask(): void {
    if (!this.#isActive) return
    const { clock, random, send, hasFamily } = this.#options
    this.#resolver.use(this.#servers.map(({ host }) => host))
    const wanted = new Set<string>()
    for (const server of this.#share === 'all' || this.#share === 'public' ? this.#servers : [])
      for (const address of oneOfEach(this.#resolver.addresses(server.host))) {
        if (!hasFamily(address.includes(':') ? 6 : 4)) continue
        const key = `${server.host} ${server.port} ${address}`
        wanted.add(key)
        if (this.#asked.has(key)) continue
        const options = { server: { address, port: server.port }, now: clock.now(), random }
        const binding = new StunBinding(options, { output: send, changed: () => this.#update() })
        this.#asked.set(key, { server, binding })
        binding.tick(clock.now())
      }
    for (const key of this.#asked.keys()) {
      if (wanted.has(key)) continue
      this.#asked.delete(key)
      // It may be the other address of this one.
      this.#second = undefined
    }
    this.#schedule()
  }

  /** Those that are asked again in time. */
  #bindings(): readonly StunBinding[] {
    const all = [...this.#asked.values()].map(({ binding }) => binding)
    return this.#second?.state === 'asking' ? [...all, this.#second] : all
  }

  #schedule(): void {
    const { clock } = this.#options
    this.#timer?.cancel()
    const deadline = Math.min(...this.#bindings().map((binding) => binding.deadline))
    if (deadline === Number.POSITIVE_INFINITY) return
    this.#timer = clock.after(Math.max(1, deadline - clock.now()), () => {
      for (const binding of this.#bindings()) binding.tick(clock.now())
      this.#schedule()
    })
  }

  /** One server cannot tell whether another sees the same; many have a second address for that. */
  #askSecond(): void {
    const { clock, random, send } = this.#options
    const known = [...this.#asked.values()].filter(
      ({ binding }) => binding.mapped && !binding.server.address.includes(':'),
    )
    const [only, another] = known
    const other = another ? undefined : only?.binding.other
    if (!other || this.#second) return
    const options = { server: other, now: clock.now(), random }
    this.#second = new StunBinding(options, { output: send, changed: () => this.#update() })
    this.#second.tick(clock.now())
    this.#schedule()
  }

  #update(): void {
    this.#askSecond()
    this.#candidates = this.#gather()
    // What is known of the network goes to peers with the candidates.
    const told = JSON.stringify([this.#candidates, this.summary()])
    if (told === this.#told) return
    this.#told = told
    for (const listener of [...this.#listeners]) listener()
  }

  #gather(): readonly LocalCandidate[] {
    const { port, relays, mapped } = this.#options
    if (this.#share === 'none' || port() === 0 || !this.#isActive) return []
    const relayed = relays.candidates()
    if (this.#share === 'relay') return relayed
    const hosts = hostAddresses(this.#interfaces).map(({ address, interface: on }, index) =>
      candidate('host', { address, port: port() }, index, { interface: on, base: address, server: '' }),
    )
    const reflexive = [...this.#asked.values()].flatMap(({ server, binding }, index) => {
      if (!binding.mapped) return []
      return [
        candidate('srflx', binding.mapped, index, { interface: '', base: family(binding.mapped), server: server.host }),
      ]
    })
    const all = [...hosts, ...(mapped?.candidates() ?? []), ...reflexive, ...relayed]
    const first = new Map(all.toReversed().map((one) => [formatHostPort(one), one]))
    return all.filter((one) => first.get(formatHostPort(one)) === one).slice(0, MAX_REMOTE_CANDIDATES)
  }

  /** Whether two servers saw the same. */
  #mapping(known: readonly StunBinding[]): Description['network']['mapping'] {
    const own = new Set(hostAddresses(this.#interfaces).map(({ address }) => address))
    const all = this.#second?.mapped ? [...known, this.#second] : known
    const fours = all.filter(({ server }) => !server.address.includes(':'))
    const seen = new Set(fours.map(({ mapped }) => mapped && formatHostPort(mapped)))
    if (fours.length === 0) return 'unknown'
    if (fours.every(({ mapped }) => mapped && own.has(mapped.address))) return 'none'
    if (seen.size > 1) return 'each'
    return new Set(fours.map(({ server }) => server.address)).size > 1 ? 'same' : 'unknown'
  }
}

/** The first address of each family. */
function oneOfEach(addresses: readonly string[]): readonly string[] {
  const first = (isSix: boolean) => addresses.find((address) => address.includes(':') === isSix)
  return [first(false), first(true)].filter((address) => address !== undefined)
}

const family = ({ address }: HostPort): string => (address.includes(':') ? '6' : '4')

/** `index`: its place among those of its kind, best first. */
function candidate(
  kind: Exclude<CandidateKind, 'prflx' | 'relay'>,
  at: HostPort,
  index: number,
  { interface: on, base, server }: { readonly interface: string; readonly base: string; readonly server: string },
): LocalCandidate {
  const foundation = createHash('sha256').update(`${kind} ${base} ${server}`).digest('base64').slice(0, 8)
  return { kind, ...at, priority: priorityOf(kind, Math.max(0, 65_535 - index * STEP)), foundation, interface: on }
}
