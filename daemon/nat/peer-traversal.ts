import { randomBytes } from 'node:crypto'
import type { Clock, Timer } from '../clock.ts'
import { PartylineError, toPartylineError } from '../errors.ts'
import type { Link, LinkPath, PathChange } from '../link/link.ts'
import type { UdxCarrier } from '../link/udx-carrier.ts'
import type { UdxCarriers } from '../link/udx-carriers.ts'
import type { Logger } from '../logger.ts'
import { scopeOf } from '../network/addresses.ts'
import type { NetworkInterface } from '../network/network.ts'
import { TokenBucket } from '../token-bucket.ts'
import type { HostPort, Milliseconds, PeerId, Route } from '../types.ts'
import { BEGIN_ANEW, type ByHand } from './by-hand.ts'
import { isRelayKind, type LocalCandidate } from './candidate.ts'
import { explainFailure } from './failure.ts'
import type { Handshakes } from './handshakes.ts'
import { IceAgent, type IceCredentials, type SelectedPath } from './ice/agent.ts'
import { isCheckable } from './ice/checkable.ts'
import { newCredentials } from './ice/credentials.ts'
import type { IceMux } from './ice/mux.ts'
import type { PairReport } from './ice/pair-report.ts'
import { routeOfPath } from './path-route.ts'
import type { Description, RendezvousSignal } from './rendezvous/description.ts'
import { Rendezvous } from './rendezvous/rendezvous.ts'
import { formatTransport, type TransportAddress } from './transport-address.ts'

/** How long it goes on when nobody here or there wants anything of it. */
const LINGER: Milliseconds = 5000
/** How long a peer's wish for a link counts. */
const THEIR_WISH: Milliseconds = 15_000
/** When those who look are told that there is no way: before their own patience of ten seconds ends. */
const PATIENCE: Milliseconds = 9000
/** Time for a handshake, and the pause before another is tried. Who accepts waits for one that stands in line over there; another one ends it. */
const HANDSHAKE: Readonly<Record<'client' | 'server', Milliseconds>> = { client: 5000, server: 15_000 }
const REDIAL: Milliseconds = 200
/** How long links wait for another path when theirs is gone. */
const PATHLESS: Milliseconds = 3000
/** Addresses of the peer that are passed on, each time that somebody looks; and however often the peer wishes for a link, since it may name anybody's. */
const MAX_TOLD = 4
const TOLD = { rate: 0.5, burst: 2 * MAX_TOLD } as const
/** Links beside a session's own whose handshake is not done. */
const MAX_TAKEN = 64

/** What the traversals of all peers share. */
export interface TraversalParts {
  readonly clock: Clock
  readonly logger: Logger
  readonly mux: IceMux
  readonly carriers: UdxCarriers
  readonly handshakes: Handshakes
  readonly families: () => readonly (4 | 6)[]
  readonly interfaces: () => readonly NetworkInterface[]
  readonly candidates: () => readonly LocalCandidate[]
  readonly network: () => Description['network']
  /** Straight from the port, or through a relay. */
  readonly send: (packet: Buffer, to: TransportAddress) => void
  /** TLS over a carrier. */
  readonly shakeHands: (
    carrier: UdxCarrier,
    role: 'client' | 'server',
    peer: PeerId,
    signal: AbortSignal,
  ) => Promise<Link>
}

interface PeerTraversalOptions extends TraversalParts {
  readonly peer: PeerId
  readonly edition: { readonly instance: string; readonly attempt: number }
  /** True on the side that dials links: the same one as long as the two live. It is the controlling ICE agent too. */
  readonly dials: boolean
  /** True where a packet for the peer may leave towards an address. */
  readonly mayLeave: (to: TransportAddress) => boolean
  /** Set where people carry the descriptions. */
  readonly byHand?: ByHand | undefined
  readonly signal: (signal: RendezvousSignal) => void
  readonly onLink: (link: Link) => void
  /** Where the peer may be reached from outside. */
  readonly onTold: (addresses: readonly HostPort[]) => void
  /** Told what became of every pair. */
  readonly onEnd: (pairs: readonly PairReport[]) => void
}

