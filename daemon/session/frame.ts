import { decode, encode } from '@msgpack/msgpack'
import * as z from 'zod'
import { PartylineError } from '../errors.ts'
import { MAX_NAME, MAX_STREAM_META } from './session.ts'

/** Header of every frame: type u8, flags u8, lane u8, zero u8, length of the payload u32 (big endian). */
export const HEADER = 8
/** Largest payload of a frame, in bytes. */
export const MAX_PAYLOAD = 64 * 1024

/** `confirm` tells how many bytes have arrived in all; `mark` asks to be told. */
export const FRAME = { message: 1, acknowledge: 2, ping: 3, pong: 4, control: 5, confirm: 6, mark: 7 } as const
/** Flags of a message's frame: its first piece, its last, to be acknowledged. Of a mark: its sender waits for the answer. */
export const FLAG = { first: 1, last: 2, reliable: 4, waits: 1 } as const

const streamId = z.string().min(1).max(32)
const code = z.string().max(64)
const bytes = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)

const control = z.discriminatedUnion('kind', [
  z.object({
    kind: z.literal('open'),
    stream: streamId,
    service: z.string().min(1).max(MAX_NAME),
    meta: z.string().max(MAX_STREAM_META),
  }),
  z.object({ kind: z.literal('accept'), stream: streamId }),
  z.object({ kind: z.literal('refuse'), stream: streamId, code }),
  /** The writer is done: so many bytes in all. */
  z.object({ kind: z.literal('fin'), stream: streamId, bytes }),
  /** So many bytes have arrived: the writer need not keep them. */
  z.object({ kind: z.literal('have'), stream: streamId, bytes }),
  /** The stream's link of this number broke; whoever dials is asked for another. */
  z.object({ kind: z.literal('relink'), stream: streamId, link: z.number().int().min(1).max(0xffff_ffff) }),
  /** The reader has all of them. */
  z.object({ kind: z.literal('got'), stream: streamId }),
  z.object({ kind: z.literal('reset'), stream: streamId, code }),
  /** Where sealed datagrams of this link may be sent: the receiver's connection id, in hexadecimal, and its UDP port. */
  z.object({
    kind: z.literal('datagram'),
    cid: z.string().regex(/^[0-9a-f]{16}$/),
    port: z.number().int().min(1).max(65535),
  }),
  /** Another link is dialled beside this one, on the carrier's stream of this id. */
  z.object({ kind: z.literal('link'), stream: z.number().int().min(1).max(0xffff_ffff) }),
  z.object({ kind: z.literal('close'), code, message: z.string().max(256) }),
])

/** What sessions tell each other beside messages. */
export type Control = z.output<typeof control>

export function encodeControl(value: Control): Uint8Array {
  return encode(value)
}

/** Throws `peer.malformed`. */
export function decodeControl(bytes: Uint8Array): Control {
  try {
    const limits = { maxStrLength: 4096, maxArrayLength: 0, maxMapLength: 8, maxBinLength: 0, maxExtLength: 0 }
    return control.parse(decode(bytes, limits))
  } catch (error) {
    throw new PartylineError('peer.malformed', 'not a control frame', { cause: error })
  }
}

/** One frame off the wire; `payload` is a view of the bytes received. */
export interface Frame {
  readonly type: number
  readonly flags: number
  readonly lane: number
  readonly payload: Buffer
}

/** Cuts a byte stream into frames, however it is chunked. */
export class FrameReader {
  /** A frame of which only `#held` bytes came; it has room for its header or, once that is known, for all of it. */
  #begun: Buffer = Buffer.alloc(0)
  #held = 0

  /** Calls `take` for each whole frame. Throws `peer.oversized` or `peer.malformed`. */
  push(chunk: Buffer, take: (frame: Frame) => void): void {
    let at = 0
    while (this.#held > 0) {
      const copied = chunk.copy(this.#begun, this.#held, at)
      this.#held += copied
      at += copied
      if (this.#held < this.#begun.length) return
      const begun = this.#begun
      const size = frameSize(begun, 0)
      this.#held = 0
      if (begun.length < size) this.#begin(begun)
      else take(frameAt(begun, 0, size))
    }
    while (chunk.length - at >= HEADER) {
      const size = frameSize(chunk, at)
      if (chunk.length - at < size) break
      take(frameAt(chunk, at, size))
      at += size
    }
    if (at < chunk.length) this.#begin(chunk.subarray(at))
  }

  #begin(bytes: Buffer): void {
    this.#begun = Buffer.allocUnsafe(bytes.length < HEADER ? HEADER : frameSize(bytes, 0))
    this.#held = bytes.copy(this.#begun)
  }
}

/** Size of the frame whose header is at `at`, header included. */
function frameSize(bytes: Buffer, at: number): number {
  const length = bytes.readUInt32BE(at + 4)
  if (length > MAX_PAYLOAD) throw new PartylineError('peer.oversized', `a frame of ${length} bytes`)
  if (bytes[at + 3] !== 0) throw new PartylineError('peer.malformed', 'a frame with an unknown header')
  return HEADER + length
}

function frameAt(bytes: Buffer, at: number, size: number): Frame {
  const payload = bytes.subarray(at + HEADER, at + size)
  return { type: bytes[at] ?? 0, flags: bytes[at + 1] ?? 0, lane: bytes[at + 2] ?? 0, payload }
}

/** Batches below this size get a buffer of their own: what is kept until the peer confirms it must not keep a large one alive. */
const SMALL = 4096

/** Gathers frames into one buffer, so that everything queued in a moment leaves in one write. One writer serves all sessions, in turn. */
export class FrameWriter {
  #buffer = Buffer.allocUnsafeSlow(MAX_PAYLOAD * 2)
  /** Where in the buffer lies what was gathered since the last `take`. */
  #start = 0
  #end = 0

  get length(): number {
    return this.#end - this.#start
  }

  /** Begins a frame; returns where in `buffer` its payload of `length` bytes goes. */
  frame(type: number, flags: number, lane: number, length: number): number {
    this.#reserve(HEADER + length)
    const buffer = this.#buffer
    const start = this.#end
    this.#end += HEADER + length
    buffer[start] = type
    buffer[start + 1] = flags
    buffer[start + 2] = lane
    buffer[start + 3] = 0
    buffer.writeUInt32BE(length, start + 4)
    return start + HEADER
  }

  /** The buffer of the frame begun last; another frame may move it. */
  get buffer(): Buffer {
    return this.#buffer
  }

  /** What was gathered, never written again; the writer is empty then. */
  take(): Buffer {
    const gathered = this.#buffer.subarray(this.#start, this.#end)
    if (gathered.length < SMALL) {
      this.#end = this.#start
      return Buffer.from(gathered)
    }
    this.#start = this.#end
    return gathered
  }

  #reserve(more: number): void {
    if (this.#end + more <= this.#buffer.length) return
    const { length } = this
    const larger = Buffer.allocUnsafeSlow(Math.max(MAX_PAYLOAD * 2, (length + more) * 2))
    this.#buffer.copy(larger, 0, this.#start, this.#end)
    this.#buffer = larger
    this.#start = 0
    this.#end = length
  }
}
