import { encodeError, encodeXorAddress, unknownAttributes } from '../nat/stun/attributes.ts'
import { StunMessage } from '../nat/stun/message.ts'
import { ATTRIBUTE, ERROR, METHOD } from '../nat/stun/registry.ts'
import { FIRST_CHANNEL } from '../nat/turn/channel-data.ts'
import { familyOf } from '../nat/turn/peer-address.ts'
import type { HostPort, Milliseconds, PeerId } from '../types.ts'
import { type AllocateRequest, type PortWish, readAllocate } from './allocate-request.ts'
import { type Allocation, Allocations, type RelayPort } from './allocations.ts'
import { challenge, finish, type Integrity, refusal, successTo } from './answer.ts'
import { Authenticator } from './authenticator.ts'
import type { CredentialBook } from './credentials.ts'
import { Gate } from './gate.ts'
import type { RelayLimits, Usage } from './limits.ts'
import { Nonces } from './nonces.ts'
import { readPeer } from './peer-attribute.ts'
import type { PeerFilter } from './peer-filter.ts'
import { Reservations } from './reservations.ts'
import { Traffic } from './traffic.ts'
import type { TurnClient } from './turn-client.ts'

/** RFC 8656 sections 3.2 and 7.2. */
const LIFETIME: Milliseconds = 600_000
const MAX_LIFETIME: Milliseconds = 3_600_000

/** Comprehension-required attributes that the server knows; DONT-FRAGMENT asks for what is done anyway. */
const KNOWN: ReadonlySet<number> = new Set([
  ATTRIBUTE.username,
  ATTRIBUTE.userhash,
  ATTRIBUTE.realm,
  ATTRIBUTE.nonce,
  ATTRIBUTE.passwordAlgorithm,
  ATTRIBUTE.messageIntegrity,
  ATTRIBUTE.messageIntegritySha256,
  ATTRIBUTE.lifetime,
  ATTRIBUTE.requestedTransport,
  ATTRIBUTE.requestedAddressFamily,
  ATTRIBUTE.evenPort,
  ATTRIBUTE.dontFragment,
  ATTRIBUTE.reservationToken,
  ATTRIBUTE.xorPeerAddress,
  ATTRIBUTE.channelNumber,
  ATTRIBUTE.data,
])

/** Opens a relay's port of a family, or two for a pair; none where they cannot be had. */
type OpenPort = (family: 4 | 6, wish: PortWish) => readonly RelayPort[]

interface TurnServerOptions {
  readonly realm: string
  readonly random: (bytes: number) => Buffer
  readonly credentials: CredentialBook
  /** Asked at each request: nobody else may relay, whatever credentials they have. */
  readonly isTrusted: (peer: PeerId) => boolean
  readonly limits: () => RelayLimits
  readonly filter: PeerFilter
  /** Families in which this host can have relays. */
  readonly hasFamily: (family: 4 | 6) => boolean
  readonly openPort: OpenPort
  readonly begun: (allocation: Allocation) => void
  /** `why`: for the log. */
  readonly ended: (allocation: Allocation, why: string) => void
}

/** A request whose sender is proven. */
interface Proven {
  readonly message: StunMessage
  readonly client: TurnClient
  readonly peer: PeerId
  readonly integrity: Integrity
  readonly now: Milliseconds
}

interface Opened {
  readonly ports: readonly RelayPort[]
  readonly next?: RelayPort
}

/**
 * A STUN and TURN server (RFC 8489, RFC 8656) for trusted peers. No I/O: bytes, the 5-tuple they came by and the time in, packets out by the
 * client and by the ports it was given.
 */
export class TurnServer {
  readonly #options: TurnServerOptions
  readonly #allocations = new Allocations()
  readonly #nonces: Nonces
  readonly #authenticator: Authenticator
  readonly #gate = new Gate()
  readonly #reservations: Reservations
  readonly #traffic: Traffic

  constructor(options: TurnServerOptions) {
    this.#options = options
    this.#nonces = new Nonces(options.random(32))
    this.#reservations = new Reservations(options.random)
    this.#authenticator = new Authenticator(options.realm, this.#nonces, options.credentials)
    this.#traffic = new Traffic({ ...options, allocations: this.#allocations })
  }

