import type { Milliseconds } from '../../types.ts'
import type { Description, Edition, RendezvousSignal } from './description.ts'

/** Changes that come within this time are told together. */
const GATHER: Milliseconds = 15
/** Time until what was not seen is told again; it doubles, up to the last. Signallers may take a second and more. */
const RESEND: Milliseconds = 400
const MAX_RESEND: Milliseconds = 5000
/** How often one description is told. */
const MAX_SENDS = 10
/** Earlier lives of the peer's daemon, whose late signals are not listened to. */
const MAX_PAST = 8

interface RendezvousEvents {
  /** To the peer, over whatever reaches it; it may be lost, doubled, or overtaken. */
  signal(signal: RendezvousSignal): void
  /** What the peer says now; `isNew`: in another attempt than before, with nothing in common with what it said then. */
  described(description: Description, isNew: boolean): void
  /** The peer looks for no way any more. */
  left(): void
}

/**
 * Two hosts describe themselves to each other over signals that may be lost, doubled or reordered: each tells all of it, with a version,
 * until the other has seen that version. Both may begin at once; there is no offer and no answer, and so nothing to collide. Free of I/O.
 */
export class Rendezvous {
  readonly #events: RendezvousEvents
  readonly #edition: { readonly instance: string; readonly attempt: number }
  #version = 0
  #local: Description | undefined
  /** The newest of ours that the peer has. */
  #seenByPeer = 0
  #remote: Edition | undefined
  #past: string[] = []
  #sends = 0
  #at = Number.POSITIVE_INFINITY
  #isClosed = false

  /** `attempt` is higher than in any earlier rendezvous with this peer since the daemon started. */
  constructor(edition: { readonly instance: string; readonly attempt: number }, events: RendezvousEvents) {
    this.#edition = edition
    this.#events = events
  }

  /** When `tick` is to be called next. */
  get deadline(): Milliseconds {
    return this.#at
  }

  /** True once the peer has what we say now. */
  get isSeen(): boolean {
    return this.#version > 0 && this.#seenByPeer === this.#version
  }

  /** True once the peer has said anything. */
  get isAnswered(): boolean {
    return this.#remote !== undefined
  }

  /** True until there is anything to say. */
  get isSilent(): boolean {
    return this.#version === 0
  }

  /** What we say now, whole, to be carried by whoever carries nothing else; undefined until there is anything to say. */
  get current(): Extract<RendezvousSignal, { kind: 'describe' }> | undefined {
    if (!this.#local) return undefined
    const edition = { ...this.#edition, version: this.#version }
    return { kind: 'describe', ...edition, ...this.#local, seen: this.#remote ?? null }
  }

  /** What we say from now on. The first time it leaves at once, changes a moment later. */
  describe(local: Description, now: Milliseconds): void {
    if (this.#isClosed) return
    const isFirst = this.#local === undefined
    this.#local = local
    this.#version++
    this.#sends = 0
    this.#at = isFirst ? now : Math.min(this.#at, now + GATHER)
    if (isFirst) this.tick(now)
  }

  /** A way to the peer has opened: what it has not seen is told now, however often it was told before. */
  nudge(now: Milliseconds): void {
    if (this.#isClosed || this.isSeen || !this.#local) return
    this.#sends = 0
    this.#at = now
    this.tick(now)
  }

  /** Takes a signal of the peer. */
  receive(signal: RendezvousSignal, now: Milliseconds): void {
    if (this.#isClosed) return
    if (signal.kind === 'leave') {
      if (this.#remote?.instance === signal.instance && this.#remote.attempt === signal.attempt) this.#events.left()
      return
    }
    if (signal.seen) this.#confirm(signal.seen)
    if (signal.kind === 'seen') return
    const before = this.#remote
    const { instance, attempt, version } = signal
    if (this.#past.includes(instance)) return
    if (before && before.instance !== instance) this.#past = [...this.#past.slice(1 - MAX_PAST), before.instance]
    const isSame = before?.instance === instance && before.attempt === attempt
    if (before?.instance === instance && (attempt < before.attempt || (isSame && version < before.version))) return
    this.#remote = { instance, attempt, version }
    if (before && !isSame) this.#begunAnew(signal.seen)
    // Where there is something to tell, that says too what was seen.
    if (this.#local && !this.isSeen && this.#sends < MAX_SENDS) this.#at = Math.min(this.#at, now)
    else this.#events.signal({ kind: 'seen', seen: this.#remote })
    if (!isSame || version > before.version) this.#events.described(signal, !isSame)
    this.tick(now)
  }

  tick(now: Milliseconds): void {
    const { current } = this
    if (now < this.#at || !current || this.#isClosed) return
    const pause = Math.min(MAX_RESEND, RESEND * 2 ** this.#sends)
    this.#sends++
    this.#at = this.#sends < MAX_SENDS ? now + pause : Number.POSITIVE_INFINITY
    this.#events.signal(current)
  }

  /** Tells the peer that nothing is looked for any more. */
  close(): void {
    if (this.#isClosed) return
    this.#isClosed = true
    this.#at = Number.POSITIVE_INFINITY
    if (this.#version > 0) this.#events.signal({ kind: 'leave', ...this.#edition, version: this.#version })
  }

  /** The peer is in another attempt than before, and knows of us what it says that it has seen in this one. */
  #begunAnew(seen: Edition | null): void {
    this.#seenByPeer = 0
    this.#sends = 0
    if (seen) this.#confirm(seen)
  }

  #confirm({ instance, attempt, version }: Edition): void {
    if (instance !== this.#edition.instance || attempt !== this.#edition.attempt) return
    if (version > this.#version) return
    this.#seenByPeer = Math.max(this.#seenByPeer, version)
    if (this.isSeen) this.#at = Number.POSITIVE_INFINITY
  }
}
