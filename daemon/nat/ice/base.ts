import { priorityOf } from '../candidate.ts'

/** Where our packets leave: the socket of a family, or a relay. */
export interface Base {
  readonly family: 4 | 6
  /** Absent: straight from the socket. */
  readonly relay: string | undefined
  /** What we are there, as far as is known before anybody has answered. */
  readonly kind: 'host' | 'friend-relay' | 'relay'
  readonly priority: number
  readonly foundation: string
}

export function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4
}

/** The PRIORITY of a check (RFC 8445 section 7.1.1): of the peer-reflexive candidate that its address may turn out to be. */
export function checkPriority(base: Base): number {
  return priorityOf('prflx', Math.floor(base.priority / 256) & 0xffff)
}
