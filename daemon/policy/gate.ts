import type { Clock } from '../clock.ts'
import type { HelloInvite } from '../connect/greeting.ts'
import type { ErrorCode } from '../errors.ts'
import { formatHostPort } from '../network/network.ts'
import type { Refusals } from '../refusals.ts'
import { type Allowance, TokenBucket, TokenBuckets } from '../token-bucket.ts'
import type { PeerId } from '../types.ts'
import type { LinkEnds } from './origin.ts'
import type { PeerRates } from './peer-rates.ts'
import type { Policy } from './policy.ts'
import type { AccessRequests } from './requests.ts'

/** Answers to those who are not let in: to one address, and to all. Others are left without one. */
const ANSWERS = { rate: 1, burst: 16, keys: 1024 }
const ANSWERS_IN_ALL: Allowance = { rate: 20, burst: 100 }

/** A link on which a peer greets. */
export interface Greeted extends LinkEnds {
  readonly peer: PeerId
}

/** What the peer says, and what there is with it. */
export interface Occasion {
  readonly name: string
  readonly invite: HelloInvite | undefined
  /** Somebody here wants a session with it. */
  readonly isWanted: boolean
  /** The session that it goes on with is held here. */
  readonly goesOn: boolean
}

/** `answer`: what the peer is told, which is no more than that; undefined: nothing. */
type Verdict =
  | { readonly kind: 'admit' }
  | {
      readonly kind: 'refuse'
      readonly code: ErrorCode
      readonly answer: 'policy.refused' | 'policy.asking' | undefined
    }

interface GateOptions {
  readonly clock: Clock
  readonly refusals: Refusals
  readonly policy: Policy
  readonly requests: AccessRequests
  readonly rates: PeerRates
  /** True for the bearer of a ticket of ours that is good. */
  readonly admitsBearer?: (peer: PeerId, invite: HelloInvite | undefined) => boolean
}

/** Where peers knock: asks the policy about each, has the owner asked where that is to be, and answers no more than it must. */
export class Gate {
  readonly #options: GateOptions
  readonly #answers = new TokenBuckets(ANSWERS)
  readonly #answersInAll: TokenBucket

  constructor(options: GateOptions) {
    this.#options = options
    this.#answersInAll = new TokenBucket(ANSWERS_IN_ALL, options.clock.now())
  }

  /** A peer opens a session on a link, or goes on with one. */
  greeted(link: Greeted, { name, invite, isWanted, goesOn }: Occasion): Verdict {
    const { policy, requests, rates, admitsBearer } = this.#options
    const { peer } = link
    const origin = policy.originOf(link)
    const { value, by } = policy.decide(peer, origin)
    if (value === 'refuse' && by === 'trust') return this.#refuse(link, 'policy.blocked')
    if (!policy.mayUse(link, 'messages')) return { kind: 'refuse', code: 'policy.metered', answer: undefined }
    if (goesOn) return { kind: 'admit' }
    const isAdmitted = value === 'admit' || isWanted || admitsBearer?.(peer, invite)
    if (isAdmitted)
      return rates.take('sessions', peer)
        ? { kind: 'admit' }
        : { kind: 'refuse', code: 'peer.rate-limited', answer: undefined }
    if (value === 'refuse') return this.#refuse(link, 'policy.refused')
    if (!rates.take('requests', peer)) return { kind: 'refuse', code: 'peer.rate-limited', answer: undefined }
    const address = formatHostPort(link.path?.to ?? link.remote)
    const isAsking = requests.ask({ peer, name, from: origin, address, by: undefined })
    return this.#refuse(link, isAsking ? 'policy.asking' : 'policy.refused')
  }

  /** True where a link that this host dialled may be used. */
  mayUse(link: LinkEnds): boolean {
    return this.#options.policy.mayUse(link, 'messages')
  }

  /** True where a peer is told who lives here. On a LAN everybody hears that anyway. */
  mayAnswer(peer: PeerId, origin: 'lan' | 'internet'): boolean {
    const { value, by } = this.#options.policy.decide(peer, origin)
    return value !== 'refuse' || (origin === 'lan' && by !== 'trust')
  }

  /** The same, of somebody on a link. */
  mayAnswerOn(link: Greeted): boolean {
    return this.mayAnswer(link.peer, this.#options.policy.originOf(link))
  }

  #refuse(link: Greeted, code: ErrorCode): Verdict {
    const now = this.#options.clock.now()
    const { address } = link.path?.to ?? link.remote
    const isAnswered = this.#answers.take(address, now) && this.#answersInAll.take(now)
    const answer = code === 'policy.asking' ? code : 'policy.refused'
    return { kind: 'refuse', code, answer: isAnswered ? answer : undefined }
  }
}
