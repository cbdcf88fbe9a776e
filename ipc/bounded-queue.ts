/** Items for one reader that iterates: bounded; when it reads too slowly the oldest are left out, and it is told so in their place. */
export class BoundedQueue<T> implements AsyncIterableIterator<T> {
  readonly #limit: number
  readonly #items: T[] = []
  readonly #waiting: ((result: IteratorResult<T>) => void)[] = []
  readonly #tellLost: (count: number, last: T) => T
  readonly #onReturn: () => void
  #lost: { count: number; last: T } | undefined
  #done = false

  /** `tellLost` makes the item that stands for those left out. */
  constructor(limit: number, tellLost: (count: number, last: T) => T, onReturn: () => void) {
    this.#limit = limit
    this.#tellLost = tellLost
    this.#onReturn = onReturn
  }

  push(item: T): void {
    if (this.#done) return
    const reader = this.#waiting.shift()
    if (reader) return reader({ value: item, done: false })
    this.#items.push(item)
    if (this.#items.length <= this.#limit) return
    const last = this.#items.shift()
    if (last !== undefined) this.#lost = { count: (this.#lost?.count ?? 0) + 1, last }
  }

  /** Ends the iteration, after what is there. */
  end(): void {
    this.#done = true
    for (const reader of this.#waiting.splice(0)) reader({ value: undefined, done: true })
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#take()
    if (item !== undefined) return Promise.resolve({ value: item, done: false })
    if (this.#done) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  return(): Promise<IteratorResult<T>> {
    this.end()
    this.#items.length = 0
    this.#lost = undefined
    this.#onReturn()
    return Promise.resolve({ value: undefined, done: true })
  }

  [Symbol.asyncIterator](): this {
    return this
  }

  #take(): T | undefined {
    const lost = this.#lost
    if (!lost) return this.#items.shift()
    this.#lost = undefined
    return this.#tellLost(lost.count, lost.last)
  }
}
