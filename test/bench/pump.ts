interface PumpOptions {
  /** How many may be under way. */
  readonly window: number
  readonly send: () => void
  /** Around the sends of one turn of the event loop. */
  readonly cork?: () => void
  readonly uncork?: () => void
}

/** Keeps so many sends under way, until it is stopped; refills once each turn of the event loop. */
export class Pump {
  readonly #options: PumpOptions
  #underWay = 0
  #scheduled = false
  #stopped = false

  constructor(options: PumpOptions) {
    this.#options = options
    this.#fill()
  }

  /** So many are done with. */
  settled(count: number): void {
    this.#underWay -= count
    if (this.#scheduled || this.#stopped) return
    this.#scheduled = true
    setImmediate(() => {
      this.#scheduled = false
      this.#fill()
    })
  }

  stop(): void {
    this.#stopped = true
  }

  #fill(): void {
    const { window, send, cork, uncork } = this.#options
    if (this.#stopped) return
    cork?.()
    while (this.#underWay < window) {
      this.#underWay++
      send()
    }
    uncork?.()
  }
}
