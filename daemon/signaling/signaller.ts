import type { PeerId } from '../types.ts'

/** Largest signal before it is sealed, in bytes. */
export const MAX_SIGNAL = 8 * 1024

/** A carrier's stable name, as `version` shows it. */
export type SignallerName = 'lan-stream' | 'hub' | 'session' | 'account' | 'friend'

/**
 * A plug-in that carries sealed signals: best effort, so they may be lost, doubled or come in another order. It neither reads nor
 * checks them. Every signaller passes the suite in `test/signaling/signaller-suite.ts`.
 */
export interface Signaller {
  readonly name: SignallerName
  /** True where it has, or can open, a way to the peer now. */
  reaches(peer: PeerId): boolean
  /** Sends if it can. Never throws and never waits: what cannot leave soon is dropped. */
  send(peer: PeerId, sealed: Uint8Array): void
  /** Calls `listener` with each sealed signal that arrives; returns the way to stop that. */
  onSignal(listener: (sealed: Uint8Array) => void): () => void
}

/** Signals as other parts use them: signed, sealed, checked, and carried by every signaller that reaches the peer. */
export interface SignalExchange {
  /** The signallers that reach a peer now. */
  reaches(peer: PeerId): readonly SignallerName[]
  /** Sends best effort, by all that reach it. False when none does. Throws `usage.too-large` above `MAX_SIGNAL`. */
  send(peer: PeerId, topic: string, content: Uint8Array): boolean
  /** Takes the signals of a topic, each once, from peers that are not blocked; returns the way to stop that. */
  handle(topic: string, listener: (peer: PeerId, content: Uint8Array) => void): () => void
}
