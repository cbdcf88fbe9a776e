import { Refusals } from '../../refusals.ts'
import type { Milliseconds } from '../../types.ts'
import type { StunMessage } from '../stun/message.ts'
import { METHOD } from '../stun/registry.ts'
import type { TransportAddress } from '../transport-address.ts'
import type { IceAgent } from './agent.ts'
import { readUsername } from './check-message.ts'
import { Pacer } from './limits.ts'
import { keyOf } from './transactions.ts'

interface IceMuxOptions {
  /** Where checks are counted that are for nobody, or not authentic. */
  readonly refusals?: Refusals
}

/**
 * Tells the agents on one socket apart: checks by the user fragment that they name first, answers by their transaction. What is for nobody is
 * not answered, and so nothing can be reflected with it.
 */
export class IceMux {
  readonly #refusals: Refusals
  readonly #pacer = new Pacer()
  readonly #byUfrag = new Map<string, IceAgent>()
  /** Bounded, as each agent bounds its own. */
  readonly #byTransaction = new Map<string, IceAgent>()

  constructor({ refusals = new Refusals() }: IceMuxOptions = {}) {
    this.#refusals = refusals
  }

  /** Checks whose answers are waited for. */
  get transactions(): number {
    return this.#byTransaction.size
  }

  /** Gives an agent what is for it, under whatever user fragments it has; returns the way to stop that. */
  register(agent: IceAgent): () => void {
    let names: readonly string[] = []
    const rename = (ufrags: readonly string[]): void => {
      for (const name of names) if (this.#byUfrag.get(name) === agent) this.#byUfrag.delete(name)
      names = ufrags
      for (const name of names) this.#byUfrag.set(name, agent)
    }
    const detach = agent.attach({
      pacer: this.#pacer,
      names: rename,
      expects: (id) => void this.#byTransaction.set(id, agent),
      forgets: (id) => void this.#byTransaction.delete(id),
    })
    return () => {
      detach()
      rename([])
    }
  }

  /** True when an agent took it: a check, or the answer to one. */
  receive(message: StunMessage, from: TransportAddress, now: Milliseconds): boolean {
    if (message.method !== METHOD.binding) return false
    if (message.class !== 'request')
      return this.#byTransaction.get(keyOf(message.transaction))?.receive(message, from, now) ?? false
    const agent = this.#byUfrag.get(readUsername(message)?.to ?? '')
    if (agent?.receive(message, from, now)) return true
    this.#refusals.count(agent ? 'peer.bad-signature' : 'policy.refused')
    return false
  }
}
