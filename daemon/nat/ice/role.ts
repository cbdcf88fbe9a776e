import { TokenBucket } from '../../token-bucket.ts'
import type { Milliseconds } from '../../types.ts'

export type RoleName = 'controlling' | 'controlled'

/** Switches that a peer can make us do, whatever it says. */
const SWITCHES = { rate: 0.1, burst: 4 }

/** Which of the two decides on the path (RFC 8445 sections 6.1.1 and 7.3.1.1). */
export class Role {
  readonly #random: (bytes: number) => Buffer
  readonly #switches: TokenBucket
  #name: RoleName
  #tieBreaker: Buffer

  constructor(isControlling: boolean, random: (bytes: number) => Buffer, now: Milliseconds) {
    this.#random = random
    this.#switches = new TokenBucket(SWITCHES, now)
    this.#name = isControlling ? 'controlling' : 'controlled'
    this.#tieBreaker = random(8)
  }

  get name(): RoleName {
    return this.#name
  }

  get isControlling(): boolean {
    return this.#name === 'controlling'
  }

  get tieBreaker(): Buffer {
    return this.#tieBreaker
  }

  /** The peer's check claims a role; false where it has to be refused with 487. */
  heard(claimed: RoleName, tieBreaker: Buffer, now: Milliseconds): boolean {
    if (claimed !== this.#name) return true
    const isOursLarger = Buffer.compare(this.#tieBreaker, tieBreaker) >= 0
    // The larger one controls: whoever has the wrong role for that changes it.
    if (isOursLarger === this.isControlling || !this.#switches.take(now)) return false
    this.#switch()
    return true
  }

  /** A check that was sent in `role` was refused with 487 (section 7.2.5.1); true where that changes the role. */
  refused(role: RoleName, now: Milliseconds): boolean {
    if (role !== this.#name || !this.#switches.take(now)) return false
    this.#switch()
    this.#tieBreaker = this.#random(8)
    return true
  }

  #switch(): void {
    this.#name = this.isControlling ? 'controlled' : 'controlling'
  }
}
