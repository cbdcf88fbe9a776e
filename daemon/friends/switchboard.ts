import type { Refusals } from '../refusals.ts'
import { TokenBuckets } from '../token-bucket.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import { type FriendMessage, MAX_WISHES } from './friend-message.ts'

/** Hosts that are carried for at one time. */
export const MAX_CARRIED_FOR = 256
/** Signals of one host, and bytes of one: what a rendezvous takes, a few at a time. */
const SIGNALS = { rate: 20, burst: 200, keys: MAX_CARRIED_FOR }
const BYTES = { rate: 64 * 1024, burst: 512 * 1024, keys: MAX_CARRIED_FOR }

interface SwitchboardOptions {
  readonly refusals: Refusals
  /** Tells a host in the session there is. */
  readonly tell: (peer: PeerId, message: FriendMessage) => void
  /** This host and its user are content to carry signals for the peer. */
  readonly mayCarry: (peer: PeerId) => boolean
}

/** What was carried for a host. */
interface Carried {
  signals: number
  bytes: number
}

interface Customer {
  wishes: ReadonlySet<string>
  /** What it was told last. */
  told: string
  readonly carried: Carried
}

/**
 * Carries signals between hosts that this one has sessions with, trusts, and that both wish for it: each names the pairs it is in, and learns
 * which of them are complete here. One step only: what was carried is not carried on.
 */
export class Switchboard {
  readonly #options: SwitchboardOptions
  readonly #customers = new Map<PeerId, Customer>()
  readonly #signals = new TokenBuckets(SIGNALS)
  readonly #bytes = new TokenBuckets(BYTES)

  constructor(options: SwitchboardOptions) {
    this.#options = options
  }

  /** A host names the pairs that it is in, all of them. */
  wish(peer: PeerId, tokens: readonly string[]): void {
    const { mayCarry, refusals } = this.#options
    if (!mayCarry(peer)) return refusals.count('policy.refused')
    const known = this.#customers.get(peer)
    if (!known && this.#customers.size >= MAX_CARRIED_FOR) return refusals.count('local.limit')
    const customer: Customer = known ?? { wishes: new Set(), told: '', carried: { signals: 0, bytes: 0 } }
    customer.wishes = new Set(tokens.slice(0, MAX_WISHES))
    this.#customers.set(peer, customer)
    this.#match()
  }

  /** True for a host that has named its pairs. */
  knows(peer: PeerId): boolean {
    return this.#customers.has(peer)
  }

  /** The session with a host is no more, or nothing is to be carried for it. */
  leave(peer: PeerId): void {
    if (this.#customers.delete(peer)) this.#match()
  }

  /** Others may be content, or not any more. */
  review(): void {
    const { mayCarry, tell } = this.#options
    for (const [peer, { told }] of [...this.#customers]) {
      if (mayCarry(peer)) continue
      this.#customers.delete(peer)
      if (told !== '') tell(peer, { kind: 'reaches', tokens: [] })
    }
    this.#match()
  }

  carry(from: PeerId, token: string, sealed: Uint8Array, now: Milliseconds): void {
    const { tell, refusals } = this.#options
    const customer = this.#customers.get(from)
    const to = customer && this.#other(from, token)
    if (!customer || to === undefined) return refusals.count('policy.refused')
    if (!this.#signals.take(from, now) || !this.#bytes.take(from, now, sealed.length))
      return refusals.count('peer.rate-limited')
    customer.carried.signals++
    customer.carried.bytes += sealed.length
    tell(to, { kind: 'carried', sealed })
  }

  /** How much was carried for each host since its session began. */
  carried(): ReadonlyMap<PeerId, Readonly<Carried>> {
    return new Map([...this.#customers].map(([peer, { carried }]) => [peer, carried]))
  }

  /** The other host that is in a pair. */
  #other(peer: PeerId, token: string): PeerId | undefined {
    if (!this.#customers.get(peer)?.wishes.has(token)) return undefined
    for (const [other, { wishes }] of this.#customers) if (other !== peer && wishes.has(token)) return other
    return undefined
  }

  /** Tells each host which of its pairs are complete, if that is news. */
  #match(): void {
    const counts = new Map<string, number>()
    for (const { wishes } of this.#customers.values())
      for (const token of wishes) counts.set(token, (counts.get(token) ?? 0) + 1)
    for (const [peer, customer] of this.#customers) {
      const tokens = [...customer.wishes].filter((token) => counts.get(token) === 2)
      const told = tokens.join()
      if (told === customer.told) continue
      customer.told = told
      this.#options.tell(peer, { kind: 'reaches', tokens })
    }
  }
}
