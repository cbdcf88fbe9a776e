import { isIP } from 'node:net'
import { plainAddress } from '../../network/addresses.ts'
import { formatHostPort } from '../../network/network.ts'
import type { HostPort, Milliseconds } from '../../types.ts'
import { StunMessage } from '../stun/message.ts'
import type { TransportAddress } from '../transport-address.ts'
import { TurnAllocation } from './allocation.ts'
import type { TurnFailure } from './failure.ts'
import { familyOf } from './peer-address.ts'
import { formatTurnServer, type TurnServer } from './server-uri.ts'
import type { OpenStream, Stream } from './stream-connection.ts'

/** Servers that one sends us to in a row (RFC 8489 section 10). */
const MAX_HOPS = 3
/** Addresses of one name that are tried. */
const MAX_ADDRESSES = 4
const FIRST_REST: Milliseconds = 1000
const MAX_REST: Milliseconds = 60_000
/** A relay that lasted so long was a good one: the next failure is the first again. */
const PROVEN: Milliseconds = 60_000

/**
 * `idle`: not wanted; `trying`: no answer yet; `ready`: it answered, and nothing is reserved; `open`: it relays; `resting`: it failed and is
 * tried again later.
 */
export type RelayServerState = 'idle' | 'trying' | 'ready' | 'open' | 'resting' | 'closing'

export interface RelayServerOptions {
  readonly now: () => Milliseconds
  readonly random: (bytes: number) => Buffer
  /** A new id for each allocation: none is ever used again. */
  readonly nextId: () => string
  /** All addresses of a name, the best first; rejects where there are none. */
  readonly resolve: (host: string) => Promise<readonly string[]>
  readonly openStream: OpenStream
  readonly sendUdp: (packet: Buffer, to: HostPort) => void
  /** True where the UDP port has the family. */
  readonly hasFamily: (family: 4 | 6) => boolean
  readonly data: (packet: Buffer, from: TransportAddress) => void
  /** Its state is another. */
  readonly changed: (server: RelayServer) => void
}

/** Where a server is, and what its certificate is to say. */
interface Target extends HostPort {
  readonly name: string
}

/** One of the servers that are set: found, asked, and asked again when it fails; at most one allocation at a time. */
export class RelayServer {
  #server: TurnServer
  readonly #options: RelayServerOptions
  #state: RelayServerState = 'idle'
  /** It is to reserve a relay as soon as it answers. */
  #isChosen = false
  /** Counts attempts: what belongs to an earlier one has no say. */
  #attempt = 0
  #targets: Target[] = []
  #target: Target | undefined
  #visited = new Set<string>()
  #allocation: TurnAllocation | undefined
  #stream: Stream | undefined
  /** Nothing came over the stream yet. */
  #isSilent = true
  #id = ''
  #openedAt: Milliseconds = 0
  #failures = 0
  #reason: string | undefined
  #retryAt: Milliseconds = Number.POSITIVE_INFINITY
  #closed: (() => void) | undefined

  constructor(server: TurnServer, options: RelayServerOptions) {
    this.#server = server
    this.#options = options
  }

  get server(): TurnServer {
    return this.#server
  }

  get state(): RelayServerState {
    return this.#state
  }

  /** The server's URI, without name and password. */
  get uri(): string {
    return formatTurnServer(this.server)
  }

  /** Why it failed last; none once it is open. */
  get reason(): string | undefined {
    return this.#reason
  }

  get isChosen(): boolean {
    return this.#isChosen
  }

  /** While it is open. */
  get allocation(): TurnAllocation | undefined {
    return this.#state === 'open' ? this.#allocation : undefined
  }

  /** Of the allocation. */
  get id(): string {
    return this.#id
  }

  get roundTrip(): Milliseconds | undefined {
    return this.#allocation?.roundTrip
  }