/** Finds paths to one peer, makes links over them, and moves those as better paths are found and worse ones fail. */
export class PeerTraversal {
  readonly #options: PeerTraversalOptions
  readonly #credentials: IceCredentials
  readonly #agent: IceAgent
  readonly #rendezvous: Rendezvous
  readonly #unregister: () => void
  readonly #closing = new AbortController()
  readonly #looking = new Set<(error: PartylineError) => void>()
  readonly #carriers = new Set<UdxCarrier>()
  /** Addresses of the peer that were passed on since somebody looked last. */
  readonly #told = new Set<string>()
  readonly #toTell: TokenBucket
  /** Links that want to hear of another path. */
  readonly #listeners = new Set<(change: PathChange) => void>()
  /** How often a link was wished for, here and there; and until when their last wish counts. */
  #calls = 0
  #theirCalls = 0
  #theirWishUntil: Milliseconds = 0
  /** The stream of the link that this side dials, or accepts. */
  #stream = 0
  #isDialling = false
  /** The handshake of what is dialled has begun, or waits for its turn. */
  #isShaking = false
  /** The link that was dialled or accepted last, while it lives. */
  #main: Link | undefined
  /** Ends the handshake of the link that was accepted last. */
  #accepting: AbortController | undefined
  /** Links beside it whose handshake is not done. */
  #taken = 0
  #theirs: Description | undefined
  #path: SelectedPath | undefined
  #route: Route | undefined
  #why = 'nothing answered'
  #pathless: Timer | undefined
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY
  #unwantedSince: Milliseconds | undefined
  /** Until there is a link. */
  #byHand: ByHand | undefined
  /** The stream that the peer was told of before anything was dialled. */
  #reserved: number | undefined

