import type { Milliseconds } from '../../types.ts'
import { unknownAttributes } from '../stun/attributes.ts'
import type { StunMessage } from '../stun/message.ts'
import { ERROR } from '../stun/registry.ts'
import { formatTransport, type TransportAddress } from '../transport-address.ts'
import type { AgentState } from './agent-state.ts'
import { type Check, readCheck, writeAnswer, writeRefusal } from './check-message.ts'
import type { IceCredentials } from './credentials.ts'
import { MAX_SEEN } from './limits.ts'
import { keyOf } from './transactions.ts'

/** What became of a request: it is none of the peer's, it was answered and that is all, or it says something new. */
type Outcome = 'foreign' | 'answered' | Check

/** Answers the checks of the peer (RFC 8445 section 7.3), those that are authentic. */
export class Requests {
  readonly #state: AgentState
  readonly #send: (packet: Buffer, to: TransportAddress) => void
  /** Where they came from, by transaction. */
  readonly #seen = new Map<string, string>()

  constructor(state: AgentState, send: (packet: Buffer, to: TransportAddress) => void) {
    this.#state = state
    this.#send = send
  }

  /** `own`: the credentials that checks may be for. */
  receive(message: StunMessage, from: TransportAddress, own: readonly IceCredentials[], now: Milliseconds): Outcome {
    const { role, transactions } = this.#state
    const check = readCheck(message)
    const local = check && own.find(({ ufrag }) => ufrag === check.to)
    // Our own checks come back where somebody reflects them, and have a transaction of ours.
    if (!check || !local || transactions.get(message.transaction)) return 'foreign'
    if (!message.isAuthentic(Buffer.from(local.pwd), 'sha256')) return 'foreign'
    const source = formatTransport(from)
    const before = this.#note(message.transaction, source)
    // Sent again it is from where it was; from elsewhere it is a replay.
    if (before !== undefined && before !== source) return 'foreign'
    const unknown = unknownAttributes(message)
    if (unknown.length > 0) {
      const error = { code: ERROR.unknownAttribute, reason: 'Unknown Attribute' }
      this.#send(writeRefusal(message, error, local.pwd, unknown), from)
      return 'answered'
    }
    const roleBefore = role.name
    if (!role.heard(check.role, check.tieBreaker, now)) {
      this.#send(writeRefusal(message, { code: ERROR.roleConflict, reason: 'Role Conflict' }, local.pwd), from)
      return 'answered'
    }
    if (role.name !== roleBefore) this.#state.roleChanged()
    this.#send(writeAnswer(message, from, local.pwd), from)
    return before === undefined ? check : 'answered'
  }

  /** Remembers where a check came from; returns where it came from before. */
  #note(transaction: Buffer, source: string): string | undefined {
    const id = keyOf(transaction)
    const before = this.#seen.get(id)
    if (before !== undefined) return before
    this.#seen.set(id, source)
    const [oldest] = this.#seen.keys()
    if (this.#seen.size > MAX_SEEN && oldest !== undefined) this.#seen.delete(oldest)
    return undefined
  }
}
