import type { ErrorCode } from '../errors.ts'
import type { Refusals } from '../refusals.ts'
import { TokenBucket, TokenBuckets } from '../token-bucket.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import type { Invitations } from './invitations.ts'
import type { Invitation } from './invitations-file.ts'
import type { JoinRequest } from './join-message.ts'
import type { Proof, Secrets } from './proof.ts'

/** Requests and proofs of one sender that are looked at; one that is not answered repeats it a dozen times. */
const PER_SENDER = { rate: 1, burst: 20, keys: 4096 }
/** Answers to wrong proofs, in all: what is beyond gets none. Valid ones are not held up by guesses of others. */
const WRONG = { rate: 5, burst: 50 }

interface WelcomeOptions {
  readonly now: Milliseconds
  readonly secrets: Secrets
  readonly invitations: Invitations
  readonly refusals: Refusals
  /** What the owner says of a peer now. */
  readonly isTrusted: (peer: PeerId) => boolean
}

/** What is to be done about a request. */
export type Verdict =
  | { readonly kind: 'ignore' }
  /** `isHolder`: the proof is valid, so the ways that it tells may be used to answer. */
  | { readonly kind: 'refuse'; readonly code: ErrorCode; readonly isHolder: boolean }
  /** `isWelcomed`: there is nothing to do but to answer. */
  | { readonly kind: 'accept'; readonly invitation: Invitation; readonly isWelcomed: boolean }

/**
 * The inviter's side: decides about requests, each use of an invitation once. Whoever has no valid proof costs one HMAC, leaves nothing behind,
 * and learns nothing. Free of I/O.
 */
export class Welcome {
  readonly #options: WelcomeOptions
  readonly #perSender = new TokenBuckets(PER_SENDER)
  readonly #wrong: TokenBucket

  constructor(options: WelcomeOptions) {
    this.#options = options
    this.#wrong = new TokenBucket(WRONG, options.now)
  }

  /** A request of `joiner`, who has signed it. */
  receive(joiner: PeerId, request: Pick<JoinRequest, 'id' | 'proof'>, now: Milliseconds): Verdict {
    const { invitations, refusals, isTrusted } = this.#options
    if (!this.#perSender.take(joiner, now)) {
      refusals.count('peer.rate-limited')
      return { kind: 'ignore' }
    }
    if (!this.#options.secrets.isProof(joiner, request)) {
      refusals.count('policy.refused')
      return this.#wrong.take(now) ? { kind: 'refuse', code: 'policy.refused', isHolder: false } : { kind: 'ignore' }
    }
    const claim = invitations.claim(request.id, joiner)
    if (claim.kind === 'refused') {
      refusals.count(claim.code)
      return { kind: 'refuse', code: claim.code, isHolder: true }
    }
    // Who was forgotten since then has to be invited anew.
    if (claim.isWelcomed && !isTrusted(joiner)) return { kind: 'refuse', code: 'policy.ticket-used', isHolder: true }
    return { kind: 'accept', invitation: claim.invitation, isWelcomed: claim.isWelcomed }
  }

  /** True for the bearer of a ticket that is still good. Uses up nothing; guesses are counted with those of requests. */
  admits(joiner: PeerId, proof: Proof, now: Milliseconds): boolean {
    const { secrets, invitations } = this.#options
    return this.#perSender.take(joiner, now) && secrets.isProof(joiner, proof) && invitations.isOpenTo(proof.id, joiner)
  }
}
