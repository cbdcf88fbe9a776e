/** Numbers of channels (RFC 8656 section 12), from and to inclusive: what STUN, DTLS and RTP leave free (RFC 7983). */
export const FIRST_CHANNEL = 0x4000
export const LAST_CHANNEL = 0x4fff
/** What clients of RFC 5766 (section 11) use as well. */
export const LAST_OLD_CHANNEL = 0x7fff
const HEADER = 4

/** A datagram of a channel (RFC 8656 section 12.4). `data` is a view of the packet. */
interface ChannelData {
  readonly channel: number
  readonly data: Buffer
}

/** Writes a copy of `data`; padded to a multiple of 4, as streams need it and datagrams do not (section 12.5). */
export function encodeChannelData(channel: number, data: Uint8Array, padded: boolean): Buffer {
  const end = HEADER + data.length
  const packet = Buffer.allocUnsafe(padded ? end + (-end & 3) : end)
  packet.writeUInt16BE(channel, 0)
  packet.writeUInt16BE(data.length, 2)
  packet.set(data, HEADER)
  packet.fill(0, end)
  return packet
}

/** Undefined for what is no ChannelData message, or shorter than it says. Padding may be there. */
export function decodeChannelData(packet: Buffer, last: number = LAST_CHANNEL): ChannelData | undefined {
  if (packet.length < HEADER) return undefined
  const channel = packet.readUInt16BE(0)
  const end = HEADER + packet.readUInt16BE(2)
  if (channel < FIRST_CHANNEL || channel > last || end > packet.length) return undefined
  return { channel, data: packet.subarray(HEADER, end) }
}
