import { formatTransport, type TransportAddress } from '../../../../daemon/nat/transport-address.ts'
import type { Milliseconds } from '../../../../daemon/types.ts'

/** The checks of one agent: how many, how fast, and to whom that never said anything. */
export class CheckCount {
  readonly #checks: { readonly at: Milliseconds; readonly to: string }[] = []
  readonly #answering = new Set<string>()

  /** A STUN request left. */
  sent(to: TransportAddress, at: Milliseconds): void {
    this.#checks.push({ at, to: formatTransport(to) })
  }

  /** Something came from there. */
  heard(from: TransportAddress): void {
    this.#answering.add(formatTransport(from))
  }

  get total(): number {
    return this.#checks.length
  }

  /** The most within any so many milliseconds, of those after the first `skip`. */
  mostWithin(span: Milliseconds, skip: number): number {
    const checks = this.#checks.slice(skip)
    let most = 0
    let first = 0
    checks.forEach(({ at }, index) => {
      while (at - (checks[first]?.at ?? at) >= span) first++
      most = Math.max(most, index - first + 1)
    })
    return most
  }

  /** The most to one address from which nothing has come, of those after the first `skip`. */
  mostToSilent(skip: number): number {
    const counts = new Map<string, number>()
    for (const { to } of this.#checks.slice(skip))
      if (!this.#answering.has(to)) counts.set(to, (counts.get(to) ?? 0) + 1)
    return Math.max(0, ...counts.values())
  }
}
