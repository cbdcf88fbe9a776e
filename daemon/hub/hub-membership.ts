import type { Element } from 'ltx'
import type { HubStatus } from '../../ipc/methods.ts'
import type { Clock, Timer } from '../clock.ts'
import { PartylineError, toPartylineError } from '../errors.ts'
import type { Identity } from '../identity/key.ts'
import type { Logger } from '../logger.ts'
import { formatHostPort, type NetworkInterface } from '../network/network.ts'
import type { Refusals } from '../refusals.ts'
import type { HostPort, Milliseconds, PeerId } from '../types.ts'
import { NS } from '../xmpp/namespaces.ts'
import { HubClient } from './hub-client.ts'
import { type HubMember, HubRoster, type RosterChange } from './hub-roster.ts'

/** Pause before the hub is tried again; it doubles, up to the last. */
const FIRST_PAUSE: Milliseconds = 1000
const LAST_PAUSE: Milliseconds = 60_000
/** A log-in that lasted for this long makes the next pause a short one again. */
const SETTLED: Milliseconds = 60_000

/** How a hub was found: given by somebody, by mDNS, or this host's own. */
export interface HubWay {
  readonly peer: PeerId | undefined
  readonly name: string
  readonly addresses: readonly HostPort[]
}

interface MembershipOptions {
  /** Tells this membership from others. */
  readonly source: string
  readonly identity: Identity
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  /** From 0 up to, not including, 1; spreads those who come back to a hub that was away. */
  readonly random: () => number
  readonly isBlocked: (peer: PeerId) => boolean
  /** What is told of this host. */
  readonly presence: () => Element
  /** The hub is whose `peer` is. False where it is joined already, in another way: then this membership ends. */
  readonly isOnly: (membership: HubMembership, peer: PeerId) => boolean
  readonly onRoster: (membership: HubMembership, change: Exclude<RosterChange, { kind: 'refused' }>) => void
  readonly onMessage: (membership: HubMembership, message: Element) => void
  /** Joined, lost, or another reason why not. */
  readonly onState: (membership: HubMembership) => void
}

/** One hub that this host is at, or tries to be at, in whatever ways it was found. */
export class HubMembership {
  readonly #options: MembershipOptions
  readonly #ways = new Map<string, HubWay>()
  #client: HubClient | undefined
  /** Being connected; not yet `#client`. */
  #attempt: HubClient | undefined
  #roster: HubRoster | undefined
  #learned: PeerId | undefined
  #domain = ''
  #target: HostPort | undefined
  #state: HubStatus['hubs'][number]['state'] = 'joining'
  #detail = ''
  #pause = FIRST_PAUSE
  #retry: Timer | undefined
  #joinedAt: Milliseconds = 0
  #running = false
  /** Counts the rounds of attempts: one that a newer one has overtaken ends. */
  #round = 0

  constructor(options: MembershipOptions) {
    this.#options = options
  }

  get source(): string {
    return this.#options.source
  }

