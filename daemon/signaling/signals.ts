import type { Clock } from '../clock.ts'
import { type ErrorCode, PartylineError, toPartylineError } from '../errors.ts'
import type { Identity } from '../identity/key.ts'
import type { Logger } from '../logger.ts'
import type { Refusals } from '../refusals.ts'
import { TokenBucket, TokenBuckets } from '../token-bucket.ts'
import type { Milliseconds, PeerId, UnixMilliseconds } from '../types.ts'
import { checkTopic, Envelope, ID_SIZE, type Sealing, type Signal } from './envelope.ts'
import { ForwardClock } from './forward-clock.ts'
import { type REMEMBERED, ReplayGuard } from './replay-guard.ts'
import { Rounds } from './rounds.ts'
import { SentSignals } from './sent-signals.ts'
import { MAX_SIGNAL, type SignalExchange, type Signaller, type SignallerName } from './signaller.ts'

/** Sealed signals opened a second, and at once: each costs some 100 µs. */
const OPENINGS = { rate: 500, burst: 2000 }
/** Signals taken from one sender. */
const PER_SENDER = { rate: 50, burst: 200, keys: 4096 }
/** Answers to signals whose time does not do: to one sender, and in all. */
const CORRECTIONS = { rate: 0.2, burst: 8, keys: 4096 }
const CORRECTIONS_IN_ALL = { rate: 50, burst: 500 }
/** Peers whose clocks are known to disagree with ours. */
const MAX_LEARNED = 4096
/** Sealed signals known to be repeated without opening them. */
const MAX_OPENED = 4096
/** A signal that two carriers bring, or one sends again, comes twice within this; what comes back later was recorded by somebody. */
const DOUBLES: Milliseconds = 10_000
/** The topic of our own answers: the id of the refused signal, its receiver's time (64 bits, Unix ms), and the new round (48 bits). */
const CORRECTION = 'clock'
const ROUND_AT = ID_SIZE + 8
const CORRECTION_SIZE = ROUND_AT + 6
/** The last moment that a `Date` can hold. */
const END_OF_TIME: UnixMilliseconds = 8.64e15

interface SignalsOptions {
  readonly identity: Identity
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly isBlocked: (peer: PeerId) => boolean
  readonly randomBytes: (size: number) => Uint8Array
  /** How signals are sealed; with the identity unless told. */
  readonly sealing?: Sealing
  /** How many ids are remembered. */
  readonly remembered?: typeof REMEMBERED
}

/** A peer's clock, as it told. */
interface Learned {
  /** What it shows when our monotonic clock shows 0. */
  readonly base: UnixMilliseconds
  readonly round: number
}

type Listener = (peer: PeerId, content: Uint8Array) => void

/**
 * Signed and sealed signals over every signaller that reaches the peer.
 *
 * Within the life of a process no signal is delivered twice, whoever replays it and whatever happens to clocks. A signal stamped before the
 * receiver started is refused. A host whose clock disagrees is told so under the receiver's signature, and sends the signal once more with
 * the receiver's time under the same id: so no host needs a right clock.
 */
export class Signals implements SignalExchange {
  readonly #options: SignalsOptions
  readonly #clock: Clock
  readonly #sealing: Sealing
  readonly #forward: ForwardClock
  readonly #rounds: Rounds
  readonly #guard: ReplayGuard
  readonly #openings: TokenBucket
  readonly #perSender = new TokenBuckets(PER_SENDER)
  readonly #corrections = new TokenBuckets(CORRECTIONS)
  readonly #correctionsInAll: TokenBucket
  readonly #sent = new SentSignals()
  readonly #signallers = new Set<{ readonly signaller: Signaller }>()
  readonly #listeners = new Map<string, Set<{ readonly listener: Listener }>>()
  /** The longest unused first. */
  readonly #learned = new Map<PeerId, Learned>()
  /** When sealed signals were accepted, by the ephemeral key they begin with. */
  readonly #opened = new Map<string, Milliseconds>()

