import { type ErrorCode, isErrorCode } from '../errors.ts'
import { cleanName } from '../identity/host-name.ts'
import type { Ways } from '../peers/ways.ts'
import type { Milliseconds } from '../types.ts'
import { encodeJoin, type JoinAnswer, type JoinRequest } from './join-message.ts'

/** Time until a request that was sent is sent again; it grows by half, up to the last. */
const RESEND: Milliseconds = 500
const GROWTH = 1.5
const MAX_RESEND: Milliseconds = 5000
/** How often it is tried while nothing reaches the inviter. */
const LOOK: Milliseconds = 250

/** How joining ended. */
export type JoinOutcome =
  | { readonly kind: 'accepted'; readonly name: string; readonly ways: Ways }
  | { readonly kind: 'refused'; readonly code: ErrorCode }
  | { readonly kind: 'unanswered' }

interface JoiningOptions {
  readonly request: JoinRequest
  readonly now: Milliseconds
  /** When it is given up. */
  readonly until: Milliseconds
  /** To the inviter; it may be lost or doubled. False where nothing reaches it now. */
  readonly send: (content: Uint8Array) => boolean
}

/** The joiner's side: asks until it is answered. Free of I/O. */
export class Joining {
  readonly #options: JoiningOptions
  readonly #content: Uint8Array
  #outcome: JoinOutcome | undefined
  #sent = 0
  #pause = RESEND
  #at: Milliseconds

  constructor(options: JoiningOptions) {
    this.#options = options
    this.#content = encodeJoin(options.request)
    this.#at = options.now
  }

  get outcome(): JoinOutcome | undefined {
    return this.#outcome
  }

  /** How often it was asked. */
  get sent(): number {
    return this.#sent
  }

  /** When `tick` is to be called next; infinite once there is an outcome. */
  get deadline(): Milliseconds {
    return this.#outcome ? Number.POSITIVE_INFINITY : Math.min(this.#at, this.#options.until)
  }

  tick(now: Milliseconds): void {
    if (this.#outcome) return
    if (now >= this.#options.until) {
      this.#outcome = { kind: 'unanswered' }
      return
    }
    if (now < this.#at) return
    if (!this.#options.send(this.#content)) {
      this.#at = now + LOOK
      return
    }
    this.#sent++
    this.#at = now + this.#pause
    this.#pause = Math.min(MAX_RESEND, this.#pause * GROWTH)
  }

  /** Takes an answer of the inviter; the first counts. */
  receive(answer: JoinAnswer): void {
    if (this.#outcome || answer.id !== this.#options.request.id) return
    if (answer.kind === 'accepted') {
      this.#outcome = { kind: 'accepted', name: cleanName(answer.name), ways: answer.ways }
      return
    }
    const { code } = answer
    this.#outcome = { kind: 'refused', code: isErrorCode(code) && code.startsWith('policy.') ? code : 'policy.refused' }
  }
}
