import type { Pipe } from './transport.ts'

/** What `node:stream` and `streamx` have in common. */
export interface DuplexLike {
  write(chunk: Uint8Array): boolean
  on(event: string, listener: (chunk: Uint8Array) => void): unknown
  cork?(): void
  uncork?(): void
  destroy(): unknown
}

const CHUNK = 256 * 1024

/** A pipe over a stream. What comes before the benchmark listens waits in the stream. */
export class StreamPipe implements Pipe {
  readonly chunk: number
  readonly keepsMessages: boolean
  onDrain: () => void = () => {}
  readonly #stream: DuplexLike
  #onData: ((chunk: Uint8Array) => void) | undefined

  constructor(stream: DuplexLike, { chunk = CHUNK, keepsMessages = false } = {}) {
    this.#stream = stream
    this.chunk = chunk
    this.keepsMessages = keepsMessages
    stream.on('error', () => stream.destroy())
    stream.on('drain', () => this.onDrain())
  }

  get onData(): (chunk: Uint8Array) => void {
    return this.#onData ?? (() => {})
  }

  set onData(listener: (chunk: Uint8Array) => void) {
    const first = this.#onData === undefined
    this.#onData = listener
    if (first) this.#stream.on('data', (chunk) => this.#onData?.(chunk))
  }

  write(chunk: Uint8Array): boolean {
    return this.#stream.write(chunk)
  }

  cork(): void {
    this.#stream.cork?.()
  }

  uncork(): void {
    this.#stream.uncork?.()
  }
}
