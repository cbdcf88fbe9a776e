import type { Socket } from 'node:net'
import { PartylineError } from '../daemon/errors.ts'

const EMPTY = Buffer.alloc(0)
/** Room for what is gathered, once more than one piece is, in bytes. */
const ROOM = 4096

/** What is written to a socket: everything of one turn of the event loop leaves in one write. */
export class Output {
  readonly #socket: Socket
  readonly #later: (flush: () => void) => void
  readonly #flush = (): void => this.flush()
  /** Of a connection in text, which has no bytes. */
  #text = ''
  #bytes: Buffer = EMPTY
  #used = 0
  /** What goes before `#bytes`. */
  #chunks: Buffer[] = []
  #chunkBytes = 0
  #scheduled = false
  #taken: PromiseWithResolvers<void> | undefined

  /** `later`: runs a task at the end of the turn. */
  constructor(socket: Socket, later: (flush: () => void) => void) {
    this.#socket = socket
    this.#later = later
  }

  /** Bytes (characters, in text) that the system has not taken yet. */
  get length(): number {
    return this.#socket.writableLength + this.#text.length + this.#used + this.#chunkBytes
  }

  /** Resolves when the system has taken all that was written so far; rejects with `local.closed`. */
  get taken(): Promise<void> {
    this.#taken ??= Promise.withResolvers<void>()
    return this.#taken.promise
  }

  /** Bytes are copied: they may change as soon as this returns. */
  write(piece: Uint8Array | string): void {
    if (typeof piece === 'string') this.#text += piece
    else this.#append(piece)
    this.#schedule()
  }

  /** For large bytes that never change: they are not copied. */
  writeWhole(bytes: Buffer): void {
    if (this.#used > 0) this.#chunks.push(this.#bytes.subarray(0, this.#used))
    this.#chunks.push(bytes)
    this.#chunkBytes += this.#used + bytes.length
    this.#bytes = EMPTY
    this.#used = 0
    this.#schedule()
  }

  /** Writes what was gathered now. */
  flush(): void {
    const [text, taken, chunks] = [this.#text, this.#taken, this.#chunks]
    if (this.#used > 0) chunks.push(this.#bytes.subarray(0, this.#used))
    this.#text = ''
    this.#bytes = EMPTY
    this.#used = 0
    if (chunks.length > 0) this.#chunks = []
    this.#chunkBytes = 0
    this.#taken = undefined
    this.#scheduled = false
    const socket = this.#socket
    if (socket.destroyed || !socket.writable) return taken?.reject(new PartylineError('local.closed'))
    const done =
      taken && ((error?: Error | null) => (error ? taken.reject(new PartylineError('local.closed')) : taken.resolve()))
    if (text !== '') chunks.push(Buffer.from(text, 'utf8'))
    const last = chunks.pop()
    if (!last) return taken?.resolve()
    if (chunks.length === 0) return void socket.write(last, done)
    socket.cork()
    for (const chunk of chunks) socket.write(chunk)
    socket.write(last, done)
    socket.uncork()
  }

  #schedule(): void {
    if (this.#scheduled) return
    this.#scheduled = true
    this.#later(this.#flush)
  }

  #append(bytes: Uint8Array): void {
    const needed = this.#used + bytes.length
    if (needed > this.#bytes.length) {
      // Most turns write one piece: it gets no more room than it needs.
      const larger = Buffer.allocUnsafe(this.#used === 0 ? needed : Math.max(needed * 2, ROOM))
      this.#bytes.copy(larger, 0, 0, this.#used)
      this.#bytes = larger
    }
    this.#bytes.set(bytes, this.#used)
    this.#used = needed
  }
}
