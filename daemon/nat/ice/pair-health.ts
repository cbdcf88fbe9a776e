/** Whether a pair that was found still works: consent (RFC 7675), doubt and proof. */
import { RoundTrip } from '../../datagram/round-trip.ts'
import type { Milliseconds } from '../../types.ts'

/** RFC 7675 section 5.1: without an answer for so long nothing may be sent there. */
const CONSENT: Milliseconds = 30_000
/** What a pair is checked for; each has its own pace. */
export type Duty = 'selected' | 'proving' | 'standby' | 'none'
/** Between checks that are answered: of the path in use (RFC 7675 section 5.1, Ts), of those that stand by. Each varies by a fifth. */
const INTERVAL = { selected: 5000, standby: 10_000 } as const
/** Between checks that prove a pair: until there are `PROOF` in a row, then while it is on probation. */
const PROVING: Milliseconds = 150
const PROBATION: Milliseconds = 500
/** Answers in a row that prove a pair, the first one included, and the time that they take at least. */
const PROOF = 4
const PROOF_TIME: Milliseconds = 400
/** An unanswered check is repeated after one and a half round trips and their jitter; never sooner, and seldom later, than this. */
const LEAST_REPEAT: Milliseconds = 100
const MOST_REPEAT: Milliseconds = 400
const FIRST_REPEAT: Milliseconds = 250
/** So many lost one after the other and what was proven is not any more: one may be chance. */
const GAP = 2
/** So many in a row unanswered, and the pair is silent; more where something of the peer still comes that way. */
const TRIES = { selected: 5, proving: 4, standby: 4, none: 4 } as const
const TRIES_WHILE_HEARD = 10
/** Times the loss that is usual there, 0 to 1: so many more. */
const TRIES_FOR_LOSS = 8
/** A silent path is checked at growing intervals. */
const MOST_SILENT: Milliseconds = 2000
/** Traffic that came at least so often, and stops, is missed after the same time. */
const ACTIVE: Milliseconds = 1000
const MISSED: Milliseconds = 400
/** Weight of the latest check in the loss. */
const LOSS_GAIN = 1 / 16

const NEVER = Number.NEGATIVE_INFINITY
const INFINITE = Number.POSITIVE_INFINITY

export class PairHealth {
  readonly #roundTrip = new RoundTrip()
  #duty: Duty = 'none'
  #next: Milliseconds = INFINITE
  #sentAt: Milliseconds = NEVER
  #answeredAt: Milliseconds = NEVER
  #heardAt: Milliseconds = NEVER
  #carriedAt: Milliseconds = NEVER
  #doubtedAt: Milliseconds = NEVER
  #missedAt: Milliseconds = INFINITE
  #unanswered = 0
  #answers = 0
  #provenSince: Milliseconds = INFINITE
  #loss = 0
  /** Of the time before the checks that have no answer. */
  #usualLoss = 0

  get rtt(): Milliseconds | undefined {
    return this.#roundTrip.smoothed
  }

  /** Part of the checks that were not answered: 0 to 1, the last dozen counting most. */
  get loss(): number {
    return this.#loss
  }

  get duty(): Duty {
    return this.#duty
  }

  /** The moment until which packets may be sent there. */
  get consentUntil(): Milliseconds {
    return this.#answeredAt + CONSENT
  }

  get answeredAt(): Milliseconds {
    return this.#answeredAt
  }

  /** When the first of the checks left that have no answer yet. */
  get doubtedAt(): Milliseconds {
    return this.#unanswered > 0 ? this.#doubtedAt : INFINITE
  }

  /** The last check has no answer yet. */
  get isWaiting(): boolean {
    return this.#unanswered > 0
  }

  /** More than one check has no answer. */
  get isDoubtful(): boolean {
    return this.#unanswered > 1
  }

