import { isWhole } from './udx-packet.ts'

/**
 * A piece of a UDX packet: magic (255), a version that UDX does not know, which piece (0, 1), number of the packet (8 bits), then as in UDX the
 * stream id of the receiver (32 bits, little-endian), and the bytes.
 */
const MAGIC = 255
const VERSION = 0x70
const HEADER = 8
const NUMBERS = 256
/** Packets of which one piece is here; the oldest is dropped for the next. */
const MAX_WAITING = 64

/**
 * Splits packets that are too large for the path, and joins them at the other end. UDX sends again what got lost as it was, and what fitted the
 * path before would never arrive on a narrower one. That is rare: new packets are made to fit.
 */
export class UdxPieces {
  readonly #stream: number
  readonly #waiting = new Map<number, readonly [index: number, bytes: Buffer]>()
  #number = 0

  constructor(stream: number) {
    this.#stream = stream
  }

  /** The two pieces of a packet. */
  split(packet: Buffer): readonly Buffer[] {
    const middle = Math.ceil(packet.length / 2)
    const number = this.#number
    this.#number = (number + 1) % NUMBERS
    return [packet.subarray(0, middle), packet.subarray(middle)].map((bytes, index) => {
      const header = Buffer.of(MAGIC, VERSION, index, number, 0, 0, 0, 0)
      header.writeUInt32LE(this.#stream, 4)
      return Buffer.concat([header, bytes])
    })
  }

  /** Takes a piece; returns the packet where it is the second. */
  join(piece: Buffer): Buffer | undefined {
    const [, , index = 0, number = 0] = piece
    const bytes = piece.subarray(HEADER)
    const other = this.#waiting.get(number)
    if (other && other[0] !== index) {
      this.#waiting.delete(number)
      const packet = Buffer.concat(index === 0 ? [bytes, other[1]] : [other[1], bytes])
      return isWhole(packet, this.#stream) ? packet : undefined
    }
    this.#waiting.delete(number)
    this.#waiting.set(number, [index, Buffer.from(bytes)])
    const [oldest] = this.#waiting.keys()
    if (this.#waiting.size > MAX_WAITING && oldest !== undefined) this.#waiting.delete(oldest)
    return undefined
  }
}

/** The stream that a piece is for; undefined for what is none. */
export function streamOfPiece(packet: Buffer): number | undefined {
  const isPiece = packet.length > HEADER && packet[0] === MAGIC && packet[1] === VERSION && (packet[2] ?? 0) < 2
  return isPiece ? packet.readUInt32LE(4) : undefined
}
