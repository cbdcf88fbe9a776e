import { randomBytes } from 'node:crypto'
import { connect, type Socket } from 'node:net'
import { cleanLines } from '../clean-text.ts'
import type { Clock } from '../clock.ts'
import { raceDials } from '../connect/dial-race.ts'
import { type ErrorCode, PartylineError, toPartylineError } from '../errors.ts'
import type { Identity } from '../identity/key.ts'
import type { Logger } from '../logger.ts'
import { plainAddress } from '../network/addresses.ts'
import { formatHostPort } from '../network/network.ts'
import type { Refusals } from '../refusals.ts'
import type { Signaller } from '../signaling/signaller.ts'
import { TokenBuckets } from '../token-bucket.ts'
import type { HostPort, Milliseconds, PeerId } from '../types.ts'
import { LanConnection } from './lan-connection.ts'
import type { LanInstance, LanRoster } from './lan-roster.ts'
import { MAX_STREAM_SIGNAL } from './lan-stream.ts'
import { SignalQueue } from './signal-queue.ts'
import { isChatText } from './stanzas.ts'

/** Streams from one address, streams that somebody began and did not finish beginning, and streams in all. */
const MAX_PER_ADDRESS = 8
const MAX_HALF_OPEN = 64
const MAX_STREAMS = 256
/** Bytes read from one address: a byte of XML costs more to read than to send, and whoever comes again shall not begin anew. */
const INCOMING = { rate: 64 * 1024, burst: 512 * 1024, keys: 1024 }
/** Signals taken from one address: each costs much to open, and what one brings shall leave room for what others bring. */
const SIGNALS = { rate: 50, burst: 500, keys: 1024 }
/** Streams with one instance: two when both sides dialled at once. */
const MAX_PER_INSTANCE = 2
/** Addresses of an instance that are dialled. */
const MAX_ADDRESSES = 16
/** Messages that wait for a stream to one instance. */
const MAX_CHATS_WAITING = 64
const DIAL_TIMEOUT: Milliseconds = 5000
/** Time before an instance that hung up at all of its addresses is dialled again. */
export const DIAL_AGAIN: Milliseconds = 400

interface LanStreamsOptions {
  readonly identity: Identity
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly roster: LanRoster
  /** A message came from somebody on the LAN, in the clear. */
  readonly onChat: (from: LanInstance, text: string) => void
  /** Somebody on the LAN writes, or stopped to. */
  readonly onChatState: (from: LanInstance, composing: boolean) => void
  readonly randomBytes?: (size: number) => Uint8Array
  /** Opens a TCP connection; the system's unless told. */
  readonly connect?: (target: HostPort) => Socket
}

/** A stream in the table. */
interface Entry {
  readonly connection: LanConnection
  /** Where it came from; undefined for one that we dialled. */
  readonly address: string | undefined
  /** Who is at the other end; undefined until admitted. */
  instance: LanInstance | undefined
}

/** The serverless streams of a host (XEP-0174): to and from everybody on the LAN who announces presence. Carries chat in the clear, and signals. */
export class LanStreams implements Signaller {
  readonly name = 'lan-stream'
  readonly #options: LanStreamsOptions
  readonly #randomBytes: (size: number) => Uint8Array
  /** In the order in which they were opened. */
  readonly #entries = new Set<Entry>()
  readonly #dialling = new Map<string, { readonly opened: Promise<Entry>; waiting: number }>()
  readonly #sockets = new Set<Promise<void>>()
  readonly #listeners = new Set<{ readonly listener: (sealed: Uint8Array) => void }>()
  readonly #queue = new SignalQueue()
  readonly #incoming = new TokenBuckets(INCOMING)
  readonly #signals = new TokenBuckets(SIGNALS)
  readonly #abort = new AbortController()

  constructor(options: LanStreamsOptions) {
    this.#options = options
    this.#randomBytes = options.randomBytes ?? randomBytes
  }

