/**
 * What stands inside a sealed packet: frames, each with its kind in the first byte. Numbers are big endian.
 *
 *     0 padding      to the end of the packet
 *     1 ping         id (4)                       answered by a pong of the same id
 *     2 pong         id (4)
 *     3 challenge    token (8)                    answered, to where it came from, by a response with the same token
 *     4 response     token (8)
 *     5 probe                                     answered by a probed with the size of the packet
 *     6 probed       size (2)
 *     7 report       see `Report`
 *     8 message      to the end of the packet
 *     9 fragment     message (6), its length (4), bytes in each fragment but the last (2), index (2), bytes to the end of the packet
 */
import type { PacketPool } from './packet-pool.ts'
import { HEADER, OVERHEAD, TAG } from './seal.ts'

export const FRAME = {
  padding: 0,
  ping: 1,
  pong: 2,
  challenge: 3,
  response: 4,
  probe: 5,
  probed: 6,
  report: 7,
  message: 8,
  fragment: 9,
} as const

const TOKEN = 8
/** Bytes of frames of a fixed size, by kind, the kind included. */
export const FRAME_SIZE: Readonly<Record<number, number>> = {
  [FRAME.ping]: 5,
  [FRAME.pong]: 5,
  [FRAME.challenge]: 1 + TOKEN,
  [FRAME.response]: 1 + TOKEN,
  [FRAME.probe]: 1,
  [FRAME.probed]: 3,
  [FRAME.report]: 34,
}
/** The smallest packet that holds a challenge. */
export const MIN_CHALLENGE = OVERHEAD + 1 + TOKEN
/** What a packet with a whole message holds beside it. */
export const MESSAGE_OVERHEAD = OVERHEAD + 1
/** What a packet with a fragment holds beside it. */
export const FRAGMENT_OVERHEAD = OVERHEAD + 15

/** What one end has received, and sent, since the path began. Packets that try something out (see `isAside`) are not in it. */
export interface Report {
  /** The end that reports has sent messages since its last report: it asks for one in return. */
  readonly asks: boolean
  /** Packets that the end that reports sent before this one. */
  readonly sent: number
  /** Highest number received; -1 for none. */
  readonly highest: number
  readonly received: number
  /** Those of them that came with a number above all before. */
  readonly ordered: number
  readonly bytes: number
  /** Largest packet received since the last report. */
  readonly largest: number
}

/** One piece of a message. */
export interface Fragment {
  /** Number of the message, from 0. */
  readonly message: number
  /** Bytes of the whole message. */
  readonly length: number
  /** Bytes in each fragment but the last. */
  readonly size: number
  readonly index: number
  readonly data: Buffer
}

/** True for a packet that tries out an address or a size, by its first frame: its loss says nothing of the path. */
export function isAside(kind: number | undefined): boolean {
  return kind === FRAME.challenge || kind === FRAME.response || kind === FRAME.probe
}

/** Writes packets, ready to be sealed in place. */
export class PacketWriter {
  readonly #pool: PacketPool

  constructor(pool: PacketPool) {
    this.#pool = pool
  }

  ping(id: number): Buffer {
    return this.#fourBytes(FRAME.ping, id)
  }

  pong(id: number): Buffer {
    return this.#fourBytes(FRAME.pong, id)
  }

  /** Padded to `size` bytes of UDP payload. */
  challenge(token: Buffer, size: number): Buffer {
    const packet = this.#begin(FRAME.challenge, size - OVERHEAD)
    token.copy(packet, HEADER + 1)
    return pad(packet, HEADER + 1 + TOKEN)
  }

  response(token: Buffer): Buffer {
    const packet = this.#begin(FRAME.response, 1 + TOKEN)
    token.copy(packet, HEADER + 1)
    return packet
  }

  /** `size` bytes of UDP payload. */
  probe(size: number): Buffer {
    const packet = this.#begin(FRAME.probe, size - OVERHEAD)
    return pad(packet, HEADER + 1)
  }

  probed(size: number): Buffer {
    const packet = this.#begin(FRAME.probed, 3)
    packet.writeUInt16BE(size, HEADER + 1)
    return packet
  }

  report(report: Report): Buffer {
    const packet = this.#begin(FRAME.report, 34)
    packet[HEADER + 1] = report.asks ? 1 : 0
    let at = HEADER + 2
    for (const value of [report.sent, report.highest + 1, report.received, report.ordered, report.bytes])
      at = packet.writeUIntBE(value % 2 ** 48, at, 6)
    packet.writeUInt16BE(report.largest, at)
    return packet
  }

  message(bytes: Uint8Array): Buffer {
    const packet = this.#begin(FRAME.message, 1 + bytes.length)
    packet.set(bytes, HEADER + 1)
    return packet
  }

  /** Piece `index` of a message cut into pieces of `size` bytes. */
  fragment(message: number, bytes: Uint8Array, size: number, index: number): Buffer {
    const from = index * size
    const to = Math.min(bytes.length, from + size)
    const packet = this.#begin(FRAME.fragment, FRAGMENT_OVERHEAD - OVERHEAD + to - from)
    packet.writeUIntBE(message, HEADER + 1, 6)
    packet.writeUInt32BE(bytes.length, HEADER + 7)
    packet.writeUInt16BE(size, HEADER + 11)
    packet.writeUInt16BE(index, HEADER + 13)
    packet.set(bytes.subarray(from, to), HEADER + 15)
    return packet
  }

  #fourBytes(kind: number, value: number): Buffer {
    const packet = this.#begin(kind, 5)
    packet.writeUInt32BE(value, HEADER + 1)
    return packet
  }

  #begin(kind: number, content: number): Buffer {
    const packet = this.#pool.take(OVERHEAD + content)
    packet[HEADER] = kind
    return packet
  }
}

/** The report at `at`, behind its kind. */
export function readReport(packet: Buffer, at: number): Report {
  return {
    asks: packet[at] === 1,
    sent: packet.readUIntBE(at + 1, 6),
    highest: packet.readUIntBE(at + 7, 6) - 1,
    received: packet.readUIntBE(at + 13, 6),
    ordered: packet.readUIntBE(at + 19, 6),
    bytes: packet.readUIntBE(at + 25, 6),
    largest: packet.readUInt16BE(at + 31),
  }
}

/** The fragment at `at`, behind its kind, that reaches to `end`; undefined where there is none. */
export function readFragment(packet: Buffer, at: number, end: number): Fragment | undefined {
  if (end - at < FRAGMENT_OVERHEAD - OVERHEAD) return undefined
  return {
    message: packet.readUIntBE(at, 6),
    length: packet.readUInt32BE(at + 6),
    size: packet.readUInt16BE(at + 10),
    index: packet.readUInt16BE(at + 12),
    data: packet.subarray(at + 14, end),
  }
}

/** Padding is zeros: frame kind 0, and nothing of what the memory held before. */
function pad(packet: Buffer, from: number): Buffer {
  return packet.fill(0, from, packet.length - TAG)
}
