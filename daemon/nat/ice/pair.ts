import type { Milliseconds } from '../../types.ts'
import type { CandidateKind } from '../candidate.ts'
import type { TransportAddress } from '../transport-address.ts'

/** RFC 8445 section 6.1.2.6. */
export type PairState = 'frozen' | 'waiting' | 'in-progress' | 'succeeded' | 'failed'

/** First wait for the answer to a check whose round trip is unknown; it doubles, up to the last. */
const FIRST_WAIT: Milliseconds = 250
const MAX_WAIT: Milliseconds = 2000
/** The least wait where it is known. */
const LEAST_WAIT: Milliseconds = 100
/** Checks without an answer that make a pair fail: by then some 7 s have passed. */
export const TRIES = 6
/** Checks of which an answer still counts. */
const OUTSTANDING = 8
/** Sizes of UDP payloads that are tried, in order: what IPv6 promises, and Ethernet with and without usual tunnels and PPPoE. */
const PROBES = [1200, 1372, 1412, 1452, 1472]
const PROBE_TRIES = 2

/** A check that was sent. */
interface Sent {
  readonly id: string
  readonly at: Milliseconds
  /** It was padded to this. */
  readonly size: number
}

/** Our direct socket, or one of our relays, with an address of the peer (RFC 8445 section 6.1.2.2). */
export class Pair {
  readonly to: TransportAddress
  /** RFC 8445 section 6.1.2.6: of one foundation only one is checked at first. */
  readonly foundation: string
  remote: CandidateKind
  /** Of our end: `relay`, or what the peer's answer says of how it sees us. */
  local: CandidateKind
  /** RFC 8445 section 6.1.2.3. */
  priority: bigint
  state: PairState = 'frozen'
  /** When the next check is due. */
  at: Milliseconds = Number.POSITIVE_INFINITY
  /** The peer has asked here, or is about to be told something: it is checked before others. */
  isTriggered = false
  /** Checks without an answer since the last one. */
  tries = 0
  /** Checks to it while nothing ever came from there. */
  unproven = 0
  /** When it was answered first in a row, how often since, and when last. */
  provenSince: Milliseconds = 0
  proofs = 0
  answeredAt: Milliseconds = Number.NEGATIVE_INFINITY
  /** Anything authentic came from there. */
  heardAt: Milliseconds = Number.NEGATIVE_INFINITY
  rtt: Milliseconds | undefined
  /** The share of checks not answered, smoothed. */
  loss = 0
  mtu = 0
  /** The peer nominated it; 0: never. */
  nominated = 0
  why = 'not tried yet'
  /** The remote candidate is still told by the peer. */
  isTold = true
  /** How often it was tried again after it had failed. */
  retries = 0
  #sent: Sent[] = []
  #probe = 0
  #probeTries = 0

  constructor(to: TransportAddress, local: CandidateKind, remote: CandidateKind, priority: bigint, foundation: string) {
    this.to = to
    this.local = local
    this.remote = remote
    this.priority = priority
    this.foundation = foundation
  }

  /** How long to wait for the answer to the check sent last. */
  get wait(): Milliseconds {
    if (this.rtt !== undefined && this.answeredAt > 0) return Math.max(LEAST_WAIT, this.rtt * 2 + 50)
    return Math.min(MAX_WAIT, FIRST_WAIT * 2 ** Math.max(0, this.tries - 1))
  }

  /** The size that the next check is padded to; 0 where there is nothing to find out. */
  get probe(): number {
    return this.state === 'succeeded' ? (PROBES[this.#probe] ?? 0) : 0
  }

  /** A check left. */
  checked(id: string, size: number, now: Milliseconds): void {
    if (size > 0 && ++this.#probeTries > PROBE_TRIES) this.#probe = PROBES.length
    this.#sent = [...this.#sent.slice(1 - OUTSTANDING), { id, at: now, size }]
    this.tries++
    if (this.answeredAt === Number.NEGATIVE_INFINITY) this.unproven++
    if (this.tries > 1) this.loss += (1 - this.loss) / 8
  }

  /** The check with this id was answered; false when there is none. */
  answered(id: string, now: Milliseconds): boolean {
    const sent = this.#sent.find((one) => one.id === id)
    if (!sent) return false
    this.#sent = this.#sent.filter((one) => one.id !== id)
    const sample = now - sent.at
    this.rtt = this.rtt === undefined ? sample : this.rtt + (sample - this.rtt) / 4
    if (this.state !== 'succeeded' || this.tries > 2) {
      this.provenSince = now
      this.proofs = 0
    }
    if (sent.size > 0 && sent.size === PROBES[this.#probe]) {
      this.mtu = sent.size
      this.#probe++
      this.#probeTries = 0
    }
    this.proofs++
    this.answeredAt = now
    this.heardAt = now
    this.tries = 0
    this.retries = 0
    this.loss -= this.loss / 8
    return true
  }

  /** Is to be checked from the beginning. */
  renew(now: Milliseconds): void {
    this.state = 'waiting'
    this.tries = 0
    this.at = now
  }

  /** Other limits of size may hold now. */
  forgetSize(): void {
    this.#probe = 0
    this.#probeTries = 0
  }
}
