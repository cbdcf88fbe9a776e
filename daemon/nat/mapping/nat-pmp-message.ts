import type { MappedTransport } from './protocol.ts'

/** RFC 6886 sections 3.2 and 3.3. */
export const OPCODE = { address: 0, udp: 1, tcp: 2 } as const
const RESPONSE = 0x80
const ADDRESS_RESPONSE = 12
const MAPPING_RESPONSE = 16
const HEADER = 8

/** Section 3.5, in words. */
const RESULTS: readonly string[] = [
  'success',
  'it speaks another version',
  'it does not allow that',
  'its own line is down',
  'it has no room for more',
  'it does not know this request',
]

export interface NatPmpResponse {
  readonly opcode: number
  readonly result: number
  /** In seconds, since the router last forgot everything. */
  readonly epoch: number
  /** The router's IPv4 address on the internet side. */
  readonly address?: string
  /** Lifetime in seconds. */
  readonly mapping?: {
    readonly internalPort: number
    readonly externalPort: number
    readonly lifetime: number
  }
}

export const encodeAddressRequest = (): Buffer => Buffer.from([0, OPCODE.address])

/** `lifetime`: in seconds; 0, with external port 0, gives the mapping back (section 3.4). */
export function encodeMappingRequest(
  transport: MappedTransport,
  internalPort: number,
  externalPort: number,
  lifetime: number,
): Buffer {
  const packet = Buffer.alloc(12)
  packet[1] = OPCODE[transport]
  packet.writeUInt16BE(internalPort, 4)
  packet.writeUInt16BE(externalPort, 6)
  packet.writeUInt32BE(lifetime, 8)
  return packet
}

/** Undefined for what is no answer of NAT-PMP, whatever the bytes. */
export function decodeNatPmp(packet: Buffer): NatPmpResponse | undefined {
  const [version, second = 0] = packet
  if (version !== 0 || packet.length < HEADER || packet.length > MAPPING_RESPONSE || (second & RESPONSE) === 0)
    return undefined
  const opcode = second & 0x7f
  const head = { opcode, result: packet.readUInt16BE(2), epoch: packet.readUInt32BE(4) }
  if (head.result !== 0) return head
  if (opcode === OPCODE.address)
    return packet.length < ADDRESS_RESPONSE ? undefined : { ...head, address: packet.subarray(8, 12).join('.') }
  if (packet.length < MAPPING_RESPONSE || (opcode !== OPCODE.udp && opcode !== OPCODE.tcp)) return undefined
  return {
    ...head,
    mapping: {
      internalPort: packet.readUInt16BE(8),
      externalPort: packet.readUInt16BE(10),
      lifetime: packet.readUInt32BE(12),
    },
  }
}

/** What a router means by a result. */
export const natPmpReason = (result: number): string => RESULTS[result] ?? `result ${result}`