  get deadline(): Milliseconds {
    return Math.min(this.#allocation?.deadline ?? Number.POSITIVE_INFINITY, this.#retryAt)
  }

  /** Finds out whether it is there. */
  try(): void {
    if (this.#state === 'idle') this.#start()
  }

  /** Has it reserve a relay. */
  choose(): void {
    this.#isChosen = true
    if (this.#state === 'ready') this.#allocation?.allocate(this.#options.now())
    else this.try()
  }

  /** Gives back what it has; resolves once that is done, which takes a second at most. */
  stop(): Promise<void> {
    this.#isChosen = false
    this.#retryAt = Number.POSITIVE_INFINITY
    if (this.#state !== 'closing') this.#attempt++
    if (!this.#allocation || this.#state === 'resting') {
      this.#discard()
      this.#enter('idle')
      return Promise.resolve()
    }
    const done = new Promise<void>((resolve) => {
      const before = this.#closed
      this.#closed = () => {
        before?.()
        resolve()
      }
    })
    this.#enter('closing')
    this.#allocation.close(this.#options.now())
    return done
  }

  /**
   * Takes another name and password for the same server. A relay that is open is kept with those it was reserved with (RFC 8656 section 7.3):
   * servers hand out new ones every few hours, and sessions shall not move for that.
   */
  renew(server: TurnServer): void {
    this.#server = server
    if (this.#state === 'trying' || this.#state === 'ready' || this.#state === 'resting') this.#start()
  }

  /** Forgets how often it failed, and asks at once where that waited. */
  networkChanged(): void {
    const now = this.#options.now()
    this.#failures = 0
    if (this.#state === 'resting' || this.#state === 'trying') return this.#start()
    if (this.#state !== 'open') return
    if (this.#stream && this.#allocation?.isMobile && this.#target) this.#connect(this.#target)
    else this.#allocation?.networkChanged(now)
  }

  /** True for the address that we talk to over UDP. */
  isAt({ address, port }: HostPort): boolean {
    const target = this.#target
    return this.server.transport === 'udp' && target?.port === port && target.address === address
  }

  receive(message: StunMessage): boolean {
    return this.#allocation?.receive(message, this.#options.now()) ?? false
  }

  receiveChannelData(packet: Buffer): boolean {
    return this.#allocation?.receiveChannelData(packet, this.#options.now()) ?? false
  }

  /** The UDP port cannot send to its address. */
  sendFailed(code: string): void {
    if (this.#state === 'trying') this.#unreachable(`there is no way to the server from this network (${code})`)
  }

  tick(): void {
    const now = this.#options.now()
    if (now >= this.#retryAt) this.#start()
    this.#allocation?.tick(now)
  }

  #start(): void {
    this.#discard()
    this.#retryAt = Number.POSITIVE_INFINITY
    this.#visited = new Set()
    this.#enter('trying')
    const attempt = ++this.#attempt
    const { host } = this.server
    if (isIP(host) !== 0) return this.#found([host])
    this.#options.resolve(host).then(
      (addresses) => attempt === this.#attempt && this.#found(addresses),
      () => attempt === this.#attempt && this.#fail({ reason: `the name ${host} has no address here`, rest: 0 }),
    )
  }

  #found(addresses: readonly string[]): void {
    const { host, port, transport } = this.server
    const isUsable = (address: string): boolean =>
      isIP(address) !== 0 && (transport !== 'udp' || this.#options.hasFamily(familyOf(address)))
    this.#targets = addresses
      // As they are spelled where packets come from.
      .map(plainAddress)
      .filter(isUsable)
      .slice(0, MAX_ADDRESSES)
      .map((address) => ({ address, port, name: host }))
    if (this.#targets.length > 0) return this.#next()
    const why =
      addresses.length === 0 ? 'has no address' : 'has only addresses of a family that this host does not have'
    this.#fail({ reason: `the server ${why}`, rest: 0 })
  }

  #next(): void {
    const target = this.#targets.shift()
    if (!target) return
    this.#visited.add(formatHostPort(target))
    this.#target = target
    this.#allocation = this.#newAllocation()
    if (this.server.transport === 'udp') this.#ask()
    else this.#connect(target)
  }

  #ask(): void {
    const now = this.#options.now()
    if (this.#isChosen) this.#allocation?.allocate(now)
    else this.#allocation?.probe(now)
  }

  #connect(target: Target): void {
    const { transport } = this.server
    if (transport === 'udp') return
    this.#stream?.close()
    this.#isSilent = true
    const stream = this.#options.openStream(
      { ...target, transport },
      {
        opened: () => {
          if (this.#state === 'open') this.#allocation?.reconnected(this.#options.now())
          else this.#ask()
        },
        message: (packet) => {
          if (this.#stream === stream) this.#fromStream(packet)
        },
        closed: (reason) => {
          if (this.#stream === stream) this.#disconnected(reason)
        },
      },
    )
    this.#stream = stream
  }

  #fromStream(packet: Buffer): void {
    this.#isSilent = false
    if ((packet[0] as number) >= 0x40) {
      this.receiveChannelData(packet)
      return
    }
    let message: StunMessage
    try {
      message = StunMessage.decode(packet)
    } catch {
      return this.#disconnected('the server sent something that is no STUN message')
    }
    this.receive(message)
  }

  #disconnected(reason: string): void {
    const { state } = this
    this.#stream?.close()
    if (state === 'closing') return this.#end()
    // Kept by the server for a while: another connection takes it over. One over which nothing comes is the end of it.
    if (state === 'open' && this.#allocation?.isMobile && this.#target && !this.#isSilent)
      return this.#connect(this.#target)
    this.#unreachable(reason)
  }

  #newAllocation(): TurnAllocation {
    const { random, nextId, data, sendUdp } = this.#options
    const { username, password, transport, channels = 'all' } = this.server
    this.#id = nextId()
    const allocation: TurnAllocation = new TurnAllocation(
      { id: this.#id, username, password, isStream: transport !== 'udp', channels, random },
      {
        output: (packet, isRequest) => {
          if (transport !== 'udp') this.#stream?.send(packet, isRequest)
          else if (this.#target) sendUdp(packet, this.#target)
        },
        data,
        changed: () => {
          if (this.#allocation === allocation) this.#allocationChanged(allocation)
        },
      },
    )
    return allocation
  }

  #allocationChanged(allocation: TurnAllocation): void {
    const now = this.#options.now()
    if (allocation.state === 'challenged') {
      if (this.#isChosen) return allocation.allocate(now)
      this.#enter('ready')
    }
    if (allocation.state === 'allocated') {
      this.#openedAt = now
      this.#reason = undefined
      this.#enter('open')
    }
    if (allocation.state === 'closed') this.#end()
    if (allocation.state === 'failed' && allocation.failure) this.#allocationFailed(allocation.failure)
  }

  #allocationFailed(failure: TurnFailure): void {
    if (this.#state === 'closing') return this.#end()
    if (failure.alternate) return this.#redirected(failure, failure.alternate)
    if (this.#state === 'trying' && failure.rest === 0 && this.#targets.length > 0)
      return this.#unreachable(failure.reason)
    this.#fail(failure)
  }

  #redirected(failure: TurnFailure, alternate: NonNullable<TurnFailure['alternate']>): void {
    const { address, port, name = this.server.host } = alternate
    const key = formatHostPort(alternate)
    const told = `${failure.reason} (${key})`
    const isUdp = this.server.transport === 'udp'
    if (this.#visited.has(key) || this.#visited.size > MAX_HOPS)
      return this.#fail({ reason: 'the servers send us from one to another in a circle', rest: failure.rest })
    if (isUdp && !this.#options.hasFamily(familyOf(address)))
      return this.#fail({ reason: `${told}, which cannot be reached from here`, rest: failure.rest })
    this.#discard()
    this.#reason = told
    this.#enter('trying')
    this.#targets = [{ address, port, name }]
    this.#next()
  }

  /** This address does not answer; perhaps another one of the server does. */
  #unreachable(reason: string): void {
    if (this.#state === 'open' || this.#targets.length === 0) return this.#fail({ reason, rest: 0 })
    this.#discard()
    this.#reason = reason
    this.#next()
  }

  #fail({ reason, rest }: TurnFailure): void {
    const now = this.#options.now()
    if (this.#state === 'open' && now >= this.#openedAt + PROVEN) this.#failures = 0
    const isFirst = this.#state === 'open' && this.#failures === 0
    const pause = isFirst ? 0 : Math.min(FIRST_REST * 2 ** this.#failures, MAX_REST)
    this.#failures = Math.min(this.#failures + 1, 16)
    this.#discard()
    this.#attempt++
    this.#isChosen = false
    this.#reason = reason
    // Not all clients of a server that comes back are to come at the same moment.
    const jitter = 1 + (this.#options.random(1)[0] as number) / 1024
    this.#retryAt = now + Math.max(pause, rest) * jitter
    this.#enter('resting')
  }

  #end(): void {
    this.#discard()
    this.#enter('idle')
    const closed = this.#closed
    this.#closed = undefined
    closed?.()
  }

  #discard(): void {
    this.#allocation = undefined
    this.#stream?.close()
    this.#stream = undefined
    this.#target = undefined
  }

  #enter(state: RelayServerState): void {
    this.#state = state
    this.#options.changed(this)
  }

  /** When it is tried again, while it rests. */
  get retryAt(): Milliseconds | undefined {
    return this.#state === 'resting' ? this.#retryAt : undefined
  }
}
