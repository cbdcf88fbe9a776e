import { lookup } from 'node:dns/promises'
import { isIP } from 'node:net'
import type { Clock, Timer } from '../../clock.ts'
import type { Milliseconds } from '../../types.ts'

/** How long an answer counts; how soon a failure is asked again: doubled each time, up to the last. */
const FRESH: Milliseconds = 600_000
const RETRY: Milliseconds = 5000
const MAX_RETRY: Milliseconds = 300_000

/** Addresses of a name, of both families; empty while unknown. */
export type Resolve = (host: string) => Promise<readonly string[]>

/** The machine's own resolver. */
export const systemResolve: Resolve = async (host) => (await lookup(host, { all: true })).map(({ address }) => address)

/** Keeps the addresses of names known without anybody waiting for them. */
export class Resolver {
  readonly #clock: Clock
  readonly #resolve: Resolve
  readonly #changed: () => void
  readonly #names = new Map<string, { addresses: readonly string[]; timer: Timer | undefined; retry: Milliseconds }>()

  /** `changed`: a name has other addresses than before. */
  constructor(clock: Clock, resolve: Resolve, changed: () => void) {
    this.#clock = clock
    this.#resolve = resolve
    this.#changed = changed
  }

  /** The addresses of a host, as last known; an IP literal is its own. */
  addresses(host: string): readonly string[] {
    return isIP(host) ? [host] : (this.#names.get(host)?.addresses ?? [])
  }

  /** Keeps these names known from now on, and no others. Those whose look-up failed are asked again at once. */
  use(hosts: readonly string[]): void {
    const names = new Set(hosts.filter((host) => !isIP(host)))
    for (const [name, { timer }] of this.#names) {
      if (names.has(name)) continue
      timer?.cancel()
      this.#names.delete(name)
    }
    for (const name of names) if ((this.#names.get(name)?.addresses.length ?? 0) === 0) this.#ask(name, RETRY)
  }

  #ask(name: string, retry: Milliseconds): void {
    const entry = this.#names.get(name) ?? { addresses: [], timer: undefined, retry }
    entry.timer?.cancel()
    entry.timer = undefined
    entry.retry = retry
    this.#names.set(name, entry)
    const found = (addresses: readonly string[]): void => {
      if (this.#names.get(name) !== entry) return
      const isKnown = addresses.length > 0
      const isOther = isKnown && addresses.join() !== entry.addresses.join()
      if (isKnown) entry.addresses = addresses
      const next = isKnown ? RETRY : Math.min(MAX_RETRY, entry.retry * 2)
      entry.timer?.cancel()
      entry.timer = this.#clock.after(isKnown ? FRESH : entry.retry, () => this.#ask(name, next))
      if (isOther) this.#changed()
    }
    this.#resolve(name).then(found, () => found([]))
  }
}
