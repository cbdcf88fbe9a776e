import type { Milliseconds } from '../../types.ts'
import { decodeError, type StunError } from '../stun/attributes.ts'
import { type StunMessage, StunWriter, TRANSACTION } from '../stun/message.ts'
import { ATTRIBUTE, ERROR } from '../stun/registry.ts'
import type { LongTermCredentials } from './credentials.ts'

/** RFC 8489 section 6.2.1: the first wait for an answer, and how often a request is sent over UDP unless told otherwise. */
const FIRST_WAIT: Milliseconds = 500
const TRIES = 7
/** The wait after the last of them, in first waits. */
const LAST_WAIT = 16
/** Over a stream nothing is sent again, and who is silent for so long has gone. */
const STREAM_PATIENCE: Milliseconds = 5000
/** Challenges that one request answers; an honest server needs one, and one more when its nonce ends in between. */
const MAX_CHALLENGES = 3
/** Requests under way at a time. */
const MAX_OUTSTANDING = 16

/** How a request ended. `refused`: the server, or what passes for it, cannot be given what it asks for. `silent`: no answer came. */
export type Outcome =
  | { readonly kind: 'success'; readonly message: StunMessage }
  | { readonly kind: 'error'; readonly error: StunError; readonly message: StunMessage }
  | { readonly kind: 'challenged' }
  | { readonly kind: 'refused'; readonly reason: string }
  | { readonly kind: 'silent' }

/** A request to the server; its attributes are written anew for each transaction. */
export interface TurnRequest {
  readonly method: number
  readonly write: (writer: StunWriter, transaction: Buffer) => void
  readonly done: (outcome: Outcome, now: Milliseconds) => void
  /** Ends with `challenged` once the server has asked who we are, instead of telling it. */
  readonly hold?: boolean
  /** How often it is sent at most. */
  readonly tries?: number
  /** The first wait for an answer. */
  readonly wait?: Milliseconds
}

interface Pending {
  readonly request: TurnRequest
  readonly packet: Buffer
  /** That it was signed with. */
  readonly nonce: Buffer | undefined
  readonly firstSent: Milliseconds
  readonly challenges: number
  readonly firstWait: Milliseconds
  sent: number
  wait: Milliseconds
  due: Milliseconds
}

interface RequestsOptions {
  readonly credentials: LongTermCredentials
  /** True over TCP and TLS. */
  readonly isStream: boolean
  readonly random: (bytes: number) => Buffer
  readonly output: (packet: Buffer, now: Milliseconds) => void
}

/** The requests to one TURN server that are under way: sent again while no answer comes, and with new credentials when the server wants them. */
export class Requests {
  readonly #options: RequestsOptions
  readonly #pending = new Map<string, Pending>()
  #roundTrip: Milliseconds | undefined

  constructor(options: RequestsOptions) {
    this.#options = options
  }

  /** True while no more can be begun. */
  get isFull(): boolean {
    return this.#pending.size >= MAX_OUTSTANDING
  }

  /** Of the last request that was answered and sent once only. */
  get roundTrip(): Milliseconds | undefined {
    return this.#roundTrip
  }

  get deadline(): Milliseconds {
    let first = Number.POSITIVE_INFINITY
    for (const { due } of this.#pending.values()) first = Math.min(first, due)
    return first
  }

  send(request: TurnRequest, now: Milliseconds): void {
    this.#send(request, now, 0)
  }

  /** Forgets all of them; none is told. */
  clear(): void {
    this.#pending.clear()
  }

  /** True when it was an answer to one of them. */
  receive(message: StunMessage, now: Milliseconds): boolean {
    const key = message.transaction.toString('latin1')
    const pending = this.#pending.get(key)
    if (!pending || message.method !== pending.request.method) return false
    if (message.class !== 'success' && message.class !== 'error') return false
    const outcome = this.#judge(pending, message)
    if (outcome === 'unproven') return true
    this.#pending.delete(key)
    if (pending.sent === 1) this.#roundTrip = now - pending.firstSent
    if (outcome === 'again') this.#send(pending.request, now, pending.challenges + 1)
    else pending.request.done(outcome, now)
    return true
  }

  tick(now: Milliseconds): void {
    for (const [key, pending] of [...this.#pending]) {
      if (now < pending.due || this.#pending.get(key) !== pending) continue
      const { tries = TRIES } = pending.request
      if (this.#options.isStream || pending.sent >= tries) {
        this.#pending.delete(key)
        pending.request.done({ kind: 'silent' }, now)
      } else this.#transmit(pending, now)
    }
  }

  #send(request: TurnRequest, now: Milliseconds, challenges: number): void {
    const { credentials, random } = this.#options
    const transaction = random(TRANSACTION)
    const writer = new StunWriter('request', request.method, transaction)
    request.write(writer, transaction)
    const firstWait = request.wait ?? Math.max(FIRST_WAIT, (this.#roundTrip ?? 0) * 1.5)
    const pending: Pending = {
      request,
      packet: credentials.sign(writer),
      nonce: credentials.nonce,
      firstSent: now,
      challenges,
      sent: 0,
      firstWait,
      wait: firstWait,
      due: now,
    }
    this.#pending.set(transaction.toString('latin1'), pending)
    this.#transmit(pending, now)
  }

  #transmit(pending: Pending, now: Milliseconds): void {
    pending.sent++
    if (this.#options.isStream) pending.due = now + STREAM_PATIENCE
    else if (pending.sent === TRIES) pending.due = now + LAST_WAIT * pending.firstWait
    else pending.due = now + pending.wait
    pending.wait *= 2
    this.#options.output(pending.packet, now)
  }

  #judge({ request, nonce, challenges }: Pending, message: StunMessage): Outcome | 'again' | 'unproven' {
    const { credentials } = this.#options
    const isSigned = nonce !== undefined
    const isAuthentic = isSigned && credentials.isAuthentic(message)
    if (message.class === 'success') return isSigned && !isAuthentic ? 'unproven' : { kind: 'success', message }
    const error = readError(message)
    if (!error) return 'unproven'
    if (error.code === ERROR.unauthenticated || error.code === ERROR.staleNonce)
      return this.#challenged(error.code, message, request, nonce, challenges)
    // Some errors come before the server knows the key; what claims to be protected has to be.
    if (message.integrity && isSigned && !isAuthentic) return 'unproven'
    return { kind: 'error', error, message }
  }

  #challenged(
    code: number,
    message: StunMessage,
    request: TurnRequest,
    nonce: Buffer | undefined,
    challenges: number,
  ): Outcome | 'again' {
    const { credentials } = this.#options
    const isNew = message.get(ATTRIBUTE.nonce)?.equals(nonce ?? Buffer.alloc(0)) === false
    // Who signed with this nonce and is asked again is not believed (RFC 8489 section 9.2.5).
    if (nonce && code === ERROR.unauthenticated && (!isNew || challenges > 0))
      return { kind: 'refused', reason: 'the server does not accept the user name or the password' }
    const challenge = credentials.challenged(message)
    if (challenge.kind === 'refused') return challenge
    if (request.hold) return { kind: 'challenged' }
    if (challenges >= MAX_CHALLENGES)
      return { kind: 'refused', reason: 'the server asks again and again who we are, and takes no answer' }
    return 'again'
  }
}

function readError(message: StunMessage): StunError | undefined {
  try {
    return decodeError(message.get(ATTRIBUTE.errorCode) ?? Buffer.alloc(0))
  } catch {
    return undefined
  }
}
