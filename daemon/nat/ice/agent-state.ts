import type { Milliseconds } from '../../types.ts'
import type { CandidatePair } from './candidate-pair.ts'
import { CheckList } from './check-list.ts'
import type { IceCredentials } from './credentials.ts'
import { Nomination } from './nomination.ts'
import { RemoteAddresses } from './remote-addresses.ts'
import type { Role } from './role.ts'
import { Transactions } from './transactions.ts'

interface AgentStateOptions {
  readonly role: Role
  readonly local: IceCredentials
  readonly now: Milliseconds
  readonly random: (bytes: number) => Buffer
}

/** What the parts of an agent share: which pairs there are, which is in use, and who the two ends are. */
export class AgentState {
  readonly list = new CheckList()
  readonly remotes = new RemoteAddresses()
  readonly transactions = new Transactions()
  readonly nomination = new Nomination()
  readonly role: Role
  readonly random: (bytes: number) => Buffer
  local: IceCredentials
  remote: IceCredentials | undefined
  /** The pair in use. */
  selected: CandidatePair | undefined
  /** When the peer, or our network, last gave a reason to look for it. */
  lifeAt: Milliseconds
  /** An authentic check of the peer has come. */
  wasHeard = false
  /** Pairs may have to go that the peer does not name any more. */
  isStale = false

  constructor({ role, local, now, random }: AgentStateOptions) {
    this.role = role
    this.local = local
    this.lifeAt = now
    this.random = random
  }

  usable(now: Milliseconds): CandidatePair[] {
    return this.list.pairs.filter((pair) => pair.isUsable(now))
  }

  fail(pair: CandidatePair, why: string, now: Milliseconds): void {
    pair.fail(why, now)
    if (!this.remotes.find(pair.to)) this.isStale = true
  }

  /** Everything that has failed may work now, and the reverse. */
  reviveAll(now: Milliseconds): void {
    for (const pair of this.list.pairs) {
      if (pair.state === 'in-progress') this.transactions.cancel(pair)
      if (pair.state === 'succeeded') pair.health.doubt(now)
      else pair.revive()
    }
  }

  /** Other credentials: everything is found out again, but the path in use is used meanwhile. */
  reset(now: Milliseconds): void {
    this.transactions.drop()
    for (const pair of this.list.pairs) {
      if (pair === this.selected && pair.state === 'succeeded') pair.health.doubt(now)
      else pair.reset()
    }
  }

  roleChanged(): void {
    this.list.sort(this.role.isControlling)
    this.nomination.forget(false)
    if (this.role.isControlling && this.selected) this.nomination.nominate(this.selected)
  }

  /** From 0 to below 1. */
  readonly fraction = (): number => this.random(4).readUInt32BE() / 2 ** 32
}
