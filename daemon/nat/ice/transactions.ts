import type { Milliseconds } from '../../types.ts'
import type { CandidatePair } from './candidate-pair.ts'
import { MAX_TRANSACTIONS } from './limits.ts'
import type { RoleName } from './role.ts'

/** For how long after a check was sent last its answer is taken. */
const LINGER: Milliseconds = 10_000

/** A check that was sent. */
export interface Transaction {
  readonly id: Buffer
  readonly pair: CandidatePair
  /** What it was sent for: to find out about a pair, to know that it still works, to see what it carries. */
  readonly purpose: 'find' | 'upkeep' | 'mtu'
  /** The password that it and its answer are protected with. */
  readonly key: string
  readonly role: RoleName
  /** Padded to this; 0: not padded. */
  readonly size: number
  readonly packet: Buffer
  sends: number
  /** How often it is sent at most. */
  readonly tries: number
  sentAt: Milliseconds
  /** Before it is sent again; it doubles (RFC 8489 section 6.2.1). */
  rto: Milliseconds
  /** When it is to be sent again, or has failed; infinite: neither. */
  nextAt: Milliseconds
}

/** Told as transactions come and go, so that answers find their agent. */
export interface TransactionWatcher {
  expects(id: string): void
  forgets(id: string): void
}

/** The checks of one agent that answers are taken for. */
export class Transactions {
  readonly #all = new Map<string, Transaction>()
  #watcher: TransactionWatcher | undefined

  set watcher(watcher: TransactionWatcher | undefined) {
    for (const id of this.#all.keys()) {
      this.#watcher?.forgets(id)
      watcher?.expects(id)
    }
    this.#watcher = watcher
  }

  get size(): number {
    return this.#all.size
  }

  /** When the first one is to be sent again or fails. */
  get deadline(): Milliseconds {
    let first = Number.POSITIVE_INFINITY
    for (const { nextAt } of this.#all.values()) if (nextAt < first) first = nextAt
    return first
  }

  /** The oldest give way when there are too many. */
  add(transaction: Transaction): void {
    for (const [id, { sentAt, nextAt }] of this.#all) {
      const isOld = sentAt + LINGER < transaction.sentAt && nextAt === Number.POSITIVE_INFINITY
      if (isOld || this.#all.size >= MAX_TRANSACTIONS) this.#delete(id)
      else if (this.#all.size < MAX_TRANSACTIONS / 2) break
    }
    const id = keyOf(transaction.id)
    this.#all.set(id, transaction)
    this.#watcher?.expects(id)
  }

  get(id: Buffer): Transaction | undefined {
    return this.#all.get(keyOf(id))
  }

  delete(id: Buffer): void {
    this.#delete(keyOf(id))
  }

  /** Those to be sent again, or failed, now. */
  due(now: Milliseconds): Transaction[] {
    return [...this.#all.values()].filter(({ nextAt }) => nextAt <= now)
  }

  /** The check that looks whether a pair works is not repeated; an answer still counts (RFC 8445 section 7.3.1.4). */
  cancel(pair: CandidatePair): void {
    for (const one of this.#all.values()) if (one.pair === pair) one.nextAt = Number.POSITIVE_INFINITY
  }

  /** No answer that may come counts for this pair, or for any. */
  drop(pair?: CandidatePair): void {
    for (const [id, one] of this.#all) if (!pair || one.pair === pair) this.#delete(id)
  }

  #delete(id: string): void {
    if (this.#all.delete(id)) this.#watcher?.forgets(id)
  }
}

/** A transaction id as the key of a map. */
export function keyOf(id: Buffer): string {
  return id.toString('latin1')
}
