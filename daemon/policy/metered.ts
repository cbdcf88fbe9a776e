import type { Clock, Timer } from '../clock.ts'
import type { Logger } from '../logger.ts'
import { interfaceOf, plainAddress } from '../network/addresses.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { Milliseconds } from '../types.ts'
import type { Way } from './policy.ts'

/** How often the system is asked: its word may change without the network doing so. */
const LOOK: Milliseconds = 60_000

interface MeteredOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly interfaces: () => readonly NetworkInterface[]
  /** Names of interfaces that the owner calls metered. */
  readonly named: () => readonly string[]
  /** Names of interfaces that the system calls metered; undefined where it tells nothing, and never will. */
  readonly ask: () => Promise<readonly string[] | undefined>
  /** The address of ours that packets to the internet leave from; undefined where none leads there. */
  readonly leavesFrom: (family: 4 | 6) => Promise<string | undefined>
  readonly onChange: () => void
}

/** Which interfaces lead to networks that are paid for by what goes through them: those that the owner names, and those of which the system says so. */
export class MeteredNetworks {
  readonly #options: MeteredOptions
  #told: readonly string[] = []
  #isTold = true
  #outside: Partial<Record<4 | 6, string>> = {}
  #timer: Timer | undefined
  #isStopped = false

  constructor(options: MeteredOptions) {
    this.#options = options
  }

  /** Names of those that are up. */
  names(): readonly string[] {
    const { interfaces, named } = this.#options
    const metered = new Set([...this.#told, ...named()])
    return interfaces().flatMap(({ name }) => (metered.has(name) ? [name] : []))
  }

  /** True where packets go over one of them. */
  isMetered({ from, to }: Way): boolean {
    const metered = this.names()
    if (metered.length === 0) return false
    const on = (from && this.#owner(from)) ?? (to && interfaceOf(to, this.#options.interfaces())?.name)
    if (on) return metered.includes(on)
    const family = (to ?? from)?.includes(':') ? 6 : 4
    const outside = this.#outside[family] ?? this.#outside[family === 4 ? 6 : 4]
    const name = outside && this.#owner(outside)
    return name !== undefined && metered.includes(name)
  }

  /** Asks the system: at start, when the network changed, and now and then. */
  async look(): Promise<void> {
    const { ask, leavesFrom, clock, logger, onChange } = this.#options
    if (this.#isStopped) return
    this.#timer?.cancel()
    this.#timer = clock.after(LOOK, () => void this.look())
    const before = this.#state()
    const [told, four, six] = await Promise.all([this.#isTold ? ask() : undefined, leavesFrom(4), leavesFrom(6)])
    this.#isTold &&= told !== undefined
    this.#told = told ?? []
    this.#outside = { ...(four && { 4: four }), ...(six && { 6: six }) }
    if (this.#isStopped || this.#state() === before) return
    logger.info('metered networks', { interfaces: this.names().join(' ') })
    onChange()
  }

  /** Safe to call twice. */
  stop(): void {
    this.#isStopped = true
    this.#timer?.cancel()
  }

  #owner(address: string): string | undefined {
    const plain = plainAddress(address)
    return this.#options.interfaces().find(({ addresses }) => addresses.some((own) => own.address === plain))?.name
  }

  #state(): string {
    return JSON.stringify([this.#told, this.isMetered({})])
  }
}