  get deadline(): Milliseconds {
    return Math.min(this.#next, this.#missedAt)
  }

  /** So many checks had no answer that this pair is not to be relied upon. */
  get isExhausted(): boolean {
    const isHeard = this.#heardAt > this.#doubtedAt
    const tries = isHeard ? TRIES_WHILE_HEARD : TRIES[this.#duty]
    return this.#unanswered >= tries + Math.floor(this.#usualLoss * TRIES_FOR_LOSS)
  }

  /** It has answered long enough, without a gap, to be chosen in place of one that works. */
  isProven(probation: Milliseconds, now: Milliseconds): boolean {
    return this.#answers >= PROOF && now - this.#provenSince >= Math.max(PROOF_TIME, probation)
  }

  /** What it is checked for from now on. */
  assign(duty: Duty, now: Milliseconds, random: () => number): void {
    if (duty === this.#duty) return
    this.#duty = duty
    if (this.#unanswered === 0) this.#next = this.#afterAnswer(Math.max(this.#sentAt, NEVER), random)
    if (this.#next < now) this.#next = now
  }

  /** Asks now, or as soon as may be after the last time. */
  doubt(now: Milliseconds): void {
    this.#next = Math.min(this.#next, Math.max(now, this.#sentAt + LEAST_REPEAT))
  }

  stop(): void {
    this.#duty = 'none'
    this.#next = INFINITE
    this.#missedAt = INFINITE
    this.#unanswered = 0
    this.#answers = 0
    this.#provenSince = INFINITE
  }

  /** A check of the peer came that way. */
  heard(now: Milliseconds): void {
    this.#heardAt = now
  }

  /** Traffic of the peer came that way. */
  carried(now: Milliseconds): void {
    const isActive = now - this.#carriedAt <= ACTIVE
    this.#heardAt = now
    this.#carriedAt = now
    if (isActive && this.#duty === 'selected') this.#missedAt = now + MISSED + 2 * (this.#roundTrip.jitter ?? 0)
  }

  /** True when a check is to be sent now. */
  isDue(now: Milliseconds): boolean {
    if (now >= this.#missedAt) {
      this.#missedAt = INFINITE
      this.doubt(now)
    }
    return now >= this.#next
  }

  sent(now: Milliseconds): void {
    if (this.#unanswered === 0) {
      this.#doubtedAt = now
      this.#usualLoss = this.#loss
    } else this.#loss += (1 - this.#loss) * LOSS_GAIN
    this.#unanswered++
    this.#sentAt = now
    const excess = this.#unanswered - TRIES.selected
    this.#next = now + (excess < 0 ? this.#repeat : Math.min(MOST_SILENT, this.#repeat * 2 ** Math.min(excess, 5)))
    if (this.#unanswered > GAP) {
      this.#answers = 0
      this.#provenSince = INFINITE
    }
  }

  /** A check was answered; `rtt` where that is known for sure; `isProof`: it was sent in its turn, not on top. */
  answered(rtt: Milliseconds | undefined, isProof: boolean, now: Milliseconds, random: () => number): void {
    if (rtt !== undefined) this.#roundTrip.sample(rtt)
    this.#unanswered = 0
    if (isProof) {
      this.#loss -= this.#loss * LOSS_GAIN
      this.#answers++
      this.#provenSince = Math.min(this.#provenSince, now)
    }
    this.#answeredAt = now
    this.#next = this.#afterAnswer(Math.max(this.#sentAt, now - MOST_REPEAT), random)
  }

  get #repeat(): Milliseconds {
    const { smoothed, jitter } = this.#roundTrip
    if (smoothed === undefined) return FIRST_REPEAT
    const patience = Math.max(LEAST_REPEAT, 1.5 * smoothed + 4 * (jitter ?? smoothed / 4))
    return Math.min(patience, Math.max(MOST_REPEAT, 1.5 * smoothed))
  }

  #afterAnswer(sentAt: Milliseconds, random: () => number): Milliseconds {
    switch (this.#duty) {
      case 'proving':
        return sentAt + (this.#answers < PROOF ? PROVING : PROBATION)
      case 'none':
        return INFINITE
      default:
        return sentAt + INTERVAL[this.#duty] * (0.8 + 0.4 * random())
    }
  }
}