  /** When `tick` is to be called next; infinite for never. */
  get deadline(): Milliseconds {
    let first = this.#reservations.deadline
    for (const { until } of this.#allocations) first = Math.min(first, until)
    return first
  }

  get allocations(): Iterable<Allocation> & { readonly size: number } {
    return this.#allocations
  }

  hasAllocation({ key }: TurnClient): boolean {
    return this.#allocations.byClient(key) !== undefined
  }

  /** What peers use and have used, with those that used it last at the end. */
  usage(): readonly Usage[] {
    return this.#allocations.usage()
  }

  /** Takes what a client sent; false for what is neither STUN nor ChannelData of a channel of its own. */
  receive(packet: Buffer, client: TurnClient, now: Milliseconds): boolean {
    if ((packet[0] ?? 0) >= 0x40) return this.receiveChannelData(packet, client, now)
    let message: StunMessage
    try {
      message = StunMessage.decode(packet)
    } catch {
      return false
    }
    this.receiveStun(message, client, now)
    return true
  }

  receiveChannelData(packet: Buffer, client: TurnClient, now: Milliseconds): boolean {
    const allocation = this.#live(client, now)
    return allocation !== undefined && this.#traffic.channelData(allocation, packet, now)
  }

  receiveStun(message: StunMessage, client: TurnClient, now: Milliseconds): void {
    if (message.class === 'indication' && message.method === METHOD.send) {
      const allocation = this.#live(client, now)
      if (allocation) this.#traffic.send(allocation, message, now)
    }
    if (message.class !== 'request') return
    if (message.method === METHOD.binding) return this.#bindingRequest(message, client, now)
    const serve = this.#methods[message.method]
    const proven = serve && this.#prove(message, client, now)
    if (proven) serve(proven)
  }

  /** Gives up everything. */
  close(): void {
    this.end(() => true, 'the daemon ends')
    this.#reservations.sweep(Number.POSITIVE_INFINITY)
  }

  /** A client's connection is gone, and its allocation with it. */
  clientGone(client: TurnClient): void {
    const allocation = this.#allocations.byClient(client.key)
    if (allocation) this.#end(allocation, 'the connection ended')
  }

  /** Ends allocations that `isUnwanted` picks. */
  end(isUnwanted: (allocation: Allocation) => boolean, why: string): void {
    for (const allocation of [...this.#allocations]) if (isUnwanted(allocation)) this.#end(allocation, why)
  }

  /** Somebody's trust, the settings or this host's addresses are other ones: takes back what would not be given now. */
  review(now: Milliseconds): void {
    const { isTrusted, filter } = this.#options
    this.#reservations.sweep(now, (peer) => !isTrusted(peer))
    this.end(({ peer }) => !isTrusted(peer), 'the peer is not trusted any more')
    for (const { permissions } of this.#allocations) permissions.revoke((address) => !filter.allows(address))
  }

  /** Ends what is over. */
  tick(now: Milliseconds): void {
    this.end(({ until }) => now >= until, 'it was not kept up')
    this.#reservations.sweep(now)
    for (const { permissions, channels } of this.#allocations) {
      permissions.sweep(now)
      channels.sweep(now)
    }
  }

  readonly #methods: Readonly<Record<number, (proven: Proven) => void>> = {
    [METHOD.allocate]: (proven) => this.#allocate(proven),
    [METHOD.refresh]: (proven) => this.#refresh(proven),
    [METHOD.createPermission]: (proven) => this.#createPermission(proven),
    [METHOD.channelBind]: (proven) => this.#channelBind(proven),
  }

  #live({ key }: TurnClient, now: Milliseconds): Allocation | undefined {
    const allocation = this.#allocations.byClient(key)
    if (!allocation || now < allocation.until) return allocation
    this.#end(allocation, 'it was not kept up')
    return undefined
  }

  #end(allocation: Allocation, why: string): void {
    this.#allocations.remove(allocation)
    this.#options.ended(allocation, why)
  }

  /** RFC 8489 section 12: anybody may ask, and learns nothing but their own address. */
  #bindingRequest(message: StunMessage, client: TurnClient, now: Milliseconds): void {
    if (!this.#gate.admits(client.from.address, now)) return
    const writer = successTo(message)
    writer.add(ATTRIBUTE.xorMappedAddress, encodeXorAddress(client.from, message.transaction))
    client.send(writer.finish({ fingerprint: message.has(ATTRIBUTE.fingerprint) }))
  }

  /** The request with its sender; undefined where there is none, who is answered as far as anybody is. */
  #prove(message: StunMessage, client: TurnClient, now: Milliseconds): Proven | undefined {
    const { address } = client.from
    if (message.integrity && !this.#gate.trusts(address, now)) return undefined
    const proof = this.#authenticator.check(message, client.key, now)
    if (proof.kind === 'user') return this.#admit({ message, client, now, ...proof })
    if (proof.kind === 'refused') this.#gate.failed(address, now)
    if (!this.#gate.admits(address, now)) return undefined
    client.send(challenge(message, proof.code, this.#options.realm, this.#nonces.make(client.key, now)))
    return undefined
  }

  /** Who has the right credentials may be trusted no more, or speak a newer TURN. */
  #admit(proven: Proven): Proven | undefined {
    const unknown = unknownAttributes(proven.message, KNOWN)
    if (unknown.length > 0) {
      this.#refuse(proven, ERROR.unknownAttribute, unknown)
      return undefined
    }
    if (this.#options.isTrusted(proven.peer)) return proven
    this.review(proven.now)
    this.#refuse(proven, ERROR.forbidden)
    return undefined
  }

  #refuse({ message, client, integrity }: Proven, code: number, unknown?: readonly number[]): void {
    client.send(refusal(message, code, integrity, unknown))
  }

  #allocate(proven: Proven): void {
    const { message, client, peer, now } = proven
    const known = this.#live(client, now)
    if (known) {
      if (!known.transaction.equals(message.transaction)) return this.#refuse(proven, ERROR.allocationMismatch)
      // Sent again: the answer was lost.
      return this.#allocated(proven, known, {})
    }
    const request = readAllocate(message)
    if (typeof request === 'number') return this.#refuse(proven, request)
    const families = request.families.filter((family) => this.#options.hasFamily(family))
    if (families.length === 0) return this.#refuse(proven, ERROR.addressFamilyNotSupported)
    const refused = this.#allocations.refusal(peer, this.#options.limits())
    if (refused)
      return this.#refuse(proven, refused === 'peer' ? ERROR.allocationQuotaReached : ERROR.insufficientCapacity)
    const { ports, next } = this.#open(request, families, peer, now)
    if (ports.length === 0) return this.#refuse(proven, ERROR.insufficientCapacity)
    const allocation = this.#allocations.add(client, peer, message.transaction, now, now + lifetimeOf(message))
    this.#allocations.setPorts(allocation, ports)
    for (const port of ports) port.receive((packet, from, at) => this.#traffic.fromPeer(allocation, packet, from, at))
    allocation.token = next && this.#reservations.keep(peer, next, now)
    const missing = request.families.filter((one) => !ports.some(({ address }) => familyOf(address.address) === one))
    this.#allocated(proven, allocation, { missing })
    this.#options.begun(allocation)
  }

  /** The ports that are asked for, and of a pair the one that is kept for later. */
  #open({ token, wish }: AllocateRequest, families: readonly (4 | 6)[], peer: PeerId, now: Milliseconds): Opened {
    if (token) {
      const reserved = this.#reservations.take(token, peer, now)
      return { ports: reserved ? [reserved] : [] }
    }
    if (wish === 'pair' && this.#reservations.isFull) return { ports: [] }
    const opened = families.map((family) => this.#options.openPort(family, wish))
    const [next] = opened.map(([, second]) => second)
    return { ports: opened.flatMap(([first]) => first ?? []), ...(next && { next }) }
  }

  /** `missing`: families that were asked for and cannot be had (ADDRESS-ERROR-CODE, RFC 8656 section 18.12). */
  #allocated(
    { message, client, integrity, now }: Proven,
    { ports, until, token }: Allocation,
    { missing = [] }: { readonly missing?: readonly (4 | 6)[] },
  ): void {
    const writer = successTo(message)
    for (const { address } of ports)
      writer.add(ATTRIBUTE.xorRelayedAddress, encodeXorAddress(address, message.transaction))
    for (const family of missing) {
      const error = encodeError({ code: ERROR.addressFamilyNotSupported, reason: '' })
      error[0] = family === 4 ? 1 : 2
      writer.add(ATTRIBUTE.addressErrorCode, error)
    }
    writer.add(ATTRIBUTE.xorMappedAddress, encodeXorAddress(client.from, message.transaction))
    writer.add(ATTRIBUTE.lifetime, Math.max(0, Math.round((until - now) / 1000)))
    if (token) writer.add(ATTRIBUTE.reservationToken, token)
    client.send(finish(writer, integrity))
  }

  /** The client's allocation; where it has none, or another's, it is told so (RFC 8656 section 5). */
  #own(proven: Proven): Allocation | undefined {
    const allocation = this.#live(proven.client, proven.now)
    if (!allocation) this.#refuse(proven, ERROR.allocationMismatch)
    // The same peer with newer credentials is the same user: old ones end, and the relay need not.
    else if (allocation.peer !== proven.peer) this.#refuse(proven, ERROR.wrongCredentials)
    else return allocation
    return undefined
  }

  /** RFC 8656 section 8.2. */
  #refresh(proven: Proven): void {
    const { message, client, integrity, now } = proven
    const allocation = this.#own(proven)
    if (!allocation) return
    const family = message.get(ATTRIBUTE.requestedAddressFamily)?.[0]
    const chosen = family === undefined ? allocation.ports : allocation.ports.filter((port) => isOf(port, family))
    if (chosen.length === 0) return this.#refuse(proven, ERROR.peerAddressFamilyMismatch)
    const isEnd = message.get(ATTRIBUTE.lifetime)?.equals(NOTHING) === true
    if (!isEnd) allocation.until = now + lifetimeOf(message)
    else if (chosen.length === allocation.ports.length) this.#end(allocation, 'the client gave it back')
    else
      this.#allocations.setPorts(
        allocation,
        allocation.ports.filter((port) => !chosen.includes(port)),
      )
    const writer = successTo(message).add(ATTRIBUTE.lifetime, isEnd ? 0 : Math.round((allocation.until - now) / 1000))
    client.send(finish(writer, integrity))
  }

  /** RFC 8656 section 10.2. */
  #createPermission(proven: Proven): void {
    const { message, client, integrity, now } = proven
    const allocation = this.#own(proven)
    if (!allocation) return
    const values = message.all(ATTRIBUTE.xorPeerAddress)
    const peers = values.flatMap((value) => readPeer(value, message.transaction) ?? [])
    if (peers.length === 0) return this.#refuse(proven, values.length === 0 ? ERROR.badRequest : ERROR.forbidden)
    if (peers.length < values.length) return this.#refuse(proven, ERROR.forbidden)
    const code = this.#forbids(allocation, peers)
    if (code !== undefined) return this.#refuse(proven, code)
    const addresses = peers.map(({ address }) => address)
    if (!allocation.permissions.install(addresses, now)) return this.#refuse(proven, ERROR.insufficientCapacity)
    client.send(finish(successTo(message), integrity))
  }

