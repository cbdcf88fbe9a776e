import { isSameTransport, type TransportAddress } from '../nat/transport-address.ts'
import { Refusals } from '../refusals.ts'
import type { Milliseconds } from '../types.ts'
import { type Candidate, Candidates } from './candidates.ts'
import { REASSEMBLY_LIMITS, Reassembly, type ReassemblyLimits } from './fragments.ts'
import { FRAME, FRAME_SIZE, isAside, PacketWriter, readFragment, readReport } from './frames.ts'
import { Keepalive } from './keepalive.ts'
import { type DatagramOutcome, MessageSender } from './message-sender.ts'
import { MtuSearch } from './mtu.ts'
import { packetKeys } from './packet-key.ts'
import { PacketPool } from './packet-pool.ts'
import type { DatagramState, DatagramStatistics } from './path-statistics.ts'
import { RoundTrip } from './round-trip.ts'
import { CONNECTION_ID, HEADER, KEY_LIMITS, type KeyLimits, Opener, Sealer, TAG } from './seal.ts'
import { QUEUE_LIMITS, type QueueLimits } from './send-queue.ts'
import { Traffic } from './traffic.ts'

/** One pool for all paths of the process, as Node has one for its small buffers. */
const packets = new PacketPool()

/** Codes of a socket's errors that say that nothing gets to a destination. */
const UNREACHABLE = ['ENETUNREACH', 'EHOSTUNREACH', 'EPERM', 'EACCES', 'ENETDOWN', 'EADDRNOTAVAIL', 'ECONNREFUSED']

export interface DatagramPathOptions {
  /** The moment it begins, of the monotonic clock that all calls name. */
  readonly now: Milliseconds
  /** True at the end that dialled the link. */
  readonly dialled: boolean
  /** 64 bytes or more from the link's TLS exporter. */
  readonly secret: Buffer
  /** The connection id by which the peer is to address us: 8 random bytes. */
  readonly cid: Buffer
  /** Random bytes that nobody can guess. */
  readonly random: (bytes: number) => Buffer
  /** Largest UDP payload that the interface sends in one piece. */
  readonly maxPayload: number
  /** Another protocol decides where packets go, and has proven it: `follow` is what it tells. */
  readonly isLed?: boolean
  readonly limits?: {
    readonly key?: Partial<KeyLimits>
    readonly queue?: Partial<QueueLimits>
    readonly reassembly?: Partial<ReassemblyLimits>
  }
  /** Where refused packets are counted. */
  readonly refusals?: Refusals
}

/** What a path tells, during a call of it. */
export interface DatagramPathEvents {
  /** A packet is to go to an address. It is the receiver's to keep: nothing writes to it again. */
  output(packet: Buffer, to: TransportAddress): void
  /** A message came whole. Small ones are views of the packet given to `receive`, valid as long as nothing writes to that. */
  message(bytes: Buffer): void
  state(state: DatagramState): void
  /** A round trip of the path was measured. */
  roundTrip(ms: Milliseconds): void
}

/**
 * Unreliable messages between two hosts that have proven themselves on a link: sealed datagrams to one address of the peer, which has proven
 * itself too. Free of I/O: packets and the time in, packets and the next deadline out. After any call `deadline` may be nearer than before.
 */
export class DatagramPath {
  readonly #events: DatagramPathEvents
  readonly #random: (bytes: number) => Buffer
  readonly #refusals: Refusals
  readonly #sealer: Sealer
  readonly #opener: Opener
  readonly #writer = new PacketWriter(packets)
  readonly #candidates: Candidates
  readonly #reassembly: Reassembly
  readonly #keepalive = new Keepalive()
  readonly #mtu: MtuSearch
  readonly #traffic: Traffic
  readonly #sender: MessageSender
  #roundTrip = new RoundTrip()
  #state: DatagramState = 'none'
  #remote: TransportAddress | undefined
  /** A challenge that came before the peer's connection id was known. */
  #owed: { readonly token: Buffer; readonly to: TransportAddress } | undefined
  readonly #isLed: boolean
  #isClosed = false

