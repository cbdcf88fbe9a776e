/** Items for one reader that iterates: bounded, the oldest are left out when it reads too slowly. */
export class BoundedQueue<T> implements AsyncIterableIterator<T> {
  readonly #limit: number
  readonly #items: T[] = []
  readonly #waiting: ((result: IteratorResult<T>) => void)[] = []
  readonly #onReturn: () => void
  #done = false

  constructor(limit: number, onReturn: () => void) {
    this.#limit = limit
    this.#onReturn = onReturn
  }

  push(item: T): void {
    if (this.#done) return
    const reader = this.#waiting.shift()
    if (reader) return reader({ value: item, done: false })
    this.#items.push(item)
    if (this.#items.length > this.#limit) this.#items.shift()
  }

  end(): void {
    this.#done = true
    for (const reader of this.#waiting.splice(0)) reader({ value: undefined, done: true })
  }

  next(): Promise<IteratorResult<T>> {
    const item = this.#items.shift()
    if (item !== undefined) return Promise.resolve({ value: item, done: false })
    if (this.#done) return Promise.resolve({ value: undefined, done: true })
    return new Promise((resolve) => this.#waiting.push(resolve))
  }

  return(): Promise<IteratorResult<T>> {
    this.end()
    this.#items.length = 0
    this.#onReturn()
    return Promise.resolve({ value: undefined, done: true })
  }

  [Symbol.asyncIterator](): this {
    return this
  }
}
