import type { HostPort } from '../types.ts'

/**
 * RFC 8445 section 4, and `mapped`: a port that a router forwards to us on request (PCP, NAT-PMP, UPnP); `friend-relay`: a relay that a
 * trusted peer runs.
 */
export type CandidateKind = 'host' | 'mapped' | 'srflx' | 'prflx' | 'friend-relay' | 'relay'

/** True for addresses at which a relay takes what is for its host. */
export function isRelayKind(kind: CandidateKind): kind is 'friend-relay' | 'relay' {
  return kind === 'relay' || kind === 'friend-relay'
}

/** An address at which this host may be reached. */
export interface LocalCandidate {
  readonly kind: Exclude<CandidateKind, 'prflx'>
  readonly address: string
  readonly port: number
  /** RFC 8445 section 5.1.2. */
  readonly priority: number
  /** RFC 8445 section 5.1.1.3: the same for candidates of one kind, base and server. */
  readonly foundation: string
  /** Of relays: the TURN allocation that packets leave through. */
  readonly relay?: string
  /** `srflx` and `mapped`: the host's own address; `relay`: as the server sees us. For people to read. */
  readonly related?: HostPort
  /** The interface it belongs to, where one is known; empty otherwise. */
  readonly interface: string
}

/** An address at which the peer may be reached, as it says. */
export interface RemoteCandidate {
  readonly kind: Exclude<CandidateKind, 'prflx'>
  readonly address: string
  readonly port: number
  readonly priority: number
  readonly foundation: string
}

/** Preferences of the kinds (RFC 8445 section 5.1.2.1). */
const PREFERENCE: Record<CandidateKind, number> = {
  host: 126,
  mapped: 120,
  prflx: 110,
  srflx: 100,
  'friend-relay': 10,
  relay: 0,
}

/** RFC 8445 section 5.1.2.1, of component 1. `local`: 0 to 65,535, higher is better. */
export function priorityOf(kind: CandidateKind, local: number): number {
  return PREFERENCE[kind] * 2 ** 24 + local * 2 ** 8 + 255
}

/** Most candidates of one host that a peer looks at. */
export const MAX_REMOTE_CANDIDATES = 32
