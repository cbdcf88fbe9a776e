import type { Milliseconds } from '../../../../daemon/types.ts'
import type { SimulatedInternet } from './simulated-internet.ts'

export interface SignalFaults {
  /** Shortest and longest time that a signal takes: later ones overtake earlier ones. */
  readonly delay: readonly [Milliseconds, Milliseconds]
  /** Part of the signals, 0 to 1. */
  readonly loss: number
  readonly duplicate: number
}

/** Signals between the hosts of a simulated internet: lost, doubled and reordered, and none where either end is offline or asleep. */
export class Signals {
  faults: SignalFaults
  readonly #internet: SimulatedInternet
  readonly #random: () => number

  constructor(internet: SimulatedInternet, random: () => number, faults: SignalFaults) {
    this.#internet = internet
    this.#random = random
    this.faults = faults
  }

  send(from: number, to: number, arrive: () => void): void {
    const { loss, duplicate } = this.faults
    if (!this.#internet.canSignal(from, to) || this.#random() < loss) return
    this.#arriveLater(from, to, arrive)
    if (this.#random() < duplicate) this.#arriveLater(from, to, arrive)
  }

  #arriveLater(from: number, to: number, arrive: () => void): void {
    const [least, most] = this.faults.delay
    const delay = least + this.#random() * (most - least)
    this.#internet.timeline.after(delay, () => this.#internet.canSignal(from, to) && arrive())
  }
}
