/** Handshakes that this host begins at one time: more would take so much of a processor that all of them end too late. */
const MAX_AT_ONCE = 16

/** Lets so many handshakes through at a time, in the order in which they came. */
export class Handshakes {
  readonly #limit: number
  readonly #waiting = new Set<() => void>()
  #running = 0

  constructor(limit = MAX_AT_ONCE) {
    this.#limit = limit
  }

  /** Resolves when one may begin, with what has to be called at its end; rejects once `signal` is aborted. */
  async enter(signal: AbortSignal): Promise<() => void> {
    signal.throwIfAborted()
    if (this.#running < this.#limit) this.#running++
    else await this.#turn(signal)
    let isInside = true
    return () => {
      if (!isInside) return
      isInside = false
      const [next] = this.#waiting
      if (next) next()
      else this.#running--
    }
  }

  #turn(signal: AbortSignal): Promise<void> {
    const { promise, resolve, reject } = Promise.withResolvers<void>()
    const leave = (): void => {
      this.#waiting.delete(begin)
      signal.removeEventListener('abort', give)
    }
    const begin = (): void => {
      leave()
      resolve()
    }
    const give = (): void => {
      leave()
      reject(signal.reason)
    }
    this.#waiting.add(begin)
    signal.addEventListener('abort', give)
    return promise
  }
}
