import { formatHostPort } from '../network/network.ts'
import type { HostPort, Milliseconds } from '../types.ts'

/** RFC 8656 section 12. */
const LIFETIME: Milliseconds = 600_000
/** Channels that one allocation has at a time. */
export const MAX_CHANNELS = 64

interface Binding {
  readonly number: number
  readonly peer: HostPort
  until: Milliseconds
}

/** The channels of an allocation: numbers that stand for peers (RFC 8656 section 12). */
export class ChannelBindings {
  readonly #byNumber = new Map<number, Binding>()
  readonly #byPeer = new Map<string, Binding>()

  get size(): number {
    return this.#byNumber.size
  }

  /** Whether `bind` would do it; `taken`: number or peer belong to another binding. */
  check(number: number, peer: HostPort, now: Milliseconds): 'free' | 'taken' | 'full' {
    const known = this.#live(this.#byNumber.get(number), now)
    const other = this.#live(this.#byPeer.get(formatHostPort(peer)), now)
    if (known !== other) return 'taken'
    if (known) return 'free'
    if (this.size >= MAX_CHANNELS) this.sweep(now)
    return this.size >= MAX_CHANNELS ? 'full' : 'free'
  }

  /** Binds what `check` found free, or for longer. */
  bind(number: number, peer: HostPort, now: Milliseconds): void {
    const known = this.#live(this.#byNumber.get(number), now)
    if (known) {
      known.until = now + LIFETIME
      return
    }
    this.#drop(this.#byNumber.get(number))
    this.#drop(this.#byPeer.get(formatHostPort(peer)))
    const binding = { number, peer, until: now + LIFETIME }
    this.#byNumber.set(number, binding)
    this.#byPeer.set(formatHostPort(peer), binding)
  }

  /** Whom a channel is for. */
  peerOf(number: number, now: Milliseconds): HostPort | undefined {
    return this.#live(this.#byNumber.get(number), now)?.peer
  }

  /** The channel of a peer. */
  numberOf(peer: HostPort, now: Milliseconds): number | undefined {
    if (this.#byPeer.size === 0) return undefined
    return this.#live(this.#byPeer.get(formatHostPort(peer)), now)?.number
  }

  /** Forgets those that are over. */
  sweep(now: Milliseconds): void {
    for (const binding of [...this.#byNumber.values()]) if (now >= binding.until) this.#drop(binding)
  }

  #live(binding: Binding | undefined, now: Milliseconds): Binding | undefined {
    return binding && now < binding.until ? binding : undefined
  }

  #drop(binding: Binding | undefined): void {
    if (!binding) return
    this.#byNumber.delete(binding.number)
    this.#byPeer.delete(formatHostPort(binding.peer))
  }
}
