import type { PeerId } from '../../../daemon/types.ts'

/** What passes between hosts of two processes that have no link yet. */
interface Signal {
  readonly kind: 'signal'
  readonly from: PeerId
  readonly to: PeerId
  readonly content: string
}

/** To a process of hosts: look for ways, take a signal, tell what it costs. */
export type Order =
  | Signal
  | { readonly kind: 'look'; readonly self: PeerId; readonly peers: readonly PeerId[] }
  | { readonly kind: 'report' }

/** What a process of hosts costs: memory that the system counts, in bytes; processor time in milliseconds; UDP sockets. */
export interface Cost {
  readonly rss: number
  readonly cpu: number
  readonly sockets: number
}

/** From a process of hosts. */
export type News =
  | Signal
  | { readonly kind: 'ready'; readonly peers: readonly PeerId[] }
  | { readonly kind: 'link'; readonly self: PeerId; readonly peer: PeerId; readonly route: string }
  /** The link goes another way now. */
  | { readonly kind: 'moved'; readonly self: PeerId; readonly peer: PeerId; readonly route: string }
  | { readonly kind: 'failed'; readonly peer: PeerId; readonly reason: string }
  | ({ readonly kind: 'report' } & Cost)