  /** How many streams there are, and how many of those others opened are not ready to be used. */
  get counts(): { open: number; halfOpen: number } {
    const isHalfOpen = ({ address, connection }: Entry): boolean => address !== undefined && !connection.isReady
    return { open: this.#entries.size, halfOpen: [...this.#entries].filter(isHalfOpen).length }
  }

  /** Takes a connection that speaks XMPP; its first bytes may have been read already. */
  take(socket: Socket): void {
    const address = plainAddress(socket.remoteAddress ?? '')
    if (this.#isClosed || address === '') return void socket.on('error', () => {}).destroy()
    const fromThere = [...this.#entries].filter((entry) => entry.address === address).length
    const { open, halfOpen } = this.counts
    if (fromThere >= MAX_PER_ADDRESS || halfOpen >= MAX_HALF_OPEN || open >= MAX_STREAMS) {
      this.#refuse('peer.too-many-links')
      socket.on('error', () => {}).destroy()
      return
    }
    this.#add(socket, address, undefined)
  }

  /**
   * Sends a message to an instance, over the stream there is or a new one. Resolves when it is written or, to a Partyline host, when its
   * receipt came. Rejects with `network.unreachable`, `network.timeout`, `network.lost`, `usage.too-large`, `peer.busy`.
   */
  async sendChat(instance: string, text: string): Promise<void> {
    const clean = cleanLines(text)
    if (clean.trim() === '') throw new PartylineError('usage.invalid-argument', 'the message is empty')
    if (!isChatText(clean)) throw new PartylineError('usage.too-large', 'a message takes at most 4096 bytes')
    const to = this.#options.roster.find(instance)
    if (!to) throw new PartylineError('network.unreachable', `${instance} is not on the LAN`)
    const { connection } = await this.#open(to)
    await connection.sendChat(clean, this.#newId(), to.peer !== undefined)
  }

  /** Tells an instance whether the user writes, where there is a stream and the other side cares. */
  sendChatState(instance: string, composing: boolean): void {
    const to = this.#options.roster.find(instance)
    if (to) this.#usable(to)?.connection.sendChatState(composing)
  }

  reaches(peer: PeerId): boolean {
    return !this.#isClosed && (this.#proven(peer) ?? this.#reachable(peer)) !== undefined
  }

  send(peer: PeerId, sealed: Uint8Array): void {
    if (this.#isClosed || sealed.length > MAX_STREAM_SIGNAL) return
    const entry = this.#proven(peer)
    if (entry) return entry.connection.sendSignal(sealed)
    const to = this.#reachable(peer)
    if (!to) return
    if (!this.#queue.add(peer, sealed, this.#options.clock.now())) return
    this.#open(to).then(
      () => this.#flush(peer),
      (error: unknown) => {
        this.#queue.take(peer, this.#options.clock.now())
        const { code, message } = toPartylineError(error)
        this.#options.logger.debug('signals were dropped', { instance: to.instance, code, message })
      },
    )
  }

  onSignal(listener: (sealed: Uint8Array) => void): () => void {
    const entry = { listener }
    this.#listeners.add(entry)
    return () => this.#listeners.delete(entry)
  }

  /** Ends all streams gracefully; resolves when they are closed, after two goodbyes' time at most. */
  async close(): Promise<void> {
    this.#abort.abort()
    this.#queue.clear()
    for (const { connection } of [...this.#entries]) connection.end()
    await Promise.all(this.#sockets)
  }

  get #isClosed(): boolean {
    return this.#abort.signal.aborted
  }

  #newId(): string {
    return Buffer.from(this.#randomBytes(12)).toString('hex')
  }

  #reachable(peer: PeerId): LanInstance | undefined {
    if (this.#isClosed || peer === this.#options.identity.peer) return undefined
    const instance = this.#options.roster.byPeer(peer)
    return instance && instance.addresses.length > 0 ? instance : undefined
  }

  /** The stream last opened with an instance, ready to be used. */
  #usable({ instance, peer }: LanInstance): Entry | undefined {
    return [...this.#entries].findLast(
      (entry) => entry.connection.isReady && entry.instance?.instance === instance && entry.instance.peer === peer,
    )
  }

  /** The stream last opened on which a peer has proven its key. Anybody can announce its id; that changes nothing here. */
  #proven(peer: PeerId): Entry | undefined {
    return [...this.#entries].findLast((entry) => entry.connection.isReady && entry.instance?.peer === peer)
  }

  /** A stream that may be used; rejects when there is none in time. */
  async #open(to: LanInstance): Promise<Entry> {
    const usable = this.#usable(to)
    if (usable) return usable
    const dialling = this.#dialling.get(to.instance) ?? { opened: this.#dial(to), waiting: 0 }
    if (dialling.waiting >= MAX_CHATS_WAITING) throw new PartylineError('peer.busy')
    dialling.waiting++
    this.#dialling.set(to.instance, dialling)
    try {
      return await dialling.opened
    } catch (error) {
      // The other side may have opened one meanwhile.
      const theirs = this.#usable(to)
      if (theirs) return theirs
      throw error
    } finally {
      if (this.#dialling.get(to.instance) === dialling) this.#dialling.delete(to.instance)
    }
  }

  async #dial(to: LanInstance): Promise<Entry> {
    if (this.#isClosed) throw new PartylineError('local.stopping')
    if (this.#entries.size + this.#dialling.size >= MAX_STREAMS) throw new PartylineError('local.limit')
    const { clock, roster } = this.#options
    if (roster.self() === '') throw new PartylineError('network.unreachable', 'this host announces no presence')
    const abort = new AbortController()
    const tooLate = clock.after(DIAL_TIMEOUT, () => abort.abort())
    const signal = AbortSignal.any([abort.signal, this.#abort.signal])
    try {
      let left = addressesOf(to)
      for (;;) {
        const socket = await raceDials(
          left,
          (target, race) => this.#connect(target, race),
          (late) => late.destroy(),
          { clock, signal },
        )
        const dialled = plainAddress(socket.remoteAddress ?? '')
        if (this.#isClosed) {
          socket.destroy()
          throw new PartylineError('local.stopping')
        }
        const entry = this.#add(socket, undefined, to)
        try {
          await entry.connection.ready
          return entry
        } catch (error) {
          // libpurple hangs up on addresses that it has not seen: another of ours may be one that it has, or it learns of ours yet.
          if (toPartylineError(error).code !== 'network.lost') throw error
          left = left.filter(({ address }) => plainAddress(address) !== dialled)
          if (left.length > 0) continue
          await pause(clock, DIAL_AGAIN, signal)
          const theirs = this.#usable(to)
          if (theirs) return theirs
          left = addressesOf(roster.find(to.instance))
          if (signal.aborted || left.length === 0) throw error
        }
      }
    } finally {
      tooLate.cancel()
    }
  }

  #connect(target: HostPort, signal: AbortSignal): Promise<Socket> {
    return new Promise((resolve, reject) => {
      const dial =
        this.#options.connect ?? (({ address, port }) => connect({ host: address, port, allowHalfOpen: true }))
      const socket = dial(target)
      const settle = (finish: () => void): void => {
        signal.removeEventListener('abort', abort)
        socket.off('connect', connected)
        finish()
      }
      const fail = (reason: string): void =>
        settle(() => {
          socket.destroy()
          reject(new PartylineError('network.unreachable', `${formatHostPort(target)}: ${reason}`))
        })
      const abort = (): void => fail('given up')
      const connected = (): void => settle(() => resolve(socket))
      socket.once('connect', connected)
      socket.on('error', (error) => fail(error.message))
      signal.addEventListener('abort', abort)
    })
  }

  #add(socket: Socket, address: string | undefined, instance: LanInstance | undefined): Entry {
    const { clock, identity, roster, onChat, onChatState } = this.#options
    const source = plainAddress(socket.remoteAddress ?? '')
    const gone = Promise.withResolvers<void>()
    this.#sockets.add(gone.promise)
    const connection = new LanConnection(
      {
        socket,
        clock,
        incoming: this.#incoming.of(source, clock.now()),
        stream: {
          role: instance ? 'initiator' : 'responder',
          self: roster.self(),
          ...(instance && { remote: { instance: instance.instance, peer: instance.peer } }),
          identity,
          randomBytes: this.#randomBytes,
        },
      },
      {
        asked: (from) => void this.#admit(entry, from),
        ready: () => this.#opened(entry),
        chat: (text) => {
          if (entry.instance) onChat(this.#current(entry.instance), text)
        },
        composing: (composing) => {
          if (entry.instance) onChatState(this.#current(entry.instance), composing)
        },
        signal: (sealed) => {
          if (!this.#signals.take(source, clock.now())) return this.#refuse('peer.rate-limited', { address: source })
          for (const { listener } of [...this.#listeners]) listener(sealed)
        },
        refused: (code) => this.#refuse(code, { address, instance: entry.instance?.instance }),
        closed: (error) => {
          this.#entries.delete(entry)
          if (error) this.#options.logger.debug('a stream is over', { address, code: error.code, error: error.message })
        },
        gone: () => {
          this.#sockets.delete(gone.promise)
          gone.resolve()
        },
      },
    )
    const entry: Entry = { connection, address, instance }
    this.#entries.add(entry)
    return entry
  }

  /** What the roster knows of an instance by now: its presence may have changed since the stream was opened. */
  #current(instance: LanInstance): LanInstance {
    return this.#options.roster.find(instance.instance) ?? instance
  }

  /** Takes a stream only from an instance that is on the LAN, and from where that instance is. */
  async #admit(entry: Entry, from: string): Promise<void> {
    const { roster } = this.#options
    const isThere = (instance: LanInstance | undefined): instance is LanInstance =>
      instance?.addresses.some(({ address }) => plainAddress(address) === entry.address) === true
    const known = roster.find(from)
    const instance = isThere(known) ? known : await roster.lookUp(from).catch(() => undefined)
    if (!isThere(instance) || this.#isClosed) return entry.connection.refuse()
    entry.instance = instance
    entry.connection.admit(instance.instance, instance.peer)
  }

  #opened(entry: Entry): void {
    const { instance } = entry
    if (!instance || !this.#entries.delete(entry)) return
    this.#entries.add(entry)
    const same = [...this.#entries].filter(
      (one) => one.connection.isReady && one.instance?.instance === instance.instance,
    )
    for (const { connection } of same.slice(0, -MAX_PER_INSTANCE)) connection.end()
    if (instance.peer) this.#flush(instance.peer)
  }

  #flush(peer: PeerId): void {
    const entry = this.#proven(peer)
    if (!entry) return
    for (const sealed of this.#queue.take(peer, this.#options.clock.now())) entry.connection.sendSignal(sealed)
  }

  #refuse(code: ErrorCode, facts: Record<string, unknown> = {}): void {
    this.#options.refusals.count(code)
    this.#options.logger.debug('a stream was refused', { code, ...facts })
  }
}

/** Where to dial an instance. IPv4 first: it is what plain XMPP clients are sure to know of us. */
function addressesOf(instance: LanInstance | undefined): LanInstance['addresses'] {
  const isIpv6 = ({ address }: HostPort): boolean => address.includes(':')
  return [...(instance?.addresses ?? [])].sort((a, b) => Number(isIpv6(a)) - Number(isIpv6(b))).slice(0, MAX_ADDRESSES)
}

/** Resolves after a time, or when aborted. */
function pause(clock: Clock, time: Milliseconds, signal: AbortSignal): Promise<void> {
  return new Promise((resolve) => {
    const done = (): void => {
      timer.cancel()
      signal.removeEventListener('abort', done)
      resolve()
    }
    const timer = clock.after(time, done)
    signal.addEventListener('abort', done)
    if (signal.aborted) done()
  })
}
