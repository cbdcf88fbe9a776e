import type { Milliseconds } from '../types.ts'

/** RFC 8656 section 9. */
const LIFETIME: Milliseconds = 300_000
/** Addresses that one allocation lets in at a time. */
export const MAX_PERMISSIONS = 64

/** From whom, and to whom, an allocation relays: addresses, whatever the port (RFC 8656 section 9). */
export class Permissions {
  readonly #until = new Map<string, Milliseconds>()

  get size(): number {
    return this.#until.size
  }

  /** Lets them in, or for longer; false, and none of them, where they are too many. */
  install(addresses: readonly string[], now: Milliseconds): boolean {
    const added = new Set(addresses.filter((address) => !this.#until.has(address)))
    if (this.#until.size + added.size > MAX_PERMISSIONS) this.sweep(now)
    const isNew = (address: string): boolean => !this.#until.has(address)
    if (this.#until.size + new Set(addresses.filter(isNew)).size > MAX_PERMISSIONS) return false
    for (const address of addresses) this.#until.set(address, now + LIFETIME)
    return true
  }

  has(address: string, now: Milliseconds): boolean {
    const until = this.#until.get(address)
    return until !== undefined && now < until
  }

  /** Takes back those that are not to be let in any more. */
  revoke(isUnwanted: (address: string) => boolean): void {
    for (const address of [...this.#until.keys()]) if (isUnwanted(address)) this.#until.delete(address)
  }

  /** Forgets those that are over. */
  sweep(now: Milliseconds): void {
    for (const [address, until] of [...this.#until]) if (now >= until) this.#until.delete(address)
  }
}
