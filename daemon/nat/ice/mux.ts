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

/** An agent, and who is told when it was given something: its deadline may be another one then. */
interface Registered {
  readonly agent: IceAgent
  readonly worked: () => void
}

/**
 * Tells the agents on one socket apart: checks by the user fragment that they name first, answers by their transaction. What is for nobody is
 * not answered, and so nothing can be reflected with it.
 */
export class IceMux {
  readonly #refusals: Refusals
  readonly #pacer = new Pacer()
  readonly #byUfrag = new Map<string, Registered>()
  /** Bounded, as each agent bounds its own. */
  readonly #byTransaction = new Map<string, Registered>()

  constructor({ refusals = new Refusals() }: IceMuxOptions = {}) {
    this.#refusals = refusals
  }

  /** Checks whose answers are waited for. */
  get transactions(): number {
    return this.#byTransaction.size
  }

  /** Gives an agent what is for it, under whatever user fragments it has, and tells when it did; returns the way to stop that. */
  register(agent: IceAgent, worked: () => void = () => {}): () => void {
    const registered: Registered = { agent, worked }
    let names: readonly string[] = []
    const rename = (ufrags: readonly string[]): void => {
      for (const name of names) if (this.#byUfrag.get(name) === registered) this.#byUfrag.delete(name)
      names = ufrags
      for (const name of names) this.#byUfrag.set(name, registered)
    }
    const detach = agent.attach({
      pacer: this.#pacer,
      names: rename,
      expects: (id) => void this.#byTransaction.set(id, registered),
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
    const isRequest = message.class === 'request'
    const to = isRequest
      ? this.#byUfrag.get(readUsername(message)?.to ?? '')
      : this.#byTransaction.get(keyOf(message.transaction))
    if (to?.agent.receive(message, from, now)) {
      to.worked()
      return true
    }
    if (isRequest) this.#refusals.count(to ? 'peer.bad-signature' : 'policy.refused')
    return false
  }
}
