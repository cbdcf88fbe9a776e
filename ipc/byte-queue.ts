/** Bytes waiting to be read: appended at the end, consumed at the front, copied a bounded number of times however they come in. */
export class ByteQueue {
  #buffer: Buffer = Buffer.alloc(0)
  #start = 0
  #end = 0

  get length(): number {
    return this.#end - this.#start
  }

  /** A view of what is waiting; valid until the next `append`. */
  get bytes(): Buffer {
    return this.#buffer.subarray(this.#start, this.#end)
  }

  append(chunk: Buffer): void {
    if (this.length === 0) {
      this.#buffer = chunk
      this.#start = 0
      this.#end = chunk.length
      return
    }
    const needed = this.length + chunk.length
    if (this.#end + chunk.length > this.#buffer.length) {
      const larger = Buffer.allocUnsafe(Math.max(needed * 2, 4096))
      this.#buffer.copy(larger, 0, this.#start, this.#end)
      this.#end = this.length
      this.#start = 0
      this.#buffer = larger
    }
    chunk.copy(this.#buffer, this.#end)
    this.#end += chunk.length
  }

  consume(count: number): void {
    this.#start += count
  }
}
