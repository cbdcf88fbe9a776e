import type { HostPort, Milliseconds } from '../../types.ts'
import { decodeXorAddress, encodeXorAddress } from '../stun/attributes.ts'
import { type StunMessage, StunWriter, TRANSACTION } from '../stun/message.ts'
import { ATTRIBUTE, ERROR, METHOD } from '../stun/registry.ts'
import type { TransportAddress } from '../transport-address.ts'
import { readAllocated, readLifetime, readTicket } from './allocate-answer.ts'
import { decodeChannelData, encodeChannelData } from './channel-data.ts'
import { type Channel, Channels } from './channels.ts'
import { LongTermCredentials } from './credentials.ts'
import { failureOf, type TurnFailure } from './failure.ts'
import { familyOf, isRelayable } from './peer-address.ts'
import { type RelayPeer, RelayPeers } from './peers.ts'
import { Permissions } from './permissions.ts'
import { type Outcome, Requests } from './requests.ts'

/** REQUESTED-TRANSPORT: the protocol number of UDP, and three bytes for nothing. */
const REQUESTED_UDP = 17 << 24
/** REQUESTED-ADDRESS-FAMILY and ADDITIONAL-ADDRESS-FAMILY. */
const FAMILY_IPV6 = 2 << 24
/** ADDITIONAL-ADDRESS-FAMILY as coturn has it (measured: 4.6.1 leaves out the number that RFC 8656 gave it). */
const ADDITIONAL_FAMILY_OF_DRAFT = 0x8032
/** Asked for one after the other, as long as the server says that it has no such family (RFC 8656 section 7.1). */
const FAMILIES = ['both', 'ipv4', 'ipv6'] as const

/** How often requests are sent when a user waits for them: given up after seven seconds. */
const EAGER_TRIES = 4
/** A ticket is shown again that soon. */
const TICKET_WAIT: Milliseconds = 100
/** When giving it back, everything has to be over within a second. */
const LAST_TRIES = 3
const LAST_WAIT: Milliseconds = 150
/**
 * After so long without a packet out or in, the allocation is refreshed: that keeps the NAT's mapping, and tells at once when the server
 * sees us come from elsewhere, or has forgotten us (RFC 8445 section 11 has the same span for the same purpose).
 */
const QUIET: Milliseconds = 15_000
/** How often at most a refresh is tried. */
const REFRESH_PAUSE: Milliseconds = 10_000
const SWEEP: Milliseconds = 10_000
/** Packets to an address that has not answered before it gets a channel even so. */
const UNHEARD = 8
/** A channel is bound again while packets went or came in this time. */
const CHANNEL_IDLE: Milliseconds = 300_000

/** `challenged`: the server is there and waits for our name and password; `allocated`: packets can go. */
export type TurnState = 'idle' | 'probing' | 'challenged' | 'allocating' | 'allocated' | 'closing' | 'closed' | 'failed'

interface TurnAllocationOptions {
  /** In the addresses of what comes through it. */
  readonly id: string
  /** Empty for none. */
  readonly username: string
  readonly password: string
  /** True over TCP and TLS. */
  readonly isStream: boolean
  readonly random: (bytes: number) => Buffer
}

/** What an allocation tells, during a call of it. */
interface TurnAllocationEvents {
  /** Bytes for the server. `isRequest`: they matter more than those that are not, which are on their way to peers. */
  output(packet: Buffer, isRequest: boolean): void
  /** A packet came from a peer: a view of the one that brought it. */
  data(packet: Buffer, from: TransportAddress): void
  /** Another state. */
  changed(): void
}

/**
 * One allocation on one TURN server (RFC 8656), of IPv4 and IPv6 where the server has both. Free of I/O: packets and the time in, packets
 * and the next deadline out.
 */
export class TurnAllocation {
  readonly #options: TurnAllocationOptions
  readonly #events: TurnAllocationEvents
  readonly #credentials: LongTermCredentials
  readonly #requests: Requests
  readonly #permissions = new Permissions()
  readonly #channels = new Channels<RelayPeer>()
  readonly #peers: RelayPeers
  #state: TurnState = 'idle'
  #failure: TurnFailure | undefined
  #relayed: readonly HostPort[] = []
  #mapped: HostPort | undefined
  #ticket: Buffer | undefined
  #family = 0
  #wantsMobility = true
  #reclaimed: 'no' | 'done' | 'refused' = 'no'
  #isRefreshing = false
  /** The ticket was shown, and no refresh succeeded since. */
  #isMoving = false
  #expiresAt: Milliseconds = Number.POSITIVE_INFINITY
  #refreshAt: Milliseconds = Number.POSITIVE_INFINITY
  #refreshedAt: Milliseconds = Number.NEGATIVE_INFINITY
  #sweepAt: Milliseconds = Number.POSITIVE_INFINITY
  #sentAt: Milliseconds = 0
  #heardAt: Milliseconds = 0

