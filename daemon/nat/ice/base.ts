import { type LocalCandidate, priorityOf } from '../candidate.ts'

/** Where our packets leave: the socket of a family, or a relay. */
export interface Base {
  readonly family: 4 | 6
  /** Absent: straight from the socket. */
  readonly relay: string | undefined
  readonly priority: number
  readonly foundation: string
}

export function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4
}

/**
 * The bases that candidates stand for. A socket is one also while no address of its family is known, unless there were some (`had`): then its
 * last interface is gone.
 */
export function basesOf(
  families: readonly (4 | 6)[],
  candidates: readonly LocalCandidate[],
  had: ReadonlySet<4 | 6>,
): Base[] {
  const direct = families.flatMap((family): Base[] => {
    const own = candidates.filter((one) => one.kind !== 'relay' && familyOf(one.address) === family)
    if (own.length === 0 && had.has(family)) return []
    const priority = Math.max(
      priorityOf('host', 0),
      ...own.filter(({ kind }) => kind === 'host').map((one) => one.priority),
    )
    return [{ family, relay: undefined, priority, foundation: `ip${family}` }]
  })
  const relays = candidates.flatMap(({ kind, relay, address, priority, foundation }): Base[] =>
    kind === 'relay' && relay !== undefined ? [{ family: familyOf(address), relay, priority, foundation }] : [],
  )
  return [...direct, ...relays]
}

/** The PRIORITY of a check (RFC 8445 section 7.1.1): of the peer-reflexive candidate that its address may turn out to be. */
export function checkPriority(base: Base): number {
  return priorityOf('prflx', Math.floor(base.priority / 256) & 0xffff)
}
