/** Some fifty full packets. */
const SLAB = 64 * 1024

/**
 * Cuts packets from larger blocks, because a block for each packet costs more than sealing it. A packet belongs to whoever took it and is
 * never handed out again; its block is freed with the last packet in it. All paths of a daemon share one pool.
 */
export class PacketPool {
  #slab = Buffer.alloc(0)
  #at = 0

  /** Room of `length` bytes that hold anything. */
  take(length: number): Buffer {
    if (this.#at + length > this.#slab.length) {
      this.#slab = Buffer.allocUnsafeSlow(Math.max(SLAB, length))
      this.#at = 0
    }
    const packet = this.#slab.subarray(this.#at, this.#at + length)
    this.#at += length
    return packet
  }
}
