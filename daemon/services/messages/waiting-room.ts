/** Messages that wait for apps to accept their senders, of all apps: how many, and their bytes. */
const MAX_MESSAGES = 1024
const MAX_BYTES = 16 * 1024 * 1024

/** Room for messages that wait until an app accepts their sender; one for all apps. */
export class WaitingRoom {
  #messages = 0
  #bytes = 0

  /** False where there is no room. */
  enter(size: number): boolean {
    if (this.#messages >= MAX_MESSAGES || this.#bytes + size > MAX_BYTES) return false
    this.#messages++
    this.#bytes += size
    return true
  }

  leave(size: number): void {
    this.#messages--
    this.#bytes -= size
  }
}
