import type { HostPort } from '../../../../daemon/types.ts'

/** A UDP datagram on its way through the simulated internet. */
export interface Packet {
  readonly source: HostPort
  readonly to: HostPort
  readonly payload: Buffer
}

export function familyOf(address: string): 4 | 6 {
  return address.includes(':') ? 6 : 4
}

/** Bytes on the wire, IP and UDP headers included. */
export function sizeOf({ to, payload }: Packet): number {
  return payload.length + (familyOf(to.address) === 4 ? 28 : 48)
}

/** To tell addresses apart by. */
export function keyOf({ address, port }: HostPort): string {
  return `${address} ${port}`
}