  constructor(options: DatagramPathOptions, events: DatagramPathEvents) {
    const { now, limits } = options
    if (options.cid.length !== CONNECTION_ID) throw new RangeError(`a connection id has ${CONNECTION_ID} bytes`)
    const keys = packetKeys(options.secret, options.dialled)
    this.#events = events
    this.#random = options.random
    this.#isLed = options.isLed ?? false
    this.#refusals = options.refusals ?? new Refusals()
    this.#sealer = new Sealer(keys.out, { ...KEY_LIMITS, ...limits?.key }, now)
    this.#opener = new Opener(keys.in, options.cid)
    this.#candidates = new Candidates(now)
    this.#reassembly = new Reassembly({ ...REASSEMBLY_LIMITS, ...limits?.reassembly })
    this.#mtu = new MtuSearch(options.maxPayload, now)
    this.#traffic = new Traffic(now)
    const queueLimits = { ...QUEUE_LIMITS, ...limits?.queue }
    const size = () => this.#mtu.size
    this.#sender = new MessageSender(
      this.#writer,
      queueLimits,
      size,
      (packet, at) => this.#sendMessage(packet, at),
      now,
    )
  }

  get state(): DatagramState {
    return this.#state
  }

  /** The proven address, also while it is lost. */
  get remote(): TransportAddress | undefined {
    return this.#remote
  }

  /** When `tick` is to be called next; infinite for not at all. */
  get deadline(): Milliseconds {
    if (this.#state === 'none') return Number.POSITIVE_INFINITY
    const first = Math.min(this.#candidates.deadline, this.#reassembly.deadline)
    if (this.#state !== 'open') return first
    return Math.min(first, this.#keepalive.deadline, this.#traffic.deadline, this.#mtu.deadline, this.#sender.deadline)
  }

  /** The link has told how to address the peer, and where it may be: best first, at most eight count. */
  peer(peer: { readonly cid: Buffer; readonly candidates: readonly TransportAddress[] }, now: Milliseconds): void {
    if (this.#isClosed || peer.cid.length !== CONNECTION_ID) return
    this.#sealer.address(peer.cid)
    if (this.#state === 'none') this.#enter('probing')
    if (this.#owed) this.#respond(this.#owed.token, this.#owed.to, now)
    this.#owed = undefined
    this.candidates(peer.candidates, now)
  }

  /**
   * The network has changed, or the link told other addresses; `maxPayload` where it is another than before. An open path is asked at once
   * whether it still is one.
   */
  candidates(addresses: readonly TransportAddress[], now: Milliseconds, maxPayload?: number): void {
    if (this.#isClosed) return
    this.#candidates.name(addresses, now)
    if (maxPayload !== undefined) this.#mtu.restart(now, maxPayload)
    if (this.#state === 'open') this.#keepalive.doubt(now, false)
    else this.#candidates.want(now)
    this.tick(now)
  }

  /** Moves to an address, be the current path open or not, as soon as it has proven itself. */
  migrate(to: TransportAddress, now: Milliseconds): void {
    if (this.#isClosed || (this.#state === 'open' && isSameTransport(to, this.#remote))) return
    this.#candidates.prefer(to, now)
    this.tick(now)
  }

  /** Moves at once to an address that has proven itself to somebody who may be believed. */
  follow(to: TransportAddress, now: Milliseconds, maxPayload: number): void {
    if (this.#isClosed || this.#state === 'none' || isSameTransport(to, this.#remote)) return
    this.#settle(this.#candidates.vouched(to, now), now, maxPayload)
  }

  /**
   * Sends a message of 1 to `MAX_DATAGRAM_MESSAGE` bytes. One that has to wait is kept as it is, not copied. `deadline`: the moment until
   * which it may wait to begin to leave.
   */
  send(message: Uint8Array, now: Milliseconds, options?: { readonly deadline?: Milliseconds }): DatagramOutcome {
    if (this.#state !== 'open') return 'no-path'
    this.#keepalive.used(now)
    return this.#sender.send(message, now, options?.deadline)
  }

  /**
   * Takes a packet, which is opened in place. False when it is not for this path, not authentic, or was there before. Answers may leave
   * during the call.
   */
  receive(packet: Buffer, from: TransportAddress, now: Milliseconds): boolean {
    if (this.#isClosed) return false
    const highest = this.#opener.highest
    const number = this.#opener.open(packet, now)
    if (typeof number === 'string') {
      if (number !== 'foreign') this.#refusals.count(number === 'forged' ? 'peer.bad-signature' : 'peer.replayed')
      return false
    }
    const aside = isAside(packet[HEADER])
    if (number > highest) this.#locate(packet.length, from, aside, now)
    if (!this.#readFrames(packet, from, now)) this.#refusals.count('peer.malformed')
    this.#traffic.arrived(number, packet.length, aside)
    if (this.#state === 'open' && now >= this.#traffic.deadline) this.#report(now)
    return true
  }

  /** The socket could not send to an address; `size` of the packet where that is known. Nothing leaves during the call. */
  sendFailed(to: TransportAddress, code: string, now: Milliseconds, size?: number): void {
    const isPath = this.#state === 'open' && isSameTransport(to, this.#remote)
    if (code === 'EMSGSIZE') {
      if (isPath) this.#mtu.tooLarge(now, size)
    } else if (UNREACHABLE.includes(code) && isPath) this.#keepalive.doubt(now, true)
  }

  /** Does what is due. */
  tick(now: Milliseconds): void {
    if (this.#state === 'none') return
    this.#reassembly.expire(now)
    this.#challenge(now)
    if (now >= this.#keepalive.deadline) this.#ping(now)
    if (this.#state !== 'open') return
    const probe = this.#mtu.due(now)
    if (probe !== undefined) this.#sendPacket(this.#writer.probe(probe), now, true)
    if (now >= this.#traffic.deadline) this.#report(now)
    this.#sender.drain(now)
  }

  statistics(): DatagramStatistics {
    const { capacity } = this.#sender
    return {
      state: this.#state,
      remote: this.#remote,
      mtu: this.#mtu.size,
      rtt: this.#roundTrip.smoothed,
      minimum: this.#roundTrip.minimum,
      jitter: this.#roundTrip.jitter,
      ...this.#traffic.statistics,
      capacity: capacity === undefined ? undefined : capacity * 8,
      queued: this.#sender.queued,
      dropped: this.#sender.dropped,
    }
  }

  /** Ends it and forgets the keys; every later call does nothing. Safe to call twice. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#sender.clear()
    this.#sealer.wipe()
    this.#opener.wipe()
    this.#enter('none')
  }

  #enter(state: DatagramState): void {
    if (state === this.#state) return
    this.#state = state
    this.#events.state(state)
  }

  /** Where the newest packet came from: a peer that moved is followed once the address has proven itself. */
  #locate(size: number, from: TransportAddress, aside: boolean, now: Milliseconds): void {
    const isOpen = this.#state === 'open'
    if (this.#isLed || (isOpen && aside)) return
    if (isOpen && isSameTransport(from, this.#remote)) return this.#candidates.stay()
    this.#candidates.heard(from, size, now)
    this.#challenge(now)
  }

  /** Reads what an opened packet holds; false where that is malformed. */
  #readFrames(packet: Buffer, from: TransportAddress, now: Milliseconds): boolean {
    const end = packet.length - TAG
    for (let at = HEADER; at < end; ) {
      const kind = packet[at]
      if (kind === FRAME.padding) return true
      if (kind === FRAME.message) {
        if (at + 1 >= end) return false
        this.#received(packet.subarray(at + 1, end), now)
        return true
      }
      if (kind === FRAME.fragment) return this.#readFragment(packet, at + 1, end, now)
      const size = FRAME_SIZE[kind ?? 0]
      if (size === undefined || at + size > end) return false
      if (!this.#readFrame(packet, at, from, now)) return false
      at += size
    }
    return true
  }

  #readFrame(packet: Buffer, at: number, from: TransportAddress, now: Milliseconds): boolean {
    switch (packet[at]) {
      case FRAME.ping:
        this.#sendPacket(this.#writer.pong(packet.readUInt32BE(at + 1)), now)
        return true
      case FRAME.pong:
        this.#ponged(packet.readUInt32BE(at + 1), now)
        return true
      case FRAME.challenge:
        this.#respond(packet.subarray(at + 1, at + 9), from, now)
        return true
      case FRAME.response:
        this.#proven(this.#candidates.answered(packet.subarray(at + 1, at + 9), from), now)
        return true
      case FRAME.probe:
        this.#sendPacket(this.#writer.probed(packet.length), now)
        return true
      case FRAME.probed:
        this.#mtu.acknowledged(packet.readUInt16BE(at + 1), now)
        return true
      default:
        return this.#reported(packet, at + 1, now)
    }
  }

  #readFragment(packet: Buffer, at: number, end: number, now: Milliseconds): boolean {
    const fragment = readFragment(packet, at, end)
    const message = fragment && this.#reassembly.add(fragment, now)
    if (!fragment || message === 'malformed') return false
    this.#received(message, now)
    return true
  }

  #received(message: Buffer | undefined, now: Milliseconds): void {
    this.#keepalive.used(now)
    this.#traffic.messageArrived(now)
    if (message) this.#events.message(message)
  }

  #reported(packet: Buffer, at: number, now: Milliseconds): boolean {
    const report = readReport(packet, at)
    const reported = this.#traffic.reported(report, now)
    if (!reported) return false
    this.#sealer.confirmed(report.highest)
    if (reported.span) this.#sender.reported(reported.span)
    if (reported.isBlackHole) this.#mtu.blackHole(now)
    return true
  }

  #ponged(id: number, now: Milliseconds): void {
    const rtt = this.#keepalive.answered(id, now)
    if (rtt === undefined) return
    this.#roundTrip.sample(rtt)
    this.#events.roundTrip(rtt)
  }

  /** Challenges the candidates whose turn it is. */
  #challenge(now: Milliseconds): void {
    if (this.#state === 'none') return
    for (let due = this.#candidates.due(now); due; due = this.#candidates.due(now)) {
      const token = this.#random(8)
      const size = Math.min(due.bytes, this.#mtu.base)
      this.#candidates.challenged(due.candidate, token, size, now)
      this.#sendTo(this.#writer.challenge(token, size), due.candidate.to, now, true)
    }
  }

  #respond(token: Buffer, to: TransportAddress, now: Milliseconds): void {
    if (this.#state === 'none') {
      this.#owed = { token: Buffer.from(token), to }
      return
    }
    this.#sendTo(this.#writer.response(token), to, now, true)
  }

  /** An address has returned a challenge: it becomes the path when there is none, or when the peer has moved there. */
  #proven(candidate: Candidate | undefined, now: Milliseconds): void {
    if (candidate?.wanted) this.#settle(candidate, now)
  }

  #settle(candidate: Candidate, now: Milliseconds, maxPayload?: number): void {
    this.#candidates.settle(candidate)
    this.#remote = candidate.to
    this.#roundTrip = new RoundTrip()
    this.#mtu.restart(now, maxPayload)
    this.#traffic.restart(now)
    this.#sender.restart(now)
    this.#keepalive.start(now)
    this.#enter('open')
    this.tick(now)
  }

  #ping(now: Milliseconds): void {
    if (!this.#keepalive.isExhausted) {
      this.#sendPacket(this.#writer.ping(this.#keepalive.ask(now)), now)
      return
    }
    this.#keepalive.stop()
    this.#sender.clear()
    this.#candidates.want(now)
    this.#enter('lost')
    this.#challenge(now)
  }

  #report(now: Milliseconds): void {
    this.#sendPacket(this.#writer.report(this.#traffic.report(now)), now)
  }

  #sendMessage(packet: Buffer, now: Milliseconds): void {
    this.#traffic.messageLeft(now)
    this.#sendPacket(packet, now)
  }

  /** Over the path, where one is open. */
  #sendPacket(packet: Buffer, now: Milliseconds, aside = false): void {
    if (this.#remote && this.#state === 'open') this.#sendTo(packet, this.#remote, now, aside)
  }

  #sendTo(packet: Buffer, to: TransportAddress, now: Milliseconds, aside: boolean): void {
    if (this.#isClosed) return
    const number = this.#sealer.seal(packet, now)
    this.#traffic.left(number, packet.length, aside)
    this.#sender.spend(packet.length)
    this.#events.output(packet, to)
  }
}
