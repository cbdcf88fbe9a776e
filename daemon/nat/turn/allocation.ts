import type { HostPort, Milliseconds } from '../../types.ts'
import type { StunMessage, StunWriter } from '../stun/message.ts'
import { ATTRIBUTE, ERROR, METHOD } from '../stun/registry.ts'
import type { TransportAddress } from '../transport-address.ts'
import { readAllocated, readLifetime, readTicket } from './allocate-answer.ts'
import type { ChannelRange } from './channels.ts'
import { LongTermCredentials } from './credentials.ts'
import { failureOf, type TurnFailure } from './failure.ts'
import { type Outcome, Requests } from './requests.ts'
import { RelayTraffic } from './traffic.ts'

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
  /** The numbers that its channels may have. */
  readonly channels: ChannelRange
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
  readonly #traffic: RelayTraffic
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
    this.#requests = new Requests({
      credentials: this.#credentials,
      isStream,
      random,
      output: (packet, now) => this.#output(packet, true, now),
    })
    this.#traffic = new RelayTraffic({
      ...options,
      requests: this.#requests,
      output: (packet, now) => this.#output(packet, false, now),
      data: events.data,
    })
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
    return this.#traffic.channels
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
    const isData = message.class === 'indication' && message.method === METHOD.data && this.#state === 'allocated'
    if (isData ? !this.#traffic.receiveData(message, now) : !this.#requests.receive(message, now)) return false
    this.#heardAt = now
    this.#pump(now)
    return true
  }

  /** False when it is of no channel of ours. */
  receiveChannelData(packet: Buffer, now: Milliseconds): boolean {
    if (this.#state !== 'allocated' || !this.#traffic.receiveChannelData(packet, now)) return false
    this.#heardAt = now
    return true
  }

  /** Sends a copy to a peer's address; false when it is dropped. */
  send(packet: Buffer, to: HostPort, now: Milliseconds): boolean {
    return this.#state === 'allocated' && this.#traffic.send(packet, to, now)
  }

  /** Lets packets of an address in, until `unpermit` was called as often; false where that cannot be. */
  permit(address: string, now: Milliseconds): boolean {
    return this.#state === 'allocated' && this.#traffic.permit(address, now)
  }

  unpermit(address: string): void {
    this.#traffic.unpermit(address)
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
    if (now >= this.#sweepAt) {
      this.#sweepAt = now + SWEEP
      this.#traffic.sweep(now)
    }
    this.#pump(now)
  }

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
    this.#traffic.open(relayed)
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
    this.#traffic.forgetAsked(now)
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

  #pump(now: Milliseconds): void {
    if (this.#state === 'allocated') this.#traffic.pump(now)
  }

  #output(packet: Buffer, isRequest: boolean, now: Milliseconds): void {
    this.#sentAt = now
    this.#events.output(packet, isRequest)
  }
}
