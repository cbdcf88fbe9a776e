import type { Messages, Pipe } from './transport.ts'

const LENGTH = 4

/** Reads messages that carry their length in front, four bytes, big-endian. */
export class FrameReader {
  readonly #onMessage: (message: Uint8Array) => void
  #parts: Uint8Array[] = []
  #held = 0
  #needed = LENGTH

  constructor(onMessage: (message: Uint8Array) => void) {
    this.#onMessage = onMessage
  }

  take(chunk: Uint8Array): void {
    this.#parts.push(chunk)
    this.#held += chunk.length
    if (this.#held < this.#needed) return
    const bytes = this.#parts.length === 1 ? asBuffer(chunk) : Buffer.concat(this.#parts)
    let at = 0
    this.#needed = LENGTH
    while (bytes.length - at >= LENGTH) {
      const end = at + LENGTH + bytes.readUInt32BE(at)
      if (end > bytes.length) {
        this.#needed = end - at
        break
      }
      this.#onMessage(bytes.subarray(at + LENGTH, end))
      at = end
    }
    this.#parts = at === bytes.length ? [] : [bytes.subarray(at)]
    this.#held = bytes.length - at
  }
}

function asBuffer(bytes: Uint8Array): Buffer {
  return Buffer.isBuffer(bytes) ? bytes : Buffer.from(bytes.buffer, bytes.byteOffset, bytes.byteLength)
}

function frame(message: Uint8Array): Buffer {
  const framed = Buffer.allocUnsafe(LENGTH + message.length)
  framed.writeUInt32BE(message.length, 0)
  framed.set(message, LENGTH)
  return framed
}

/** Messages over a pipe whose other end runs `acknowledge`. */
export function messagesOver(pipe: Pipe): Messages {
  const messages: Messages = {
    onDelivered: () => {},
    send: pipe.keepsMessages ? (data) => void pipe.write(data) : (data) => void pipe.write(frame(data)),
    cork: () => pipe.cork(),
    uncork: () => pipe.uncork(),
  }
  const delivered = (word: Uint8Array): void => messages.onDelivered(asBuffer(word).readUInt32BE(0))
  const reader = new FrameReader(delivered)
  pipe.onData = pipe.keepsMessages ? delivered : (chunk) => reader.take(chunk)
  return messages
}

/** The other end: hands messages over, and says how many once each turn of the event loop. Returns what takes the pipe's data. */
export function acknowledge(pipe: Pipe, onMessage: () => void): (chunk: Uint8Array) => void {
  let unsaid = 0
  const say = (): void => {
    const word = Buffer.allocUnsafe(4)
    word.writeUInt32BE(unsaid, 0)
    unsaid = 0
    pipe.write(pipe.keepsMessages ? word : frame(word))
  }
  const took = (): void => {
    onMessage()
    if (unsaid++ === 0) setImmediate(say)
  }
  const reader = new FrameReader(took)
  return pipe.keepsMessages ? took : (chunk) => reader.take(chunk)
}
