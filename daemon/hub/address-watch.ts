import type { Clock, Timer } from '../clock.ts'
import type { Prober } from '../discovery/discovery.ts'
import { formatHostPort } from '../network/network.ts'
import type { HostPort, Milliseconds, PeerId } from '../types.ts'

/** Addresses asked at a time; the others wait. */
const MAX_AT_ONCE = 64
/** Most addresses followed in all. */
export const MAX_WATCHED = 20_000
/** An address that answered is asked again after this, with many of them less often; twice without an answer it is silent. */
const REFRESH: Milliseconds = 30_000
const REFRESH_PER_ADDRESS: Milliseconds = 150
const MISSES = 2
/** A silent address is asked again after this, and after twice as long each time. */
const FIRST_RETRY: Milliseconds = 30_000
const LAST_RETRY: Milliseconds = 300_000

/** What an address answered, and whose it is. */
export interface Found {
  readonly peer: PeerId
  readonly name: string
  readonly port: number
}

interface WatchOptions {
  readonly clock: Clock
  readonly prober: Prober
  /** A link's handshake, where UDP is silent. */
  readonly dial: (target: HostPort) => Promise<Found | undefined>
  /** The local interface an address belongs to, `''` for none. */
  readonly interfaceOf: (address: string) => string
  /** The peer answers at an address, for the first time or again. */
  readonly onAnswer: (peer: PeerId, target: HostPort, found: Found) => void
  /** It no longer does, or is followed no more. */
  readonly onSilence: (peer: PeerId, target: HostPort) => void
  /** Every address of a peer has been asked; how many answered. */
  readonly onAsked: (peer: PeerId, answering: number) => void
}

interface Watched {
  readonly peer: PeerId
  readonly target: HostPort
  /** No longer told by the peer, or the peer is no longer told of: dropped at the first silence. */
  leaving: boolean
  isAsked: boolean
  isAsking: boolean
  answers: boolean
  /** It answered a link only, so that UDP need not be tried. */
  byLink: boolean
  misses: number
  retry: Milliseconds
  timer: Timer | undefined
}

/** Asks addresses of peers whether the peers are there, again and again. */
export class AddressWatch {
  readonly #options: WatchOptions
  readonly #peers = new Map<PeerId, Map<string, Watched>>()
  readonly #waiting = new Set<Watched>()
  #size = 0
  #answering = 0
  #asking = 0

  constructor(options: WatchOptions) {
    this.#options = options
  }

  /** These are a peer's addresses now; all are asked at once. Those that are no longer among them stay while they answer. */
  set(peer: PeerId, targets: readonly HostPort[]): void {
    const watched = this.#peers.get(peer) ?? new Map<string, Watched>()
    this.#peers.set(peer, watched)
    const wanted = new Set(targets.map(formatHostPort))
    for (const [key, one] of watched) {
      one.leaving = !wanted.has(key)
      if (one.leaving && !one.answers) this.#drop(one)
    }
    for (const target of targets) {
      const key = formatHostPort(target)
      if (!watched.has(key) && this.#size < MAX_WATCHED) {
        this.#size++
        watched.set(key, newWatched(peer, target))
      }
    }
    this.#askAll(peer)
    if (watched.size === 0) {
      this.#peers.delete(peer)
      this.#options.onAsked(peer, 0)
    }
  }

  /** The peer is told of no more: its addresses stay for as long as they answer. */
  leave(peer: PeerId): void {
    for (const one of this.#peers.get(peer)?.values() ?? []) {
      one.leaving = true
      if (!one.answers) this.#drop(one)
    }
    this.#askAll(peer)
  }

  /** Asks all of a peer's addresses now. */
  #askAll(peer: PeerId): void {
    for (const one of this.#peers.get(peer)?.values() ?? []) {
      one.retry = FIRST_RETRY
      this.#askSoon(one)
    }
  }

  /** Asks everything now, the network having changed. */
  again(): void {
    for (const peer of this.#peers.keys()) this.#askAll(peer)
  }

  stop(): void {
    for (const watched of this.#peers.values()) for (const { timer } of watched.values()) timer?.cancel()
    this.#peers.clear()
    this.#waiting.clear()
    this.#size = 0
    this.#answering = 0
  }

  #askSoon(one: Watched): void {
    one.timer?.cancel()
    this.#waiting.add(one)
    this.#askWaiting()
  }

  #askWaiting(): void {
    for (const one of this.#waiting) {
      if (this.#asking >= MAX_AT_ONCE) return
      if (one.isAsking) continue
      this.#waiting.delete(one)
      this.#asking++
      one.isAsking = true
      void this.#ask(one).then((found) => {
        this.#asking--
        one.isAsking = false
        if (this.#peers.get(one.peer)?.get(formatHostPort(one.target)) === one) this.#asked(one, found)
        this.#askWaiting()
      })
    }
  }

  async #ask(one: Watched): Promise<Found | undefined> {
    const { prober, dial, interfaceOf } = this.#options
    const { peer, target } = one
    const isIt = (found: Found | undefined): found is Found => found?.peer === peer
    try {
      const heard = one.byLink ? undefined : await prober.probe(target, interfaceOf(target.address))
      if (isIt(heard)) return heard
      // What answered by UDP before is not dialled as well: silence is silence.
      if (one.answers && !one.byLink) return undefined
      const dialled = await dial(target)
      one.byLink = isIt(dialled)
      return isIt(dialled) ? dialled : undefined
    } catch {
      return undefined
    }
  }

  #asked(one: Watched, found: Found | undefined): void {
    const { clock, onAnswer } = this.#options
    if (found) {
      if (!one.answers) this.#answering++
      one.answers = true
      one.misses = 0
      one.retry = FIRST_RETRY
      onAnswer(one.peer, one.target, found)
      one.timer = clock.after(Math.max(REFRESH, this.#answering * REFRESH_PER_ADDRESS), () => this.#askSoon(one))
    } else this.#missed(one)
    this.#tellWhenAllAreAsked(one)
  }

  #missed(one: Watched): void {
    if (one.answers && ++one.misses < MISSES) return this.#askSoon(one)
    this.#silence(one)
    one.byLink = false
    if (one.leaving) return this.#drop(one)
    one.timer = this.#options.clock.after(one.retry, () => this.#askSoon(one))
    one.retry = Math.min(one.retry * 2, LAST_RETRY)
  }

  #tellWhenAllAreAsked(one: Watched): void {
    one.isAsked = true
    const all = [...(this.#peers.get(one.peer)?.values() ?? [])]
    const answering = all.filter(({ answers }) => answers).length
    if (answering > 0 || all.every(({ isAsked }) => isAsked)) this.#options.onAsked(one.peer, answering)
  }

  #silence(one: Watched): void {
    if (!one.answers) return
    one.answers = false
    this.#answering--
    this.#options.onSilence(one.peer, one.target)
  }

  #drop(one: Watched): void {
    this.#silence(one)
    one.timer?.cancel()
    this.#waiting.delete(one)
    const watched = this.#peers.get(one.peer)
    if (watched?.delete(formatHostPort(one.target))) this.#size--
    if (watched?.size === 0) this.#peers.delete(one.peer)
  }
}

function newWatched(peer: PeerId, target: HostPort): Watched {
  return {
    peer,
    target,
    leaving: false,
    isAsked: false,
    isAsking: false,
    answers: false,
    byLink: false,
    misses: 0,
    retry: FIRST_RETRY,
    timer: undefined,
  }
}
