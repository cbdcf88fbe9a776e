import { Refusals } from '../../refusals.ts'
import type { Milliseconds } from '../../types.ts'
import type { StunMessage } from '../stun/message.ts'
import type { TransportAddress } from '../transport-address.ts'
import { usernameOf } from './check-message.ts'

/** Takes the STUN messages of one agent. */
export interface IceReceiver {
  /** Its own user fragment. */
  readonly ufrag: string
  /** False for what is not for it. */
  receive(message: StunMessage, from: TransportAddress, now: Milliseconds): boolean
}

/**
 * Hands the STUN messages of the shared socket to the agents they are for: requests by the user fragment they name, answers by the transaction
 * that asked for them. Nothing is ever sent to whom nobody here knows.
 */
export class IceMux {
  readonly #refusals: Refusals
  readonly #agents = new Map<string, IceReceiver>()

  constructor(refusals = new Refusals()) {
    this.#refusals = refusals
  }

  /** Gives requests for its user fragment, and answers to its own requests, to an agent; returns the way to stop that. */
  register(agent: IceReceiver): () => void {
    const { ufrag } = agent
    this.#agents.set(ufrag, agent)
    return () => {
      if (this.#agents.get(ufrag) === agent) this.#agents.delete(ufrag)
    }
  }

  /** False when nobody took it, which is counted. */
  receive(message: StunMessage, from: TransportAddress, now: Milliseconds): boolean {
    const [ufrag = ''] = message.class === 'request' ? usernameOf(message) : []
    const agents = message.class === 'request' ? [this.#agents.get(ufrag)] : this.#agents.values()
    for (const agent of agents) if (agent?.receive(message, from, now)) return true
    this.#refusals.count('peer.malformed')
    return false
  }
}
