import { encodePcpMap, pcpProtocol } from '../../../daemon/nat/mapping/pcp-message.ts'
import type { MappedTransport } from '../../../daemon/nat/mapping/protocol.ts'
import type { HostPort } from '../../../daemon/types.ts'

interface PcpAnswer {
  readonly nonce: Uint8Array
  readonly transport?: MappedTransport
  readonly internalPort: number
  readonly external: HostPort
  readonly lifetime: number
  readonly epoch: number
  readonly result?: number
}

/** What a router answers to a MAP request (RFC 6887 sections 7.2 and 11.1). */
export function pcpAnswer({ transport = 'udp', epoch, result = 0, ...granted }: PcpAnswer): Buffer {
  const packet = encodePcpMap({ ...granted, transport, client: '::' })
  packet[1] = 0x81
  packet[3] = result
  packet.writeUInt32BE(epoch, 8)
  packet[36] = pcpProtocol(transport)
  return packet
}

/** What a router says to everybody when it has started (RFC 6887 section 14.1). */
export function pcpAnnouncement(epoch: number): Buffer {
  const packet = Buffer.alloc(24)
  packet.set([2, 0x80])
  packet.writeUInt32BE(epoch, 8)
  return packet
}

/** What a NAT-PMP router answers when it is asked for its address, and says to everybody when that has changed (RFC 6886 section 3.2). */
export function natPmpAddress(address: string, epoch: number, result = 0): Buffer {
  const packet = Buffer.alloc(12)
  packet[1] = 0x80
  packet.writeUInt16BE(result, 2)
  packet.writeUInt32BE(epoch, 4)
  packet.set(address.split('.').map(Number), 8)
  return packet
}

interface NatPmpMapping {
  readonly transport: MappedTransport
  readonly internalPort: number
  readonly externalPort: number
  readonly lifetime: number
  readonly epoch: number
  readonly result?: number
}

/** What a NAT-PMP router answers when it is asked for a mapping (RFC 6886 section 3.3). */
export function natPmpMapping({ transport, result = 0, ...mapping }: NatPmpMapping): Buffer {
  const packet = Buffer.alloc(16)
  packet[1] = transport === 'udp' ? 0x81 : 0x82
  packet.writeUInt16BE(result, 2)
  packet.writeUInt32BE(mapping.epoch, 4)
  packet.writeUInt16BE(mapping.internalPort, 8)
  packet.writeUInt16BE(mapping.externalPort, 10)
  packet.writeUInt32BE(mapping.lifetime, 12)
  return packet
}