  constructor(options: TurnAllocationOptions, events: TurnAllocationEvents) {
    const { isStream, random } = options
    this.#options = options
    this.#events = events
    this.#credentials = new LongTermCredentials(options.username, options.password)
    this.#peers = new RelayPeers(options.id)
    const output = (packet: Buffer, now: Milliseconds): void => this.#output(packet, true, now)
    this.#requests = new Requests({ credentials: this.#credentials, isStream, random, output })
  }

  get state(): TurnState {
    return this.#state
  }

  /** Why it is `failed`. */
  get failure(): TurnFailure | undefined {
    return this.#failure
  }

  /** Where peers reach us: one address of each family that the server gave. */
  get relayed(): readonly HostPort[] {
    return this.#relayed
  }

  /** Where the server saw us when it was made. */
  get mapped(): HostPort | undefined {
    return this.#mapped
  }

  /** True when the server keeps it for us while our address changes (RFC 8016). */
  get isMobile(): boolean {
    return this.#ticket !== undefined
  }

  /** To the server and back, once known. */
  get roundTrip(): Milliseconds | undefined {
    return this.#requests.roundTrip
  }

  get channels(): number {
    return this.#channels.size
  }

  /** When `tick` is to be called next; infinite for not at all. */
  get deadline(): Milliseconds {
    if (this.#state === 'allocated')
      return Math.min(this.#requests.deadline, this.#refreshDue, this.#sweepAt, this.#expiresAt)
    return this.#requests.deadline
  }

  get #refreshDue(): Milliseconds {
    if (this.#isRefreshing) return Number.POSITIVE_INFINITY
    const quiet = Math.min(this.#sentAt, this.#heardAt) + QUIET
    return Math.max(Math.min(this.#refreshAt, quiet), this.#refreshedAt + REFRESH_PAUSE)
  }

  /** Asks whether the server is there, without having it reserve anything. One without passwords does that even so. */
  probe(now: Milliseconds): void {
    if (this.#state !== 'idle') return
    this.#enter('probing')
    this.#allocate(now, true)
  }

  /** Has the server reserve addresses; after `probe` or instead of it. */
  allocate(now: Milliseconds): void {
    if (this.#state !== 'idle' && this.#state !== 'challenged') return
    this.#enter('allocating')
    this.#allocate(now, false)
  }

  /** Takes a message of the server; false when it is for nobody here. */
  receive(message: StunMessage, now: Milliseconds): boolean {
    if (message.class === 'indication') return message.method === METHOD.data && this.#receiveData(message, now)
    if (!this.#requests.receive(message, now)) return false
    this.#heardAt = now
    this.#pump(now)
    return true
  }

  /** False when it is of no channel of ours. */
  receiveChannelData(packet: Buffer, now: Milliseconds): boolean {
    const read = decodeChannelData(packet)
    const peer = read && this.#channels.get(read.channel)?.peer
    if (!peer || this.#state !== 'allocated') return false
    this.#heardAt = now
    peer.usedAt = now
    this.#events.data(read.data, peer.to)
    return true
  }

  /** Sends a copy to a peer's address; false when it is dropped. */
  send(packet: Buffer, to: HostPort, now: Milliseconds): boolean {
    if (this.#state !== 'allocated') return false
    const peer = this.#peers.get(to) ?? this.#newPeer(to, now)
    if (!peer) return false
    peer.usedAt = now
    if (peer.channel && now < peer.channel.until) {
      this.#output(encodeChannelData(peer.channel.number, packet, this.#options.isStream), false, now)
      return true
    }
    const { address } = peer.to
    if (!this.#permissions.use(address, now)) return false
    if (!this.#permissions.isInstalled(address, now)) {
      const isHeld = this.#peers.hold(peer, packet, now)
      this.#pump(now)
      return isHeld
    }
    this.#indicate(peer, packet, now)
    return true
  }

  /** Lets packets of an address in, until `unpermit` was called as often; false where that cannot be. */
  permit(address: string, now: Milliseconds): boolean {
    if (!isRelayable(address) || !this.#permissions.claim(address, now)) return false
    this.#pump(now)
    return true
  }

  unpermit(address: string): void {
    this.#permissions.release(address)
  }

  /** Our address may be another than before: asks the server, and moves the allocation or loses it. */
  networkChanged(now: Milliseconds): void {
    if (this.#state !== 'allocated') return
    // What is under way went out before the change.
    this.#forgetRequests(now)
    this.#refresh(now)
    this.#pump(now)
  }

  /** The connection to the server is another one, over which nothing was said yet. */
  reconnected(now: Milliseconds): void {
    if (this.#state !== 'allocated') return
    this.#forgetRequests(now)
    if (this.#ticket) this.#refresh(now, this.#ticket)
    else this.#fail({ reason: 'the connection to the server was lost, and the relay with it', rest: 0 })
  }

  /** Gives it back; `closed` follows within a second. */
  close(now: Milliseconds): void {
    if (this.#state === 'closing' || this.#state === 'closed') return
    const isReserved = this.#state === 'allocated' || this.#state === 'allocating'
    this.#requests.clear()
    if (!isReserved || !this.#credentials.isReady) return this.#enter('closed')
    this.#enter('closing')
    this.#release(now, () => this.#enter('closed'))
  }

  /** Does what is due. */
  tick(now: Milliseconds): void {
    this.#requests.tick(now)
    if (this.#state !== 'allocated') return
    if (now >= this.#expiresAt)
      return this.#fail({ reason: 'the relay ended: the server did not prolong it in time', rest: 0 })
    if (now >= this.#refreshDue) this.#refresh(now)
    if (now >= this.#sweepAt) this.#sweep(now)
    this.#pump(now)
  }

  // -- the allocation itself -----------------------------------------------------------------------------------------------------------

  #allocate(now: Milliseconds, hold: boolean): void {
    const write = (writer: StunWriter): void => {
      writer.add(ATTRIBUTE.requestedTransport, REQUESTED_UDP)
      if (FAMILIES[this.#family] === 'both')
        writer.add(ATTRIBUTE.additionalAddressFamily, FAMILY_IPV6).add(ADDITIONAL_FAMILY_OF_DRAFT, FAMILY_IPV6)
      if (FAMILIES[this.#family] === 'ipv6') writer.add(ATTRIBUTE.requestedAddressFamily, FAMILY_IPV6)
      if (this.#wantsMobility) writer.add(ATTRIBUTE.mobilityTicket)
    }
    const done = (outcome: Outcome, at: Milliseconds): void => this.#allocated(outcome, at, hold)
    this.#requests.send({ method: METHOD.allocate, write, done, hold, tries: EAGER_TRIES }, now)
  }

  #allocated(outcome: Outcome, now: Milliseconds, hold: boolean): void {
    if (outcome.kind === 'challenged') return this.#enter('challenged')
    if (outcome.kind === 'success') return this.#established(outcome.message, now)
    const code = outcome.kind === 'error' ? outcome.error.code : 0
    const isFamilyRefused =
      code === ERROR.addressFamilyNotSupported || (code === ERROR.badRequest && FAMILIES[this.#family] === 'both')
    if (isFamilyRefused && this.#family < FAMILIES.length - 1) {
      this.#family++
      return this.#allocate(now, hold)
    }
    if (code === ERROR.mobilityForbidden && this.#wantsMobility) {
      this.#wantsMobility = false
      return this.#allocate(now, hold)
    }
    if (code === ERROR.allocationMismatch && this.#reclaimed === 'no' && !this.#options.isStream)
      return this.#reclaim(now, hold)
    const failure = failureOf(outcome, 'reserve a relay')
    // Given back, but coturn takes a second for that.
    const isSoonOver = code === ERROR.allocationMismatch && this.#reclaimed === 'done'
    this.#fail(isSoonOver ? { ...failure, rest: 0 } : failure)
  }

  #established(message: StunMessage, now: Milliseconds): void {
    const { relayed, mapped } = readAllocated(message)
    if (relayed.length === 0) {
      // Said once, as nobody waits for it.
      this.#release(now, () => {})
      return this.#fail({ reason: 'the server gave a relay address that nobody can reach', rest: 600_000 })
    }
    this.#relayed = relayed
    this.#mapped = mapped
    this.#refreshed(message, now)
    this.#sweepAt = now + SWEEP
    this.#enter('allocated')
  }

  #refreshed(message: StunMessage, now: Milliseconds): void {
    const lifetime = readLifetime(message)
    this.#ticket = readTicket(message) ?? this.#ticket
    this.#expiresAt = now + lifetime
    this.#refreshAt = now + lifetime * 0.75
    this.#refreshedAt = now
  }

  #refresh(now: Milliseconds, ticket?: Buffer): void {
    this.#isRefreshing = true
    this.#refreshedAt = now
    this.#isMoving ||= ticket !== undefined
    const write = (writer: StunWriter): void => {
      if (ticket) writer.add(ATTRIBUTE.mobilityTicket, ticket)
    }
    const done = (outcome: Outcome, at: Milliseconds): void => this.#refreshEnded(outcome, ticket, at)
    // coturn answers a ticket with garbage (measured: 4.6.1), and only then as it should.
    const wait = Math.max(TICKET_WAIT, (this.roundTrip ?? 0) * 1.5)
    this.#requests.send({ method: METHOD.refresh, write, done, tries: EAGER_TRIES, ...(ticket && { wait }) }, now)
  }

  #refreshEnded(outcome: Outcome, ticket: Buffer | undefined, now: Milliseconds): void {
    this.#isRefreshing = false
    if (outcome.kind === 'success') {
      this.#isMoving = false
      return this.#refreshed(outcome.message, now)
    }
    const isUnknown = outcome.kind === 'error' && outcome.error.code === ERROR.allocationMismatch
    // The server knows nothing of the address that we come from now: perhaps of the one we came from before.
    if (isUnknown && this.#ticket && !ticket && !this.#isMoving) return this.#refresh(now, this.#ticket)
    // It moved already, and its answer got lost: a ticket is refused from where the allocation is (RFC 8016 section 3.2.1).
    if (ticket && outcome.kind === 'error' && outcome.error.code === ERROR.badRequest) return this.#refresh(now)
    if (isUnknown || (ticket && outcome.kind === 'error'))
      return this.#fail({ reason: 'our address changed, and the server did not keep the relay', rest: 0 })
    if (outcome.kind === 'silent') this.#fail(failureOf(outcome, 'prolong the relay'))
    // Anything else may pass: it is tried again until the relay ends.
  }

  #forgetRequests(now: Milliseconds): void {
    this.#requests.clear()
    this.#isRefreshing = false
    this.#permissions.forgetAsked(now)
    this.#channels.forgetAsked(now)
  }

  /** Gives back what the server keeps for this port since the daemon last ended without a word. */
  #reclaim(now: Milliseconds, hold: boolean): void {
    this.#release(now, (at, outcome) => {
      const isGone =
        outcome.kind === 'success' || (outcome.kind === 'error' && outcome.error.code === ERROR.allocationMismatch)
      this.#reclaimed = isGone ? 'done' : 'refused'
      this.#allocate(at, hold)
    })
  }

  /** Ends whatever the server keeps for this port. */
  #release(now: Milliseconds, then: (now: Milliseconds, outcome: Outcome) => void): void {
    const write = (writer: StunWriter): void => void writer.add(ATTRIBUTE.lifetime, 0)
    const done = (outcome: Outcome, at: Milliseconds): void => then(at, outcome)
    this.#requests.send({ method: METHOD.refresh, write, done, tries: LAST_TRIES, wait: LAST_WAIT }, now)
  }

  #fail(failure: TurnFailure): void {
    this.#failure = failure
    this.#requests.clear()
    this.#enter('failed')
  }

  #enter(state: TurnState): void {
    this.#state = state
    this.#events.changed()
  }

  // -- peers ---------------------------------------------------------------------------------------------------------------------------

  #newPeer(to: HostPort, now: Milliseconds): RelayPeer | undefined {
    const isPossible = this.#relayed.some(({ address }) => familyOf(address) === familyOf(to.address))
    return isPossible && isRelayable(to.address) && to.port > 0 ? this.#peers.of(to, now) : undefined
  }

  #indicate(peer: RelayPeer, packet: Buffer, now: Milliseconds): void {
    const transaction = this.#options.random(TRANSACTION)
    const writer = new StunWriter('indication', METHOD.send, transaction)
    writer.add(ATTRIBUTE.xorPeerAddress, encodeXorAddress(peer.to, transaction)).add(ATTRIBUTE.data, packet)
    this.#output(writer.finish({ fingerprint: false }), false, now)
    peer.sent++
    this.#bind(peer, now)
  }

  #receiveData(message: StunMessage, now: Milliseconds): boolean {
    const value = message.get(ATTRIBUTE.xorPeerAddress)
    const data = message.get(ATTRIBUTE.data)
    if (!value || !data || this.#state !== 'allocated') return false
    let from: HostPort
    try {
      from = decodeXorAddress(value, message.transaction)
    } catch {
      return false
    }
    if (!this.#permissions.has(from.address) || from.port === 0) return false
    this.#heardAt = now
    const peer = this.#peers.get(from)
    if (peer) {
      peer.heard = true
      peer.usedAt = now
      this.#bind(peer, now)
    }
    this.#events.data(data, peer?.to ?? { ...from, relay: this.#options.id })
    return true
  }

  /** Gives a peer a channel, or has its channel last, where it is worth it and due. */
  #bind(peer: RelayPeer, now: Milliseconds): void {
    if (this.#requests.isFull || (!peer.heard && peer.sent < UNHEARD)) return
    const channel = peer.channel ?? this.#channels.open(peer, now)
    if (!channel || now < channel.askAt) return
    peer.channel = channel
    this.#channels.asked(channel)
    const write = (writer: StunWriter, transaction: Buffer): void => {
      writer.add(ATTRIBUTE.channelNumber, channel.number * 2 ** 16)
      writer.add(ATTRIBUTE.xorPeerAddress, encodeXorAddress(peer.to, transaction))
    }
    const done = (outcome: Outcome, at: Milliseconds): void => this.#bindEnded(channel, outcome, now, at)
    this.#requests.send({ method: METHOD.channelBind, write, done }, now)
  }

  #bindEnded(channel: Channel<RelayPeer>, outcome: Outcome, asked: Milliseconds, now: Milliseconds): void {
    if (outcome.kind === 'success') {
      this.#channels.bound(channel, asked, now)
      // Binding a channel installs or prolongs a permission too (RFC 8656 section 12).
      this.#permissions.installed([channel.peer.to.address], asked)
    } else this.#channels.failed(channel, now)
  }

  /** Asks for what is due, as far as requests may be under way. */
  #pump(now: Milliseconds): void {
    while (this.#state === 'allocated' && !this.#requests.isFull) {
      const addresses = this.#permissions.take(now)
      if (addresses.length === 0) return
      const write = (writer: StunWriter, transaction: Buffer): void => {
        for (const address of addresses)
          writer.add(ATTRIBUTE.xorPeerAddress, encodeXorAddress({ address, port: 0 }, transaction))
      }
      const done = (outcome: Outcome, at: Milliseconds): void => this.#permissionEnded(addresses, outcome, now, at)
      this.#requests.send({ method: METHOD.createPermission, write, done }, now)
    }
  }

  #permissionEnded(addresses: readonly string[], outcome: Outcome, asked: Milliseconds, now: Milliseconds): void {
    if (outcome.kind === 'error') return this.#permissions.refused(addresses, now)
    if (outcome.kind !== 'success') return this.#permissions.unanswered(addresses, now)
    this.#permissions.installed(addresses, asked)
    for (const address of addresses)
      for (const { peer, packet } of this.#peers.release(address, now)) this.#indicate(peer, packet, now)
  }

  #sweep(now: Milliseconds): void {
    this.#sweepAt = now + SWEEP
    for (const peer of this.#channels.sweep(now)) peer.channel = undefined
    this.#peers.sweep(now)
    this.#permissions.sweep(now)
    for (const peer of this.#peers) {
      if (!peer.channel || now >= peer.usedAt + CHANNEL_IDLE) continue
      this.#permissions.use(peer.to.address, peer.usedAt)
      this.#bind(peer, now)
    }
  }

  #output(packet: Buffer, isRequest: boolean, now: Milliseconds): void {
    this.#sentAt = now
    this.#events.output(packet, isRequest)
  }
}
