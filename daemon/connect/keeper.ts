import type { Clock, Timer } from '../clock.ts'
import type { Milliseconds, PeerId } from '../types.ts'

/** Peers that sessions are kept with. */
export const MAX_KEPT = 64
/** Sessions that are opened at one time. */
export const MAX_AT_ONCE = 4
/** Pause after a first failure; it doubles with each. */
const FIRST_PAUSE: Milliseconds = 1000
/** The longest pause: while the peer was connected lately, whose line may come back any moment, and else. */
const SHORT_PAUSE: Milliseconds = 6000
const LONG_PAUSE: Milliseconds = 300_000
/** How long a lost session counts as one of lately. */
const LATELY: Milliseconds = 600_000
/** Pauses differ by so much of themselves: hosts whose line comes back at the same moment do not all begin at once. */
const JITTER = 0.25
/** The longest a peer waits for its turn after news, for the same reason. */
const SPREAD: Milliseconds = 300

interface KeeperOptions {
  readonly clock: Clock
  /** 0 to 1, exclusive. */
  readonly random: () => number
  readonly isWanted: () => boolean
  /** Whom sessions are to be kept with, the most important first. */
  readonly peers: () => readonly PeerId[]
  readonly hasSession: (peer: PeerId) => boolean
  /** There is an address to dial, or somebody who carries signals. */
  readonly hasWay: (peer: PeerId) => boolean
  /** Opens a session; rejects when that fails. */
  readonly open: (peer: PeerId) => Promise<unknown>
}

interface Kept {
  failures: number
  dueAt: Milliseconds
  /** When a session with it was lost last. */
  lostAt: Milliseconds
  /** The user has ended its session. */
  isParted: boolean
  isOpening: boolean
}

/**
 * Keeps sessions with peers that discovery cannot see: so it is known whether friends far away are there, and what happens to the line between
 * is mended without anybody asking for it. Where there is no way to a peer nothing is sent.
 */
export class Keeper {
  readonly #options: KeeperOptions
  readonly #kept = new Map<PeerId, Kept>()
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: KeeperOptions) {
    this.#options = options
  }

  /** There may be a way now that was not there before, to a peer or to all of them: tries soon. */
  news(peer?: PeerId): void {
    const now = this.#options.clock.now()
    this.#review()
    for (const [one, kept] of this.#kept) {
      if (peer !== undefined && one !== peer) continue
      kept.failures = 0
      kept.dueAt = Math.min(kept.dueAt, now + SPREAD * this.#options.random())
    }
    this.#schedule()
  }

  /** Others may be to be kept than before. */
  peersChanged(): void {
    this.#review()
    this.#schedule()
  }

  /** A session has opened. */
  opened(peer: PeerId): void {
    const kept = this.#kept.get(peer)
    if (!kept) return
    kept.failures = 0
    kept.isParted = false
  }

  /** A session has ended: here, by the peer, which comes back by itself when it wants to, or because the line did. */
  closed(peer: PeerId, by: 'local' | 'peer' | 'network'): void {
    const now = this.#options.clock.now()
    this.#review()
    const kept = this.#kept.get(peer)
    if (!kept) return
    kept.isParted = by === 'local'
    kept.lostAt = by === 'network' ? now : Number.NEGATIVE_INFINITY
    kept.failures = 0
    kept.dueAt = now + (by === 'network' ? FIRST_PAUSE : LONG_PAUSE) * this.#factor()
    this.#schedule()
  }

  /** Safe to call twice. */
  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
  }

  /** Takes in who is to be kept now, and drops the others. */
  #review(): void {
    const { peers, isWanted, clock } = this.#options
    const wanted = new Set(isWanted() ? peers().slice(0, MAX_KEPT) : [])
    for (const peer of this.#kept.keys()) if (!wanted.has(peer)) this.#kept.delete(peer)
    for (const peer of wanted)
      if (!this.#kept.has(peer))
        this.#kept.set(peer, {
          failures: 0,
          dueAt: clock.now() + SPREAD * this.#options.random(),
          lostAt: Number.NEGATIVE_INFINITY,
          isParted: false,
          isOpening: false,
        })
  }

  #schedule(): void {
    this.#timer?.cancel()
    if (this.#isStopped) return
    const { clock, hasSession } = this.#options
    const waiting = [...this.#kept].filter(([peer, kept]) => !kept.isOpening && !kept.isParted && !hasSession(peer))
    const isBusy = [...this.#kept.values()].filter(({ isOpening }) => isOpening).length >= MAX_AT_ONCE
    if (waiting.length === 0 || isBusy) return
    const next = Math.min(...waiting.map(([, { dueAt }]) => dueAt))
    this.#timer = clock.after(Math.max(0, next - clock.now()), () => this.#tick())
  }

  #tick(): void {
    const { clock, hasSession, hasWay } = this.#options
    const now = clock.now()
    this.#review()
    let free = MAX_AT_ONCE - [...this.#kept.values()].filter(({ isOpening }) => isOpening).length
    for (const [peer, kept] of this.#kept) {
      if (kept.isOpening || kept.isParted || kept.dueAt > now || hasSession(peer)) continue
      if (!hasWay(peer)) this.#postpone(kept, now)
      else if (free-- > 0) void this.#open(peer, kept)
    }
    this.#schedule()
  }

  async #open(peer: PeerId, kept: Kept): Promise<void> {
    const { open, clock } = this.#options
    kept.isOpening = true
    try {
      await open(peer)
      kept.failures = 0
    } catch {
      this.#postpone(kept, clock.now())
    } finally {
      kept.isOpening = false
      this.#schedule()
    }
  }

  #postpone(kept: Kept, now: Milliseconds): void {
    const longest = now - kept.lostAt < LATELY ? SHORT_PAUSE : LONG_PAUSE
    kept.dueAt = now + Math.min(longest, FIRST_PAUSE * 2 ** kept.failures) * this.#factor()
    kept.failures = Math.min(kept.failures + 1, 20)
  }

  #factor(): number {
    return 1 + JITTER * (2 * this.#options.random() - 1)
  }
}
