/** Most events that wait for whoever reads them. */
const MAX_WAITING = 256

/** Events from work in the background to a loop that reads them; the work waits for a slow reader. */
export class EventQueue<T> {
  readonly #events: T[] = []
  #end: { error?: unknown } | undefined
  #reader: (() => void) | undefined
  #writers: (() => void)[] = []

  /** Resolves when there is room for more. */
  async push(event: T): Promise<void> {
    while (this.#events.length >= MAX_WAITING && !this.#end)
      await new Promise<void>((resolve) => this.#writers.push(resolve))
    if (this.#end) return
    this.#events.push(event)
    this.#reader?.()
  }

  /** Adds an event that may be left out when the reader is slow. */
  offer(event: T): void {
    if (this.#events.length < MAX_WAITING / 2) void this.push(event)
  }

  /** No more events; with an error, the reader gets it after the last one. */
  end(failure: { error?: unknown } = {}): void {
    this.#end ??= failure
    this.#reader?.()
    this.#release()
  }

  async *read(): AsyncGenerator<T, void, undefined> {
    for (;;) {
      const event = this.#events.shift()
      if (event !== undefined) {
        this.#release()
        yield event
        continue
      }
      if (this.#end) {
        if ('error' in this.#end) throw this.#end.error
        return
      }
      await new Promise<void>((resolve) => {
        this.#reader = resolve
      })
    }
  }

  #release(): void {
    const writers = this.#writers
    this.#writers = []
    for (const resolve of writers) resolve()
  }
}
