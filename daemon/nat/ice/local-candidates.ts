import type { HostPort } from '../../types.ts'
import { type CandidateKind, isRelayKind, type LocalCandidate, priorityOf } from '../candidate.ts'
import { type Base, familyOf } from './base.ts'

/** Where we may be reached, and where our packets leave. */
export class LocalCandidates {
  readonly #families: readonly (4 | 6)[]
  /** Families of which there were addresses at some time. */
  readonly #had = new Set<4 | 6>()
  #all: readonly LocalCandidate[] = []
  #bases: readonly Base[] = []

  /** `families`: those that there are sockets of. */
  constructor(families: readonly (4 | 6)[]) {
    this.#families = families
    this.#bases = this.#basesNow()
  }

  /**
   * The socket of each family, and the relays. A socket is one also while no address of its family is known, unless there were some: then its
   * last interface is gone.
   */
  get bases(): readonly Base[] {
    return this.#bases
  }

  /** The present set; tells whether it is another one, and which addresses of the host's own are gone. */
  set(candidates: readonly LocalCandidate[]): { readonly isChanged: boolean; readonly gone: ReadonlySet<string> } {
    const before = this.#all
    this.#all = candidates
    for (const { kind, address } of candidates) if (!isRelayKind(kind)) this.#had.add(familyOf(address))
    this.#bases = this.#basesNow()
    const lost = before.filter(
      ({ kind, address }) => kind === 'host' && !candidates.some((one) => one.address === address),
    )
    return {
      isChanged: before.map(identityOf).join() !== candidates.map(identityOf).join(),
      gone: new Set(lost.map(({ address }) => address)),
    }
  }

  /** True for addresses that lead to ourselves. */
  has({ address, port }: HostPort): boolean {
    return this.#all.some((own) => own.address === address && own.port === port)
  }

  /** What we are to somebody who sees us at an address (RFC 8445 section 7.2.5.3.1). */
  kindAt({ kind: ofBase }: Base, mapped: HostPort | undefined): CandidateKind {
    if (isRelayKind(ofBase)) return ofBase
    const seen = this.#all.filter(
      (own) => !isRelayKind(own.kind) && own.address === mapped?.address && own.port === mapped.port,
    )
    return seen.find(({ kind }) => kind === 'host')?.kind ?? seen[0]?.kind ?? 'prflx'
  }

  #basesNow(): Base[] {
    const direct = this.#families.flatMap((family): Base[] => {
      const own = this.#all.filter((one) => !isRelayKind(one.kind) && familyOf(one.address) === family)
      if (own.length === 0 && this.#had.has(family)) return []
      const hosts = own.filter(({ kind }) => kind === 'host').map((one) => one.priority)
      return [
        {
          family,
          relay: undefined,
          kind: 'host',
          priority: Math.max(priorityOf('host', 0), ...hosts),
          foundation: `ip${family}`,
        },
      ]
    })
    const relays = this.#all.flatMap(({ kind, relay, address, priority, foundation }): Base[] =>
      isRelayKind(kind) && relay !== undefined
        ? [{ family: familyOf(address), relay, kind, priority, foundation }]
        : [],
    )
    return [...direct, ...relays]
  }
}

const identityOf = ({ kind, address, port, relay = '' }: LocalCandidate): string =>
  `${kind} ${address} ${port} ${relay}`
