import type { SessionFacts } from '../session/session.ts'
import type { HostPort } from '../types.ts'

/** Where the UDP port of the peer of a session is reached straight; undefined where that is not known. */
export function udpAddressOf(facts: SessionFacts | undefined, known: readonly HostPort[]): HostPort | undefined {
  if (!facts || facts.route === 'relay' || facts.route === 'friend-relay') return undefined
  if (facts.carrier === 'udx') return facts.remote
  // It may have dialled from any port; where it listens for TCP it listens for UDP as well.
  return known.find(({ address, port }) => address === facts.remote.address && port > 0)
}
