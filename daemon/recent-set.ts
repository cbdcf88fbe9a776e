/** A set that forgets what was added longest ago when it is full. */
export class RecentSet<T> implements Iterable<T> {
  readonly #limit: number
  readonly #items = new Set<T>()

  constructor(limit: number) {
    this.#limit = limit
  }

  [Symbol.iterator](): IterableIterator<T> {
    return this.#items.values()
  }

  has(item: T): boolean {
    return this.#items.has(item)
  }

  add(item: T): void {
    this.#items.delete(item)
    this.#items.add(item)
    if (this.#items.size <= this.#limit) return
    for (const oldest of this.#items) {
      this.#items.delete(oldest)
      return
    }
  }

  delete(item: T): void {
    this.#items.delete(item)
  }
}
