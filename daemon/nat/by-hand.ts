import type { Milliseconds } from '../types.ts'
import type { IceCredentials } from './ice/credentials.ts'
import type { RendezvousSignal } from './rendezvous/description.ts'

/** How often checks begin anew while the other side is not there yet: often enough for the holes in a router to stay open. */
export const BEGIN_ANEW: Milliseconds = 12_000

/** Two people carry one description each way: nothing can be told later, and it takes them minutes. */
export interface ByHand {
  /** Those that were told, or are to be. */
  readonly credentials: IceCredentials
  /** The UDX stream of the link, if this side turns out to be the one that dials. */
  readonly stream: number
  /** How long the other side is waited for. */
  readonly patience: Milliseconds
}

/** What one person takes to another, who need not be known yet. */
export interface Offer extends Omit<ByHand, 'patience'> {
  readonly description: Extract<RendezvousSignal, { kind: 'describe' }>
}
