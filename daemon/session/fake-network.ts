import type { Milliseconds } from '../types.ts'

/** One direction of a fake network. */
export interface FakeDirection {
  /** Share lost, 0 to 1. On a link, whose carrier repeats what is lost, a loss is a delay. */
  readonly loss: number
  readonly delay: Milliseconds
  /** Added at random, up to this much. */
  readonly jitter: Milliseconds
  /** Share of datagrams that are overtaken by those behind them, 0 to 1. */
  readonly reorder: number
  /** Share of datagrams that arrive twice, 0 to 1. */
  readonly duplicate: number
  /** Bits per second; 0 has no limit. */
  readonly rate: number
}

/** A worse network than there is, for app developers: each way of one session. */
export interface FakeNetworkSettings {
  readonly out: FakeDirection
  readonly in: FakeDirection
}
