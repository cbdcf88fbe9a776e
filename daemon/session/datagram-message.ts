import { MAX_LANE, MAX_NAME } from './session.ts'

/** Before the channel: lane 1, length of the channel's name 1, number in the lane 6. */
const HEAD = 8

/** An unreliable message, as the content of a datagram. */
interface DatagramMessage {
  readonly lane: number
  readonly number: number
  readonly channel: string
  readonly data: Uint8Array
}

export function encodeDatagram({ lane, number, channel, data }: DatagramMessage): Buffer {
  const name = Buffer.byteLength(channel)
  const bytes = Buffer.allocUnsafe(HEAD + name + data.length)
  bytes[0] = lane
  bytes[1] = name
  bytes.writeUIntBE(number, 2, 6)
  bytes.write(channel, HEAD)
  bytes.set(data, HEAD + name)
  return bytes
}

/** Undefined for bytes that are no message. The content is a copy: the packet that it lies in is large. */
export function decodeDatagram(bytes: Buffer): DatagramMessage | undefined {
  const [lane = 0, name = 0] = bytes
  if (bytes.length < HEAD + name || lane > MAX_LANE || name === 0 || name > MAX_NAME) return undefined
  return {
    lane,
    number: bytes.readUIntBE(2, 6),
    channel: bytes.toString('utf8', HEAD, HEAD + name),
    data: Buffer.from(bytes.subarray(HEAD + name)),
  }
}
