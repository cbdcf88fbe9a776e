import { PartylineError } from '../../errors.ts'
import { LAST_CHANNEL } from './channel-data.ts'

/** Bytes that tell how long what follows is, of STUN messages and of ChannelData alike. */
const PREFIX = 4
const STUN_HEADER = 20

/**
 * Largest message that is taken from a stream: no datagram of ours is larger than 2 KiB, and whoever relays larger ones is told off before
 * they take memory.
 */
export const MAX_STREAM_MESSAGE = 4096

/** Cuts what comes over TCP or TLS into STUN messages and ChannelData (RFC 8656 section 12.5). Keeps at most one message that is not whole. */
export class StreamFramer {
  readonly #message: (packet: Buffer) => void
  readonly #lastChannel: number
  #rest: Buffer = Buffer.alloc(0)

  /** `message`: takes each message, ChannelData with its padding; a view of the chunk that brought it. */
  constructor(message: (packet: Buffer) => void, lastChannel: number = LAST_CHANNEL) {
    this.#message = message
    this.#lastChannel = lastChannel
  }

  /** Throws `peer.malformed` or `peer.oversized`; the stream is of no use after that. */
  push(chunk: Buffer): void {
    let bytes = this.#rest.length === 0 ? chunk : Buffer.concat([this.#rest, chunk])
    const next = (): number | undefined => sizeOf(bytes, this.#lastChannel)
    for (let size = next(); size !== undefined && size <= bytes.length; size = next()) {
      const packet = bytes.subarray(0, size)
      bytes = bytes.subarray(size)
      this.#rest = bytes
      this.#message(packet)
    }
    // A copy, so that a few bytes do not keep the whole chunk.
    this.#rest = Buffer.from(bytes)
  }
}

/** Bytes of the message that begins here, padding included; undefined while that is not known. */
function sizeOf(bytes: Buffer, lastChannel: number): number | undefined {
  if (bytes.length < PREFIX) return undefined
  // It would be ChannelData of an absurd size, and says best itself what answers there: a proxy, most often.
  if (bytes.toString('latin1', 0, PREFIX) === 'HTTP')
    throw new PartylineError('peer.malformed', 'a web server or a proxy answers there, no TURN server')
  const first = bytes[0] as number
  const length = bytes.readUInt16BE(2)
  const isStun = first < 0x04
  if (!isStun && (first < 0x40 || first > lastChannel >> 8))
    throw new PartylineError('peer.malformed', 'the server sent something that is neither STUN nor ChannelData')
  if (isStun && length % 4 !== 0)
    throw new PartylineError('peer.malformed', 'the server sent a STUN message of a length that none has')
  const size = isStun ? STUN_HEADER + length : PREFIX + length + (-length & 3)
  if (size > MAX_STREAM_MESSAGE)
    throw new PartylineError(
      'peer.oversized',
      `the server sent a message of ${size} bytes, more than ${MAX_STREAM_MESSAGE}`,
    )
  return size
}
