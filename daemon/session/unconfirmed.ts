import { PartylineError } from '../errors.ts'

/** Bytes that were written to a link and that the peer has not confirmed: what a new link begins with. Offsets count from the first byte ever. */
export class UnconfirmedBytes {
  readonly #chunks: Buffer[] = []
  /** Index of the first chunk that is still held. */
  #head = 0
  #start = 0
  #end = 0

  /** Bytes held. */
  get size(): number {
    return this.#end - this.#start
  }

  /** Bytes written so far. */
  get end(): number {
    return this.#end
  }

  /** Bytes confirmed so far. */
  get start(): number {
    return this.#start
  }

  /** Keeps what was written; the buffer must not change any more. */
  push(chunk: Buffer): void {
    this.#chunks.push(chunk)
    this.#end += chunk.length
  }

  /** The peer has everything up to `offset`. Older words are ignored. Throws `peer.malformed` for what was never sent. */
  confirm(offset: number): void {
    if (offset > this.#end) throw new PartylineError('peer.malformed', 'a confirmation of bytes that were never sent')
    while (this.#start < offset) {
      const first = this.#chunks[this.#head]
      if (!first) break
      const left = offset - this.#start
      if (left < first.length) {
        this.#chunks[this.#head] = first.subarray(left)
        this.#start = offset
        break
      }
      this.#start += first.length
      // The slot must not keep the chunk alive until the array is cut.
      this.#chunks[this.#head++] = EMPTY
    }
    if (this.#head > 64 && this.#head * 2 > this.#chunks.length) {
      this.#chunks.splice(0, this.#head)
      this.#head = 0
    }
  }

  /** What the peer lacks that has everything up to `offset`. Throws `peer.malformed` when that is not held any more, or was never sent. */
  after(offset: number): readonly Buffer[] {
    if (offset < this.#start) throw new PartylineError('peer.malformed', 'the peer has forgotten what it confirmed')
    this.confirm(offset)
    return this.#chunks.slice(this.#head)
  }
}

const EMPTY = Buffer.alloc(0)
