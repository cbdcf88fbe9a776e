import type { Clock } from '../clock.ts'
import type { Milliseconds } from '../types.ts'

const MINUTE: Milliseconds = 60_000

/** Log-ins that may fail in a minute, from one address and in all: at 60 a minute a PIN of six digits lasts more than a week. */
const PER_ADDRESS = 5
const IN_ALL = 60

/** Most addresses remembered; the one that failed first is forgotten first. */
const MAX_ADDRESSES = 1024

/** Failed log-ins of the last minute. */
export class LogInAttempts {
  readonly #clock: Clock
  readonly #byAddress = new Map<string, Milliseconds[]>()
  #all: Milliseconds[] = []

  constructor(clock: Clock) {
    this.#clock = clock
  }

  /** False for an address that has failed too often; with `guessable` (a PIN, not a signature) also when all together have. */
  allows(address: string, guessable: boolean): boolean {
    const since = this.#clock.now() - MINUTE
    this.#all = this.#all.filter((at) => at > since)
    const here = (this.#byAddress.get(address) ?? []).filter((at) => at > since)
    if (here.length > 0) this.#byAddress.set(address, here)
    else this.#byAddress.delete(address)
    return here.length < PER_ADDRESS && !(guessable && this.#all.length >= IN_ALL)
  }

  failed(address: string, guessable: boolean): void {
    const now = this.#clock.now()
    if (guessable) this.#all.push(now)
    this.#byAddress.set(address, [...(this.#byAddress.get(address) ?? []), now].slice(-PER_ADDRESS))
    const [oldest] = this.#byAddress.keys()
    if (this.#byAddress.size > MAX_ADDRESSES && oldest !== undefined) this.#byAddress.delete(oldest)
  }
}
