/**
 * The header of a UDX packet (version 1, all numbers little-endian): magic, version, kind, padding, each a byte; stream id of the receiver,
 * window, sequence number, acknowledgement, 32 bits each.
 */
const HEADER = 20
const MAGIC = 255
const VERSION = 1
const VERSION_AT = 1
const KIND_AT = 2
const STREAM_AT = 4
/** Bit of the kind: it tells of packets that came out of order. */
const SELECTIVE = 4

/** The stream that a packet is for; undefined for what is no UDX packet. */
export function streamOf(packet: Buffer): number | undefined {
  return packet.length >= HEADER && packet[VERSION_AT] === VERSION ? packet.readUInt32LE(STREAM_AT) : undefined
}

/** True for a whole packet of a stream. */
export function isWhole(packet: Buffer, stream: number): boolean {
  return packet[0] === MAGIC && streamOf(packet) === stream
}

/** True for a packet that says nothing but what came. */
export function isAcknowledgement(packet: Buffer): boolean {
  return packet[KIND_AT] === 0 || packet[KIND_AT] === SELECTIVE
}

/** Makes it a packet for another stream. */
export function readdress(packet: Buffer, stream: number): void {
  packet.writeUInt32LE(stream, STREAM_AT)
}
