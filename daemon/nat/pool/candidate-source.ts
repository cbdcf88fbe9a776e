import type { LocalCandidate } from '../candidate.ts'

/** Relays and mapped ports: who gathers them keeps them fresh while they are wanted. */
export interface CandidateSource {
  candidates(): readonly LocalCandidate[]
  want(): () => void
  /** Calls `listener` after each change; returns the way to stop that. */
  onChange(listener: () => void): () => void
}

/** Several sources as one, in their order. */
export function joinSources(sources: readonly CandidateSource[]): CandidateSource {
  const all = (stops: readonly (() => void)[]) => () => {
    for (const stop of stops) stop()
  }
  return {
    candidates: () => sources.flatMap((source) => source.candidates()),
    want: () => all(sources.map((source) => source.want())),
    onChange: (listener) => all(sources.map((source) => source.onChange(listener))),
  }
}