  /** Whose hub it is: as it was told, or else as the last connection showed. */
  get peer(): PeerId | undefined {
    for (const { peer } of this.#ways.values()) if (peer) return peer
    return this.#learned
  }

  get name(): string {
    for (const { name } of this.#ways.values()) if (name !== '') return name
    return this.#domain.replace(/^hub-|\.local$/g, '') || (this.#target ? formatHostPort(this.#target) : '')
  }

  /** The domain of the last connection, `''` before the first. */
  get domain(): string {
    return this.#domain
  }

  get isJoined(): boolean {
    return this.#client !== undefined
  }

  /** Where it is joined, or was tried last. */
  get target(): HostPort | undefined {
    return this.#target
  }

  get ways(): ReadonlyMap<string, HubWay> {
    return this.#ways
  }

  members(): HubMember[] {
    return this.#roster?.members() ?? []
  }

  find(jid: string): HubMember | undefined {
    return this.#roster?.find(jid)
  }

  findPeer(peer: PeerId): HubMember | undefined {
    return this.#roster?.findPeer(peer)
  }

  status(): HubStatus['hubs'][number] {
    const { address = '', port = 0 } = this.#target ?? {}
    return {
      peer: this.peer ?? '',
      name: this.name,
      domain: this.#domain,
      address,
      port,
      state: this.#state,
      detail: this.#detail,
      people: this.#roster?.people() ?? [],
    }
  }

  /** Adds a way, or what is new about one; a hub that is not joined is tried again where that tells of another address. */
  setWay(key: string, way: HubWay): void {
    const before = this.#addresses().map(formatHostPort)
    this.#ways.set(key, way)
    const isNew = this.#addresses().some((address) => !before.includes(formatHostPort(address)))
    if (isNew) this.#tryNow()
  }

  removeWay(key: string): void {
    this.#ways.delete(key)
  }

  start(): void {
    if (this.#running) return
    this.#running = true
    this.#tryNow()
  }

  /** Leaves the hub, with a goodbye where there is a connection. Safe to call twice. */
  async stop(): Promise<void> {
    this.#running = false
    this.#round++
    this.#retry?.cancel()
    const open = [this.#client, this.#attempt]
    this.#attempt = undefined
    this.#forget()
    await Promise.all(open.map((client) => client?.leave()))
  }

  /** The network changed, or the machine woke: a connection is asked whether it still is one, a lost hub tried at once. */
  networkChanged(interfaces: readonly NetworkInterface[]): void {
    this.#pause = FIRST_PAUSE
    if (this.#client) this.#client.check(interfaces)
    else this.#tryNow()
  }

  /** Tells the hub anew what there is to tell of this host. */
  tellPresence(): void {
    this.#client?.send(this.#options.presence())
  }

  /** Best effort: false where it could not leave at once. */
  send(stanza: Element): boolean {
    return this.#client?.send(stanza) ?? false
  }

  /** What somebody at the hub asked for, best effort; see `HubClient.answer`. */
  answer(stanza: Element): boolean {
    return this.#client?.answer(stanza) ?? false
  }

  /** Rejects with `network.unreachable`, `network.lost` or `peer.busy`; see `HubClient.deliver`. */
  async deliver(message: Element, patience: Milliseconds): Promise<void> {
    if (!this.#client) throw new PartylineError('network.lost', `not logged in at the hub ${this.name}`)
    await this.#client.deliver(message, patience)
  }

  #addresses(): HostPort[] {
    const known = new Map<string, HostPort>()
    for (const { addresses } of this.#ways.values())
      for (const address of addresses) known.set(formatHostPort(address), address)
    return [...known.values()]
  }

  #tryNow(): void {
    if (!this.#running || this.#client || this.#attempt) return
    this.#retry?.cancel()
    this.#try(++this.#round).catch((error: Error) =>
      this.#options.logger.error('a hub could not be tried', { hub: this.name, error: error.message }),
    )
  }

  /** Tries each address in turn; after the last waits and begins anew. */
  async #try(round: number): Promise<void> {
    const isCurrent = (): boolean => this.#running && this.#round === round
    for (const target of this.#addresses()) {
      const error = await this.#connect(target)
      if (!isCurrent() || this.#client || !error) return
      this.#fail(error)
    }
    this.#tryLater()
  }

  /** Gives why it did not work. */
  async #connect(target: HostPort): Promise<PartylineError | undefined> {
    const { identity, clock } = this.#options
    this.#target = target
    const client: HubClient = new HubClient({
      identity,
      clock,
      target,
      admit: (peer, domain) => this.#admit(target, peer, domain),
      onStanza: (stanza) => this.#take(client, stanza),
      onClosed: (reason) => this.#lost(client, reason),
    })
    this.#attempt = client
    try {
      await client.connect()
      if (this.#attempt !== client) return void client.leave()
      if (!client.isOpen) throw new PartylineError('network.lost', 'the hub closed the connection')
      this.#joined(client)
      return undefined
    } catch (error) {
      return toPartylineError(error)
    } finally {
      if (this.#attempt === client) this.#attempt = undefined
    }
  }

  #admit(target: HostPort, peer: PeerId, domain: string): void {
    const { isBlocked, isOnly, identity } = this.#options
    const expected = [...this.#ways.values()].find((way) => way.peer)?.peer
    if (expected && peer !== expected)
      throw new PartylineError(
        'peer.wrong-key',
        `the hub at ${formatHostPort(target)} is ${peer.slice(0, 12)}, not ${expected.slice(0, 12)}`,
      )
    if (peer !== identity.peer && isBlocked(peer))
      throw new PartylineError('policy.blocked', `the host whose hub this is, ${peer.slice(0, 12)}, is blocked`)
    this.#learned = peer
    this.#domain = domain
    if (!isOnly(this, peer)) throw new PartylineError('peer.closed', 'this hub is joined already')
  }

  #joined(client: HubClient): void {
    const { clock, logger, identity, presence } = this.#options
    this.#client = client
    this.#roster = new HubRoster(identity.peer, client.domain)
    this.#joinedAt = clock.now()
    this.#state = 'joined'
    this.#detail = ''
    client.send(presence())
    logger.info('joined a hub', { hub: this.name, peer: this.peer, address: formatHostPort(client.target) })
    this.#options.onState(this)
  }

  #take(client: HubClient, stanza: Element): void {
    if (this.#client !== client) return
    if (stanza.is('message', NS.client)) return this.#options.onMessage(this, stanza)
    const change = this.#roster?.take(stanza)
    if (change?.kind === 'refused') this.#options.refusals.count(change.code)
    else if (change) this.#options.onRoster(this, change)
  }

  #lost(client: HubClient, reason: PartylineError): void {
    if (this.#client !== client) return
    if (this.#options.clock.now() - this.#joinedAt >= SETTLED) this.#pause = FIRST_PAUSE
    this.#forget()
    this.#fail(reason)
    this.#tryLater()
  }

  /** Whoever was there is there no more, as far as this hub tells. */
  #forget(): void {
    const members = this.members()
    this.#client = undefined
    this.#roster = undefined
    for (const member of members) this.#options.onRoster(this, { kind: 'gone', member })
  }

  #fail(error: PartylineError): void {
    const { logger, refusals, onState } = this.#options
    if (!error.code.startsWith('network.')) refusals.count(error.code)
    if (this.#detail !== error.message)
      logger.info('a hub is not joined', { hub: this.name, code: error.code, reason: error.message })
    this.#state = 'failed'
    this.#detail = error.message
    onState(this)
  }

  #tryLater(): void {
    if (!this.#running) return
    const { clock, random } = this.#options
    this.#retry?.cancel()
    this.#retry = clock.after(this.#pause * (0.5 + random()), () => this.#tryNow())
    this.#pause = Math.min(this.#pause * 2, LAST_PAUSE)
  }
}
