import type { Duplex } from 'node:stream'
import { PartylineError, toPartylineError } from '../../daemon/errors.ts'
import type { Milliseconds } from '../../daemon/types.ts'

/** Reads a stream piece by piece; whatever ends it early is `peer.reset`, silence for too long `network.timeout`. */
export class StreamReader {
  readonly #stream: Duplex
  readonly #chunks: AsyncIterator<Buffer>
  readonly #stall: Milliseconds
  #rest: Buffer = Buffer.alloc(0)

  /** Reading fails as soon as `signal` aborts. */
  constructor(stream: Duplex, stall: Milliseconds, signal: AbortSignal) {
    this.#stream = stream
    stream.on('error', () => {})
    const give = (): void => void stream.destroy(toPartylineError(signal.reason))
    signal.addEventListener('abort', give, { once: true })
    stream.once('close', () => signal.removeEventListener('abort', give))
    if (signal.aborted) give()
    this.#chunks = stream[Symbol.asyncIterator]()
    this.#stall = stall
  }

  /** The next bytes, at least one and at most `most`. */
  async some(most: number): Promise<Buffer> {
    while (this.#rest.length === 0) {
      const chunk = await this.#next()
      if (!chunk) throw new PartylineError('peer.reset')
      this.#rest = chunk
    }
    const piece = this.#rest.subarray(0, most)
    this.#rest = this.#rest.subarray(piece.length)
    return piece
  }

  async exactly(length: number): Promise<Buffer> {
    const pieces: Buffer[] = []
    for (let missing = length; missing > 0; ) {
      const piece = await this.some(missing)
      pieces.push(piece)
      missing -= piece.length
    }
    return Buffer.concat(pieces)
  }

  /** Ends the stream in good order: everything asked for has been read. */
  async finish(): Promise<void> {
    this.#stream.end()
    if (this.#rest.length === 0) await this.#next().catch(() => {})
    this.#stream.destroy()
  }

  destroy(): void {
    this.#stream.destroy()
  }

  async #next(): Promise<Buffer | undefined> {
    const silent = new PartylineError('network.timeout', 'the sender went silent')
    const timer = setTimeout(() => this.#stream.destroy(silent), this.#stall)
    try {
      const { done, value } = await this.#chunks.next()
      return done ? undefined : value
    } catch (error) {
      throw error instanceof PartylineError ? error : new PartylineError('peer.reset', undefined, { cause: error })
    } finally {
      clearTimeout(timer)
    }
  }
}
