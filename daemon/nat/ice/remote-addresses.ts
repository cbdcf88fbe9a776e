import { isRelayKind, MAX_REMOTE_CANDIDATES, type RemoteCandidate } from '../candidate.ts'
import { isSameTransport, type TransportAddress } from '../transport-address.ts'
import type { RemoteAddress } from './candidate-pair.ts'
import type { Check } from './check-message.ts'
import { canonical, isCheckable } from './checkable.ts'
import { MAX_EARLY, MAX_REFLEXIVE } from './limits.ts'

/** A check that came before the credentials of its sender. */
interface EarlyCheck {
  readonly from: TransportAddress
  readonly check: Check
}

/** Where the peer may be: what it told, and where its checks came from (RFC 8445 section 7.3.1.3). */
export class RemoteAddresses {
  #named: readonly RemoteAddress[] = []
  #reflexive: RemoteAddress[] = []
  #early: EarlyCheck[] = []
  #names = 0

  /** What the peer told comes first. */
  get all(): readonly RemoteAddress[] {
    return [...this.#named, ...this.#reflexive]
  }

  /** The peer's present set; true where it is another one than before. */
  name(candidates: readonly RemoteCandidate[]): boolean {
    const named: RemoteAddress[] = []
    for (const { kind, address, port, priority, foundation } of candidates.slice(0, MAX_REMOTE_CANDIDATES)) {
      if (!isCheckable({ address, port })) continue
      const one: RemoteAddress = { kind, address: canonical(address), port, priority: priority >>> 0, foundation }
      const twin = named.findIndex((other) => isSameTransport(other, one))
      if (twin < 0) named.push(one)
      else if (priority > (named[twin] as RemoteAddress).priority) named[twin] = one
    }
    const isSame = JSON.stringify(named) === JSON.stringify(this.#named)
    this.#named = named
    this.#reflexive = this.#reflexive
      .filter((one) => !named.some((other) => isSameTransport(one, other)))
      .map((one) => ({ ...one, kind: this.#kindAt(one.address) }))
    return !isSame
  }

  /** The one at an address, named or not. */
  find({ address, port }: TransportAddress): RemoteAddress | undefined {
    return this.all.find((one) => one.port === port && one.address === address)
  }

  /** An authentic check came from an address; the oldest that nobody named and `isKept` does not want give way. */
  heard(
    { address, port }: TransportAddress,
    priority: number,
    isKept: (one: RemoteAddress) => boolean,
  ): RemoteAddress | undefined {
    const known = this.find({ address, port })
    if (known || !isCheckable({ address, port })) return known
    const kind = this.#kindAt(address)
    const one: RemoteAddress = { kind, address, port, priority, foundation: `prflx${++this.#names}` }
    this.#reflexive.push(one)
    if (this.#reflexive.length > MAX_REFLEXIVE) {
      const oldest = this.#reflexive.find((other) => other !== one && !isKept(other)) ?? one
      this.#reflexive = this.#reflexive.filter((other) => other !== oldest)
      if (oldest === one) return undefined
    }
    return one
  }

  /** A router of ours may change the port that the peer's relay sends from: it is a relay all the same. */
  #kindAt(address: string): 'prflx' | 'friend-relay' | 'relay' {
    const there = this.#named.filter((one) => one.address === address)
    const relays = there.map(({ kind }) => kind).filter(isRelayKind)
    return relays.length === there.length ? (relays[0] ?? 'prflx') : 'prflx'
  }

  /** A check came of somebody of whom only signals can say who it is. */
  early(from: TransportAddress, check: Check): void {
    const others = this.#early.filter((one) => !isSameTransport(one.from, from) || one.check.from !== check.from)
    this.#early = [...others, { from, check: { ...check, tieBreaker: Buffer.from(check.tieBreaker) } }].slice(
      -MAX_EARLY,
    )
  }

  /** The checks that came early of whoever has this user fragment; they are given once. */
  takeEarly(ufrag: string): readonly EarlyCheck[] {
    const taken = this.#early.filter(({ check }) => check.from === ufrag)
    this.#early = this.#early.filter(({ check }) => check.from !== ufrag)
    return taken
  }

  /** Another peer, or the same one anew. */
  forgetReflexive(): void {
    this.#reflexive = []
  }
}
