import { PartylineError } from '../../errors.ts'
import { bytesToIp, ipToBytes } from '../../network/ip-bytes.ts'
import type { HostPort } from '../../types.ts'
import type { MappedTransport } from './protocol.ts'

/** RFC 6887 sections 7, 11.1 and 14. */
const VERSION = 2
const HEADER = 24
const MAP = 36
const MAX_PACKET = 1100
const RESPONSE = 0x80
export const OPCODE = { announce: 0, map: 1 } as const
const PROTOCOL: Readonly<Record<MappedTransport, number>> = { udp: 17, tcp: 6 }
export const NONCE_SIZE = 12
/** Seconds, as large as they get. */
export const MAX_LIFETIME = 0xffff_ffff

/** Section 7.4, in words. */
const RESULTS: readonly string[] = [
  'success',
  'it speaks another version of PCP',
  'it does not allow that',
  'it takes the request for malformed',
  'it does not know this request',
  'it does not know an option',
  'it takes an option for malformed',
  'its own line is down',
  'it has no room for more',
  'it does not map this protocol',
  'this host has too many already',
  'it cannot give this port',
  'there is another NAT between',
  'too many remote peers',
]
export const UNSUPPORTED_VERSION = 1
export const ADDRESS_MISMATCH = 12

/** A MAP request (section 11.1). */
export interface PcpMapRequest {
  readonly nonce: Uint8Array
  readonly transport: MappedTransport
  /** Where it is sent from. */
  readonly client: string
  readonly internalPort: number
  /** Wished for; port 0 for any. */
  readonly external: HostPort
  /** In seconds; 0 gives the mapping back. */
  readonly lifetime: number
}

/** Any answer; the fields of a mapping where it is one for a MAP request. */
export interface PcpResponse {
  readonly opcode: number
  readonly result: number
  /** In seconds: of the mapping, or how long an error lasts. */
  readonly lifetime: number
  /** In seconds, since the router last forgot everything. */
  readonly epoch: number
  readonly mapping:
    | {
        readonly nonce: Buffer
        readonly transport: number
        readonly internalPort: number
        readonly external: HostPort
      }
    | undefined
}

export function encodePcpMap({ nonce, transport, client, internalPort, external, lifetime }: PcpMapRequest): Buffer {
  const packet = Buffer.alloc(HEADER + MAP)
  packet[0] = VERSION
  packet[1] = OPCODE.map
  packet.writeUInt32BE(lifetime, 4)
  packet.set(bytesOf(client), 8)
  packet.set(nonce, HEADER)
  packet[HEADER + 12] = PROTOCOL[transport]
  packet.writeUInt16BE(internalPort, HEADER + 16)
  packet.writeUInt16BE(external.port, HEADER + 18)
  packet.set(bytesOf(external.address), HEADER + 20)
  return packet
}

/**
 * Throws `peer.malformed`, whatever the bytes. A router that speaks other versions only says so in one of them, as NAT-PMP does, and where this
 * stands is the same in all (section 9).
 */
export function decodePcp(packet: Buffer): PcpResponse {
  const [version, second = 0, , refusal] = packet
  const isOther = version !== VERSION && (second & RESPONSE) !== 0 && refusal === UNSUPPORTED_VERSION
  if (isOther || (version === 0 && packet.length >= 4))
    return { opcode: OPCODE.map, result: UNSUPPORTED_VERSION, lifetime: 0, epoch: 0, mapping: undefined }
  const isWhole = packet.length >= HEADER && packet.length <= MAX_PACKET && packet.length % 4 === 0
  if (version !== VERSION || !isWhole || (second & RESPONSE) === 0)
    throw new PartylineError('peer.malformed', 'not an answer of PCP')
  const opcode = second & 0x7f
  const head = { opcode, result: packet[3] ?? 0, lifetime: packet.readUInt32BE(4), epoch: packet.readUInt32BE(8) }
  if (opcode !== OPCODE.map || packet.length < HEADER + MAP) return { ...head, mapping: undefined }
  return {
    ...head,
    mapping: {
      nonce: packet.subarray(HEADER, HEADER + NONCE_SIZE),
      transport: packet[HEADER + 12] ?? 0,
      internalPort: packet.readUInt16BE(HEADER + 16),
      external: {
        port: packet.readUInt16BE(HEADER + 18),
        address: bytesToIp(packet.subarray(HEADER + 20, HEADER + 36)),
      },
    },
  }
}

export const pcpProtocol = (transport: MappedTransport): number => PROTOCOL[transport]

/** What a router means by a result. */
export const pcpReason = (result: number): string => RESULTS[result] ?? `result ${result}`

const IPV4_IN_IPV6 = Buffer.from('00000000000000000000ffff', 'hex')

/** 16 bytes, IPv4 within IPv6 (section 5). */
function bytesOf(address: string): Buffer {
  const bytes = ipToBytes(address)
  return bytes.length === 4 ? Buffer.concat([IPV4_IN_IPV6, bytes]) : bytes
}
