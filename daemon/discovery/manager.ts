import type { Clock, Timer } from '../clock.ts'
import type { Logger } from '../logger.ts'
import type { Network } from '../network/network.ts'
import type { Milliseconds } from '../types.ts'
import type { Announcement, DiscoveryEvents, DiscoveryMethod, DiscoveryState } from './discovery.ts'

/** Pause before a method that failed is started again; it doubles, up to the last. */
const FIRST_PAUSE: Milliseconds = 1000
const LAST_PAUSE: Milliseconds = 60_000

interface DiscoveryOptions {
  readonly methods: readonly DiscoveryMethod[]
  readonly network: Network
  readonly clock: Clock
  readonly logger: Logger
}

/** Runs the discovery methods side by side: one that fails is started again, and never stops another. */
export class Discovery {
  readonly #options: DiscoveryOptions
  readonly #failed = new Map<DiscoveryMethod, { reason: string; timer: Timer; pause: Milliseconds }>()
  #announcement: Announcement | undefined
  #events: DiscoveryEvents | undefined
  #unwatch: (() => void) | undefined

  constructor(options: DiscoveryOptions) {
    this.#options = options
  }

  async start(announcement: Announcement, events: DiscoveryEvents): Promise<void> {
    this.#announcement = announcement
    this.#events = events
    this.#unwatch = this.#options.network.onChange((change) => {
      for (const method of this.#options.methods) this.#guard(method, () => method.networkChanged(change))
    })
    await Promise.all(this.#options.methods.map((method) => this.#startMethod(method, FIRST_PAUSE)))
  }

  /** Says goodbye by every method. Safe to call twice. */
  async stop(): Promise<void> {
    this.#unwatch?.()
    this.#announcement = undefined
    for (const { timer } of this.#failed.values()) timer.cancel()
    await Promise.allSettled(this.#options.methods.map((method) => method.stop()))
  }

  rename(name: string): void {
    if (!this.#announcement || this.#announcement.name === name) return
    this.#announcement = { ...this.#announcement, name }
    for (const method of this.#options.methods) this.#guard(method, () => method.renamed(name))
  }

  states(): DiscoveryState[] {
    return this.#options.methods.flatMap((method) => {
      const failure = this.#failed.get(method)
      return failure
        ? [{ method: method.name, interface: '', state: 'failed' as const, detail: failure.reason }]
        : [...method.states()]
    })
  }

  async #startMethod(method: DiscoveryMethod, pause: Milliseconds): Promise<void> {
    if (!this.#announcement || !this.#events) return
    try {
      await method.start(this.#announcement, this.#options.network.interfaces(), this.#eventsOf(method, this.#events))
      this.#failed.delete(method)
    } catch (error) {
      this.#fail(method, error, pause)
    }
  }

  /** What one method hears of a host that is gone, the others are told. */
  #eventsOf(method: DiscoveryMethod, events: DiscoveryEvents): DiscoveryEvents {
    return {
      seen: (sighting) => events.seen(sighting),
      gone: (peer, ...where) => {
        events.gone(peer, ...where)
        for (const other of this.#options.methods) if (other !== method) this.#guard(other, () => other.doubt?.(peer))
      },
    }
  }

  #guard(method: DiscoveryMethod, task: () => void): void {
    if (this.#failed.has(method)) return
    try {
      task()
    } catch (error) {
      this.#fail(method, error, FIRST_PAUSE)
    }
  }

  #fail(method: DiscoveryMethod, error: unknown, pause: Milliseconds): void {
    const reason = error instanceof Error ? error.message : String(error)
    this.#options.logger.warn('a discovery method failed', { method: method.name, reason })
    const timer = this.#options.clock.after(pause, () => {
      void method.stop().then(() => this.#startMethod(method, Math.min(pause * 2, LAST_PAUSE)))
    })
    this.#failed.set(method, { reason, timer, pause })
  }
}