  /** RFC 8656 section 12.2. */
  #channelBind(proven: Proven): void {
    const { message, client, integrity, now } = proven
    const allocation = this.#own(proven)
    if (!allocation) return
    const value = message.get(ATTRIBUTE.channelNumber)
    const number = value?.length === 4 ? value.readUInt16BE() : 0
    const address = message.get(ATTRIBUTE.xorPeerAddress)
    const peer = readPeer(address, message.transaction)
    if (!address || number < FIRST_CHANNEL || number > client.lastChannel || peer?.port === 0)
      return this.#refuse(proven, ERROR.badRequest)
    if (!peer) return this.#refuse(proven, ERROR.forbidden)
    const code = this.#forbids(allocation, [peer])
    if (code !== undefined) return this.#refuse(proven, code)
    const found = allocation.channels.check(number, peer, now)
    if (found === 'taken') return this.#refuse(proven, ERROR.badRequest)
    if (found === 'full' || !allocation.permissions.install([peer.address], now))
      return this.#refuse(proven, ERROR.insufficientCapacity)
    allocation.channels.bind(number, peer, now)
    client.send(finish(successTo(message), integrity))
  }

  /** The error for peers that this allocation may not talk to; undefined where it may. */
  #forbids(allocation: Allocation, peers: readonly HostPort[]): number | undefined {
    if (peers.some(({ address }) => !allocation.portFor(address))) return ERROR.peerAddressFamilyMismatch
    if (peers.some(({ address }) => !this.#options.filter.allows(address))) return ERROR.forbidden
    return undefined
  }
}

const NOTHING = Buffer.alloc(4)

function isOf({ address }: RelayPort, family: number): boolean {
  return familyOf(address.address) === (family === 1 ? 4 : 6) && (family === 1 || family === 2)
}

/** RFC 8656 section 7.2: what is asked for, no less than the default and no more than an hour. */
function lifetimeOf(message: StunMessage): Milliseconds {
  const value = message.get(ATTRIBUTE.lifetime)
  const asked = value?.length === 4 ? value.readUInt32BE() * 1000 : LIFETIME
  return Math.min(Math.max(asked, LIFETIME), MAX_LIFETIME)
}
