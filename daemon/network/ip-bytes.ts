import { isIP } from 'node:net'
import { plainAddress } from './addresses.ts'

/** The 4 or 16 bytes of an IP literal in network order; a zone is left out. Throws RangeError for what is no address. */
export function ipToBytes(address: string): Buffer {
  const plain = plainAddress(address)
  const family = isIP(plain)
  if (family === 4) return Buffer.from(plain.split('.').map(Number))
  if (family !== 6) throw new RangeError(`${address} is no IP address`)
  const [head = '', tail] = plain.split('::')
  const groups = (part: string): number[] => part.split(':').filter(Boolean).flatMap(groupBytes)
  const front = groups(head)
  const back = tail === undefined ? [] : groups(tail)
  return Buffer.from([...front, ...new Array(16 - front.length - back.length).fill(0), ...back])
}

/** One of eight groups, or the dotted end of an address that embeds IPv4. */
function groupBytes(group: string): number[] {
  if (group.includes('.')) return group.split('.').map(Number)
  const value = Number.parseInt(group, 16)
  return [value >> 8, value & 0xff]
}

/** The address in its canonical spelling (RFC 5952), IPv4 in IPv6 as IPv4. Throws RangeError unless there are 4 or 16 bytes. */
export function bytesToIp(bytes: Uint8Array): string {
  if (bytes.length === 4) return bytes.join('.')
  if (bytes.length !== 16) throw new RangeError(`an address of ${bytes.length} bytes`)
  const hex = Buffer.from(bytes).toString('hex')
  return plainAddress(hex.replace(/(.{4})(?=.)/g, '$1:'))
}