  constructor(options: PeerTraversalOptions) {
    const { clock, edition, signal, byHand } = options
    this.#options = options
    const now = clock.now()
    this.#toTell = new TokenBucket(TOLD, now)
    this.#byHand = byHand
    this.#reserved = byHand?.stream
    this.#credentials = byHand?.credentials ?? newCredentials(randomBytes)
    this.#agent = new IceAgent(
      {
        now,
        random: randomBytes,
        isControlling: options.dials,
        local: this.#credentials,
        families: options.families(),
      },
      {
        output: (packet, to) => options.send(packet, to),
        selected: (path, reason) => this.#selected(path, reason),
        failed: (reason) => {
          this.#why = reason
          if (!this.#byHand) this.#fail()
        },
      },
    )
    this.#unregister = options.mux.register(this.#agent, () => this.#schedule())
    this.#rendezvous = new Rendezvous(edition, {
      signal,
      described: (description) => this.#described(description),
      left: () => {
        this.#theirWishUntil = 0
      },
    })
    this.#agent.setLocal(options.candidates(), now)
    if (byHand) this.#beginAnew()
    this.#schedule()
    options.logger.debug('a way is looked for', { peer: options.peer, attempt: edition.attempt })
  }

  /** What is told the peer now; undefined before there is anything to tell. */
  get description(): Rendezvous['current'] {
    return this.#rendezvous.current
  }

  /** Every pair of addresses that was tried, and why it is used or not. */
  pairs(): readonly PairReport[] {
    return this.#agent.pairs()
  }

  /** Somebody here looks for a way, or uses one. */
  get isUsed(): boolean {
    return this.#looking.size > 0 || this.#carriers.size > 0
  }

  /** Where packets reach the peer straight, if it has no NAT before it, or one that forwards its port. */
  get openAddress(): HostPort | undefined {
    const path = this.#path
    const isOpen = path?.remote === 'host' || path?.remote === 'mapped'
    if (!path || !isOpen || path.to.relay !== undefined) return undefined
    return { address: path.to.address, port: path.to.port }
  }

  /** True where the peer says that a router forwards this address of it. */
  isMapped(address: string): boolean {
    return this.#theirs?.candidates.some((one) => one.kind === 'mapped' && one.address === address) ?? false
  }

  /** Somebody here wants a link; `failed` is called once if there is no way. Returns the way to stop. */
  look(failed: (error: PartylineError) => void): () => void {
    const { clock } = this.#options
    this.#looking.add(failed)
    const patience = clock.after(this.#byHand?.patience ?? PATIENCE, () => this.#looking.has(failed) && this.#fail())
    this.#told.clear()
    this.#tell()
    this.#calls++
    if (this.#options.dials) this.#dial()
    this.#describe()
    return () => {
      patience.cancel()
      this.#looking.delete(failed)
      this.#schedule()
    }
  }

  /** Takes a signal of the peer. */
  receive(signal: RendezvousSignal): void {
    this.#rendezvous.receive(signal, this.#options.clock.now())
    this.#schedule()
  }

  /** There are other candidates than before. */
  candidatesChanged(): void {
    this.#agent.setLocal(this.#options.candidates(), this.#options.clock.now())
    this.#describe()
  }

  networkChanged(): void {
    const now = this.#options.clock.now()
    this.#agent.networkChanged(now)
    this.#rendezvous.nudge(now)
    this.#schedule()
  }

  /** Nothing could be sent to an address. */
  sendFailed(to: TransportAddress, code: string): void {
    this.#agent.sendFailed(to, code, this.#options.clock.now())
    this.#schedule()
  }

  /** Ends its links, and tells those who look why. Safe to call twice. */
  close(why = new PartylineError('local.stopping')): void {
    if (this.#closing.signal.aborted) return
    const pairs = this.pairs()
    this.#closing.abort()
    this.#timer?.cancel()
    this.#pathless?.cancel()
    this.#unregister()
    this.#rendezvous.close()
    this.#agent.close()
    for (const carrier of this.#carriers) carrier.destroy()
    for (const failed of this.#looking) failed(why)
    this.#looking.clear()
    this.#options.onEnd(pairs)
  }

  #described(description: Description): void {
    const { clock, dials } = this.#options
    const now = clock.now()
    const { ufrag, pwd, link, calls } = description
    if (this.#theirs && this.#theirs.ufrag !== ufrag) this.#forgetAttempt()
    this.#options.logger.debug('the peer described itself', {
      peer: this.#options.peer,
      candidates: description.candidates.map(({ kind }) => kind).join(' '),
      calls,
    })
    this.#theirs = description
    this.#agent.setRemote({ ufrag, pwd }, this.#reachable(description), now)
    if (calls > this.#theirCalls) {
      this.#theirWishUntil = now + (this.#byHand?.patience ?? THEIR_WISH)
      this.#told.clear()
      if (dials) this.#dial()
    }
    this.#theirCalls = calls
    if (!dials && link !== 0 && link !== this.#stream) this.#accept(link)
    if (this.#rendezvous.isSilent) this.#describe()
    this.#tell()
  }

  /** The peer begins anew: it counts its wishes anew, and has ended all links of its attempt before, whether that was heard here or not. */
  #forgetAttempt(): void {
    this.#theirCalls = 0
    this.#main = undefined
    for (const carrier of [...this.#carriers]) carrier.destroy()
  }

  /** What packets may leave for: straight, or through relays alone. */
  #reachable({ candidates }: Description): Description['candidates'] {
    const { mayLeave, families } = this.#options
    return families().length === 0 ? candidates : candidates.filter(({ address, port }) => mayLeave({ address, port }))
  }

  /** Tells where the peer may be reached from outside, of each look a few addresses: it might name anybody's. */
  #tell(): void {
    const { clock, onTold } = this.#options
    if (this.#main || (this.#looking.size === 0 && clock.now() >= this.#theirWishUntil)) return
    const named = this.#theirs?.candidates.filter((one) => !isRelayKind(one.kind) && isCheckable(one)) ?? []
    const news = named
      .filter(({ address }) => scopeOf(address) !== 'link-local')
      .map(({ address, port }) => ({ address, port }))
      .filter((one) => !this.#told.has(formatTransport(one)))
      .slice(0, MAX_TOLD - this.#told.size)
      .filter(() => this.#toTell.take(clock.now()))
    for (const one of news) this.#told.add(formatTransport(one))
    if (news.length > 0) onTold(news)
  }

  /** Tells the peer what there is to tell now. */
  #describe(): void {
    const { clock, candidates, network } = this.#options
    this.#rendezvous.describe(
      {
        ...this.#credentials,
        candidates: candidates(),
        link: this.#options.dials ? this.#stream : 0,
        calls: this.#calls,
        network: network(),
      },
      clock.now(),
    )
    this.#schedule()
  }

  /** Dials a link over the path there is, or will be; not while there is one, or one is dialled. */
  #dial(): void {
    if (this.#main || this.#isDialling) return
    this.#isDialling = true
    this.#stream = this.#reserved ?? this.#options.carriers.freeId()
    this.#reserved = undefined
    this.#describe()
    if (this.#path) void this.#shakeHands(this.#stream, 'client', this.#path.to)
  }

  /**
   * The peer dials on this stream; what it says may be there before its packets are, or come after them. It dials one link at a time: what it
   * dialled before it has given up, unless the handshake is done.
   */
  #accept(stream: number): void {
    this.#stream = stream
    this.#accepting?.abort()
    this.#accepting = new AbortController()
    void this.#shakeHands(stream, 'server', this.#path?.to, this.#accepting.signal)
  }

  async #shakeHands(
    stream: number,
    role: 'client' | 'server',
    to: TransportAddress | undefined,
    signal = this.#closing.signal,
  ): Promise<void> {
    const { clock, logger, onLink, peer } = this.#options
    try {
      const link = await (role === 'client' ? this.#openInTurn(stream, signal) : this.#open(stream, role, to, signal))
      if (role === 'client') this.#isDialling = false
      this.#byHand = undefined
      this.#main = link
      link.socket.once('close', () => {
        if (this.#main === link) this.#main = undefined
        this.#schedule()
      })
      onLink(link)
    } catch (error) {
      const { code, message } = toPartylineError(error)
      logger.debug('a link over UDX failed', { peer, stream, role, code, message })
      if (role === 'server' || this.#closing.signal.aborted) return
      clock.after(REDIAL, () => {
        this.#isDialling = false
        if (!this.#closing.signal.aborted && this.#isWanted(clock.now())) this.#dial()
      })
    }
  }

  /** Dials a link, once there are not too many handshakes already. */
  async #openInTurn(stream: number, signal: AbortSignal): Promise<Link> {
    this.#isShaking = true
    try {
      const leave = await this.#options.handshakes.enter(signal)
      return await this.#open(stream, 'client', this.#path?.to, signal).finally(leave)
    } finally {
      this.#isShaking = false
    }
  }

  /** A link on a stream of its own. */
  async #open(
    stream: number,
    role: 'client' | 'server',
    to: TransportAddress | undefined,
    signal: AbortSignal,
  ): Promise<Link> {
    const { carriers, shakeHands, peer, clock } = this.#options
    const carrier = carriers.open(stream, to, this.#path?.mtu)
    this.#carriers.add(carrier)
    carrier.onSilence = () => {
      this.#agent.doubt(clock.now())
      this.#schedule()
    }
    carrier.socket.once('close', () => {
      this.#carriers.delete(carrier)
      this.#schedule()
    })
    const late = new AbortController()
    const timer = clock.after(this.#byHand?.patience ?? HANDSHAKE[role], () => late.abort())
    try {
      const link = await shakeHands(carrier, role, peer, AbortSignal.any([signal, late.signal, this.#closing.signal]))
      return Object.assign(link, { path: this.#linkPath() })
    } catch (error) {
      carrier.destroy()
      throw error
    } finally {
      timer.cancel()
    }
  }

  /** The path below its links, all of which go the same way. */
  #linkPath(): LinkPath {
    const route = (): Route => this.#route ?? 'punched'
    const to = (): TransportAddress => this.#path?.to ?? NOWHERE
    return {
      get route() {
        return route()
      },
      get to() {
        return to()
      },
      onChange: (listener) => {
        this.#listeners.add(listener)
        return () => this.#listeners.delete(listener)
      },
      beside: (announce, signal) => {
        const stream = this.#options.carriers.freeId()
        announce(stream)
        return this.#open(stream, 'client', this.#path?.to, signal)
      },
      take: (stream) => void this.#take(stream),
    }
  }

  async #take(stream: number): Promise<void> {
    const { logger, onLink, peer } = this.#options
    if (this.#taken >= MAX_TAKEN || this.#closing.signal.aborted) return
    this.#taken++
    try {
      onLink(await this.#open(stream, 'server', this.#path?.to, this.#closing.signal))
    } catch (error) {
      logger.debug('a link beside another failed', { peer, stream, error: toPartylineError(error).message })
    } finally {
      this.#taken--
    }
  }

  #selected(path: SelectedPath | undefined, reason: string): void {
    const { clock, interfaces, logger, peer } = this.#options
    const from = this.#route
    this.#path = path
    this.#pathless?.cancel()
    if (!path) {
      logger.info('a path was lost', { peer, reason })
      this.#pathless = clock.after(PATHLESS, () => {
        for (const carrier of this.#carriers) carrier.destroy()
      })
      return
    }
    const to = routeOfPath(path, interfaces())
    this.#route = to
    logger.info('a path was chosen', { peer, route: to, to: formatTransport(path.to), reason })
    this.#move(path)
    if (from) for (const listener of [...this.#listeners]) listener({ from, to, reason })
    if (this.#options.dials && this.#isDialling && !this.#isShaking)
      void this.#shakeHands(this.#stream, 'client', path.to)
  }

  /** More is known of the path in use: how much it carries, or what its ends are. */
  #learn(path: SelectedPath | undefined): void {
    const { mtu, local, remote } = this.#path ?? {}
    if (!path || (path.mtu === mtu && path.local === local && path.remote === remote)) return
    this.#move(path)
    const from = this.#route
    const to = routeOfPath(path, this.#options.interfaces())
    this.#route = to
    if (from && from !== to)
      for (const listener of [...this.#listeners]) listener({ from, to, reason: 'more is known of the path' })
  }

  /** Sends along a path, in packets as large as are known to arrive there. */
  #move(path: SelectedPath): void {
    this.#path = path
    for (const carrier of this.#carriers) carrier.move(path.to, path.mtu)
  }

  /** Tells those who look that there is no way. */
  #fail(): void {
    const message = explainFailure(this.#options.network(), this.#theirs?.network, this.#why, this.#isShared)
    const looking = [...this.#looking]
    this.#looking.clear()
    for (const failed of looking) failed(new PartylineError('network.no-path', message))
    this.#schedule()
  }

  /** The internet sees both at one address. */
  get #isShared(): boolean {
    const theirs = this.#theirs?.candidates.filter(({ kind }) => kind === 'srflx').map(({ address }) => address) ?? []
    return this.#options.candidates().some(({ kind, address }) => kind === 'srflx' && theirs.includes(address))
  }

  #isWanted(now: Milliseconds): boolean {
    return this.#looking.size > 0 || this.#carriers.size > 0 || now < this.#theirWishUntil
  }

  /** Checks end after a while without an answer, and whoever is to answer may only be about to begin. */
  #beginAnew(): void {
    const { clock } = this.#options
    clock.after(BEGIN_ANEW, () => {
      if (!this.#byHand || this.#closing.signal.aborted) return
      if (this.#theirs && !this.#path) this.#agent.setRemote(this.#theirs, this.#reachable(this.#theirs), clock.now())
      this.#schedule()
      this.#beginAnew()
    })
  }

  /** Sets the timer to what is due next; one that is early enough is left alone. */
  #schedule(): void {
    if (this.#closing.signal.aborted) return
    const { clock } = this.#options
    const now = clock.now()
    this.#learn(this.#agent.selected)
    if (this.#isWanted(now)) this.#unwantedSince = undefined
    else this.#unwantedSince ??= now
    const end =
      this.#unwantedSince === undefined ? Math.max(now, this.#theirWishUntil) + 1 : this.#unwantedSince + LINGER
    const deadline = Math.min(this.#agent.deadline, this.#rendezvous.deadline, end > now ? end : now + LINGER)
    if (this.#timer && this.#timerAt <= deadline) return
    this.#timer?.cancel()
    this.#timerAt = deadline
    this.#timer = clock.after(Math.max(1, deadline - now), () => this.#tick())
  }

  #tick(): void {
    this.#timer = undefined
    const now = this.#options.clock.now()
    this.#agent.tick(now)
    this.#rendezvous.tick(now)
    if (this.#unwantedSince !== undefined && now >= this.#unwantedSince + LINGER && !this.#isWanted(now)) this.close()
    else this.#schedule()
  }
}

/** No address: nothing can be sent there. */
const NOWHERE: TransportAddress = { address: '0.0.0.0', port: 0 }
