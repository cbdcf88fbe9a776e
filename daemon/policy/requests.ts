import type { Clock } from '../clock.ts'
import { cleanName } from '../identity/host-name.ts'
import { type Allowance, TokenBucket } from '../token-bucket.ts'
import type { Milliseconds, PeerId, UnixMilliseconds } from '../types.ts'
import type { Origin } from './origin.ts'

/** Most requests that wait for the owner; the oldest goes first. */
export const MAX_REQUESTS = 64
/** Peers that were let in for a while, and that were refused of late. */
export const MAX_ANSWERED = 256
/** How long a peer is let in by `--once`. */
export const ONCE: Milliseconds = 600_000
/** How long a refused peer does not ask again. */
const REFUSED: Milliseconds = 600_000
/** Tries that come closer together than this are one. */
const ONE_TRY: Milliseconds = 15_000
/** Peers that had not asked yet: whoever makes keys can be as many as he likes. */
const NEWCOMERS: Allowance = { rate: 0.5, burst: 16 }

/** Somebody waits for the owner's word. */
export interface AccessRequest {
  readonly peer: PeerId
  /** What it calls itself; empty where it has not said. */
  readonly name: string
  readonly from: Origin
  /** The address it came from; empty where only a signal came. */
  readonly address: string
  /** Who introduced it; undefined for one that asks itself. */
  readonly by: PeerId | undefined
  readonly first: UnixMilliseconds
  readonly last: UnixMilliseconds
  /** How often it tried. */
  readonly count: number
}

/** What a request tells. */
export type Asking = Pick<AccessRequest, 'peer' | 'name' | 'from' | 'address' | 'by'>

interface RequestsOptions {
  readonly clock: Clock
  /** Somebody asks who did not before. */
  readonly onNew: (request: AccessRequest) => void
  /** What `list` gives is another. */
  readonly onChange: () => void
}

/** Who asks to open a session, and what the owner said. Kept in memory, and bounded: whoever asks can make no more of it. */
export class AccessRequests {
  readonly #options: RequestsOptions
  readonly #waiting = new Map<PeerId, AccessRequest>()
  /** Until when a peer is let in, or not heard. */
  readonly #granted = new Map<PeerId, Milliseconds>()
  readonly #refused = new Map<PeerId, Milliseconds>()
  readonly #newcomers: TokenBucket

  constructor(options: RequestsOptions) {
    this.#options = options
    this.#newcomers = new TokenBucket(NEWCOMERS, options.clock.now())
  }

  /** Those that wait, the newest first. */
  list(): readonly AccessRequest[] {
    return [...this.#waiting.values()].reverse()
  }

  get(peer: PeerId): AccessRequest | undefined {
    return this.#waiting.get(peer)
  }

  /** A peer asks; false where it does not wait for the owner then: it was refused lately, or too many ask. */
  ask(asking: Asking): boolean {
    const { clock, onNew, onChange } = this.#options
    const { peer } = asking
    if (this.#isIn(this.#refused, peer)) return false
    const last = clock.wall()
    const known = this.#waiting.get(peer)
    if (known) {
      const { first, name, count } = known
      const isAnother = last - known.last >= ONE_TRY
      const by = asking.by ?? known.by
      const said = cleanName(asking.name) || name
      this.#waiting.set(peer, { ...asking, by, name: said, first, last, count: count + (isAnother ? 1 : 0) })
      if (isAnother || said !== name) onChange()
      return true
    }
    if (!this.#newcomers.take(clock.now())) return false
    const request = { ...asking, name: cleanName(asking.name), first: last, last, count: 1 }
    this.#waiting.set(peer, request)
    const [oldest] = this.#waiting.keys()
    if (this.#waiting.size > MAX_REQUESTS && oldest !== undefined) this.#waiting.delete(oldest)
    onNew(request)
    onChange()
    return true
  }

  /** The owner lets a peer in for a while. */
  grant(peer: PeerId): void {
    this.#keep(this.#granted, peer, ONCE)
    this.#refused.delete(peer)
    this.settle(peer)
  }

  /** The owner does not want to hear of it for now. */
  refuse(peer: PeerId): void {
    this.#keep(this.#refused, peer, REFUSED)
    this.#granted.delete(peer)
    this.settle(peer)
  }

  /** It waits no more. */
  settle(peer: PeerId): void {
    if (this.#waiting.delete(peer)) this.#options.onChange()
  }

  /** The owner changed his mind, whatever it was. */
  forget(peer: PeerId): void {
    this.#granted.delete(peer)
    this.#refused.delete(peer)
    this.settle(peer)
  }

  isGranted(peer: PeerId): boolean {
    return this.#isIn(this.#granted, peer)
  }

  #isIn(table: Map<PeerId, Milliseconds>, peer: PeerId): boolean {
    const until = table.get(peer)
    if (until === undefined) return false
    if (this.#options.clock.now() < until) return true
    table.delete(peer)
    return false
  }

  #keep(table: Map<PeerId, Milliseconds>, peer: PeerId, time: Milliseconds): void {
    table.delete(peer)
    table.set(peer, this.#options.clock.now() + time)
    const [oldest] = table.keys()
    if (table.size > MAX_ANSWERED && oldest !== undefined) table.delete(oldest)
  }
}
