import { isRelayKind } from '../candidate.ts'
import type { CandidatePair } from './candidate-pair.ts'

/** Why nothing worked, in words: what was tried, and how far it got. */
export function failureReason(pairs: readonly CandidatePair[], named: number, wasHeard: boolean): string {
  if (named === 0) return 'the peer named no address that can be tried'
  if (pairs.length === 0) return 'none of the addresses of the peer is of a family that this host has'
  const count = new Set(pairs.map(({ remote }) => `${remote.address} ${remote.port}`)).size
  const of = count === 1 ? 'its only address' : `any of ${count} addresses`
  const unsent = pairs.filter(({ why }) => why.startsWith(UNSENT))
  const what = unsent.length === pairs.length ? `nothing can be sent to ${of}` : `no answer from ${of}`
  const relays = pairs.some(({ base, remote }) => base.relay !== undefined || isRelayKind(remote.kind))
  return [
    what,
    wasHeard ? 'the checks of the peer arrive, the answers to ours do not' : 'nothing of the peer arrived',
    ...(relays ? [] : ['neither side has a relay']),
  ].join('; ')
}

/** How the reason begins where the system refused to send. */
export const UNSENT = 'cannot be sent to'