  constructor(options: SignalsOptions) {
    this.#options = options
    this.#clock = options.clock
    this.#sealing = options.sealing ?? new Envelope(options.identity)
    this.#forward = new ForwardClock(options.clock)
    const now = options.clock.now()
    this.#rounds = new Rounds(Math.floor(Buffer.from(options.randomBytes(6)).readUIntBE(0, 6) / 2))
    this.#guard = new ReplayGuard({ now, wall: this.#forward.wall() }, this.#rounds, options.remembered)
    this.#openings = new TokenBucket(OPENINGS, now)
    this.#correctionsInAll = new TokenBucket(CORRECTIONS_IN_ALL, now)
  }

  /** Uses a signaller from now on; returns the way to stop that. */
  add(signaller: Signaller): () => void {
    const entry = { signaller }
    this.#signallers.add(entry)
    const stop = signaller.onSignal((sealed) => this.#receive(sealed))
    return () => {
      if (this.#signallers.delete(entry)) stop()
    }
  }

  reaches(peer: PeerId): readonly SignallerName[] {
    return [...new Set(this.#reaching(peer).map(({ name }) => name))]
  }

  /** Also throws `usage.invalid-argument` for what is no topic, or ours. */
  send(peer: PeerId, topic: string, content: Uint8Array): boolean {
    this.#checkTopic(topic)
    if (content.length > MAX_SIGNAL)
      throw new PartylineError('usage.too-large', `a signal holds ${MAX_SIGNAL} bytes, not ${content.length}`, {
        hint: 'Send less at a time.',
      })
    if (peer === this.#options.identity.peer || this.#reaching(peer).length === 0) return false
    const signal = { peer, id: this.#newId(), topic, content: Uint8Array.from(content) }
    this.#sent.add(signal, this.#clock.now(), this.#forward.wall())
    return this.#carry(peer, signal)
  }

  handle(topic: string, listener: Listener): () => void {
    this.#checkTopic(topic)
    const entry = { listener }
    const listeners = this.#listeners.get(topic) ?? new Set()
    this.#listeners.set(topic, listeners)
    listeners.add(entry)
    return () => {
      listeners.delete(entry)
      if (listeners.size === 0 && this.#listeners.get(topic) === listeners) this.#listeners.delete(topic)
    }
  }

  #checkTopic(topic: string): void {
    checkTopic(topic)
    if (topic === CORRECTION)
      throw new PartylineError('usage.invalid-argument', `the topic ${CORRECTION} is used by signals themselves`)
  }

  #newId(): string {
    return Buffer.from(this.#options.randomBytes(ID_SIZE)).toString('hex')
  }

  #reaching(peer: PeerId): readonly Signaller[] {
    return [...this.#signallers].map(({ signaller }) => signaller).filter((one) => one.reaches(peer))
  }

  /** Stamps, seals and sends; false where the peer id is no key, or nothing reaches the peer. */
  #carry(peer: PeerId, signal: Omit<Signal, 'time' | 'round'>): boolean {
    let sealed: Uint8Array
    try {
      sealed = this.#sealing.seal(peer, { ...signal, ...this.#stampFor(peer) })
    } catch (error) {
      this.#options.logger.debug('a signal could not be sealed', { peer, error: toPartylineError(error).message })
      return false
    }
    const signallers = this.#reaching(peer)
    for (const signaller of signallers) signaller.send(peer, sealed)
    return signallers.length > 0
  }

  /** The time as the peer sees it, as far as we know. */
  #stampFor(peer: PeerId): Pick<Signal, 'time' | 'round'> {
    const learned = this.#learned.get(peer)
    if (!learned) return { time: Math.min(END_OF_TIME, Math.max(0, this.#clock.wall())), round: 0 }
    setBounded(this.#learned, peer, learned, MAX_LEARNED)
    return { time: learned.base + this.#clock.now(), round: learned.round }
  }

  #receive(sealed: Uint8Array): void {
    const now = this.#clock.now()
    const ephemeralKey = Buffer.from(sealed.subarray(0, 32)).toString('latin1')
    const opened = this.#opened.get(ephemeralKey)
    if (opened !== undefined) return this.#repeated(now - opened)
    if (!this.#openings.take(now)) return this.#refuse('peer.rate-limited')
    let signal: ReturnType<Sealing['open']>
    try {
      signal = this.#sealing.open(sealed)
    } catch (error) {
      const { code, message } = toPartylineError(error)
      return this.#refuse(code, { message })
    }
    const { sender } = signal
    if (sender === this.#options.identity.peer) return this.#refuse('peer.bad-signal', { message: 'our own signal' })
    if (this.#options.isBlocked(sender)) return this.#refuse('policy.blocked', { sender })
    if (!this.#perSender.take(sender, now)) return this.#refuse('peer.rate-limited', { sender })
    if (signal.topic === CORRECTION) return this.#corrected(signal)
    const wall = this.#forward.wall()
    const verdict = this.#guard.accept(sender, signal, { now, wall })
    if (verdict.kind === 'repeated') return this.#repeated(verdict.after)
    if (verdict.kind === 'old') {
      this.#refuse('peer.old-signal', { sender, behind: wall - signal.time })
      if (verdict.unseen) this.#correct(signal, now, wall)
      return
    }
    setBounded(this.#opened, ephemeralKey, now, MAX_OPENED)
    this.#deliver(signal)
  }

  #deliver({ sender, topic, content }: ReturnType<Sealing['open']>): void {
    for (const { listener } of [...(this.#listeners.get(topic) ?? [])])
      try {
        listener(sender, content)
      } catch (error) {
        this.#options.logger.error('a signal could not be handled', { topic, sender, error })
      }
  }

  /** A double that two carriers brought is nothing to tell of. */
  #repeated(after: Milliseconds): void {
    if (after > DOUBLES) this.#refuse('peer.replayed')
  }

  #refuse(code: ErrorCode, facts: Record<string, unknown> = {}): void {
    this.#options.refusals.count(code)
    this.#options.logger.debug('refused a signal', { code, ...facts })
  }

  /** Tells the sender of a signal what time it is here. */
  #correct({ sender, id }: { sender: PeerId; id: string }, now: Milliseconds, wall: UnixMilliseconds): void {
    if (!this.#corrections.take(sender, now) || !this.#correctionsInAll.take(now)) return
    const content = Buffer.alloc(CORRECTION_SIZE)
    content.write(id, 'hex')
    content.writeBigUInt64BE(BigInt(Math.min(END_OF_TIME, Math.max(0, Math.floor(wall)))), ID_SIZE)
    content.writeUIntBE(this.#rounds.next(), ROUND_AT, 6)
    this.#carry(sender, { id: this.#newId(), topic: CORRECTION, content })
  }

  /**
   * A peer's clock disagrees with ours: learns by how much, and sends the signal once more. Needs no check of its own time: it names a signal
   * that we sent to that peer lately, and counts once.
   */
  #corrected({ sender, content }: { sender: PeerId; content: Uint8Array }): void {
    const bytes = Buffer.from(content)
    if (bytes.length !== CORRECTION_SIZE) return this.#refuse('peer.bad-signal', { sender })
    const time = Number(bytes.readBigUInt64BE(ID_SIZE))
    const round = bytes.readUIntBE(ROUND_AT, 6)
    if (time > END_OF_TIME) return this.#refuse('peer.bad-signal', { sender })
    const now = this.#clock.now()
    const signal = this.#sent.take(sender, bytes.toString('hex', 0, ID_SIZE), now, this.#forward.wall())
    if (!signal) return
    setBounded(this.#learned, sender, { base: time - now, round }, MAX_LEARNED)
    this.#carry(sender, signal)
  }
}

/** Sets an entry as the newest; the oldest one makes room. */
function setBounded<K, V>(map: Map<K, V>, key: K, value: V, limit: number): void {
  map.delete(key)
  map.set(key, value)
  const [oldest] = map.keys()
  if (map.size > limit && oldest !== undefined) map.delete(oldest)
}
