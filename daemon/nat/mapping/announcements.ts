import { createSocket, type Socket } from 'node:dgram'
import type { Logger } from '../../logger.ts'
import { decodeNatPmp, OPCODE as NAT_PMP } from './nat-pmp-message.ts'
import { decodePcp, OPCODE as PCP } from './pcp-message.ts'

/** Where routers tell everybody that they have started, or have another address (RFC 6886 section 3.2.1, RFC 6887 section 14.1). */
const PORT = 5350
const GROUPS = { udp4: '224.0.0.1', udp6: 'ff02::1' } as const

/** What a router says to everybody. Anybody on the network could have said it: no more than a reason to ask. */
export interface Announcement {
  /** In seconds, since the router last forgot everything. */
  readonly epoch: number
  /** Its IPv4 address on the internet side, where it says so. */
  readonly address?: string
}

/** Undefined for what is none, whatever the bytes. */
export function readAnnouncement(packet: Buffer): Announcement | undefined {
  const natPmp = decodeNatPmp(packet)
  if (natPmp) {
    const { opcode, epoch, address } = natPmp
    return opcode === NAT_PMP.address && address !== undefined ? { epoch, address } : undefined
  }
  try {
    const { opcode, result, epoch } = decodePcp(packet)
    return opcode === PCP.announce && result === 0 ? { epoch } : undefined
  } catch {
    return undefined
  }
}

/** Calls `heard` with what comes to the groups of routers, and who sent it; returns the way to stop that. */
export function listenForAnnouncements(
  logger: Logger,
  heard: (announcement: Announcement, from: string) => void,
): () => void {
  const sockets = new Set<Socket>()
  for (const type of ['udp4', 'udp6'] as const) {
    const socket = createSocket({ type, reuseAddr: true, ipv6Only: type === 'udp6' })
    sockets.add(socket)
    socket.on('error', (error) => {
      logger.debug('routers are not heard', { group: GROUPS[type], error: error.message })
      if (sockets.delete(socket)) socket.close()
    })
    socket.on('message', (packet, { address }) => {
      const announcement = readAnnouncement(packet)
      if (announcement) heard(announcement, address)
    })
    // Every host is in both groups on all its interfaces, and need not join them.
    socket.bind(PORT)
    socket.unref()
  }
  return () => {
    for (const socket of sockets) socket.close()
    sockets.clear()
  }
}
