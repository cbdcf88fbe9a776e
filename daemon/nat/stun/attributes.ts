import { createHash } from 'node:crypto'
import { PartylineError } from '../../errors.ts'
import { bytesToIp, ipToBytes } from '../../network/ip-bytes.ts'
import type { HostPort } from '../../types.ts'
import type { StunMessage } from './message.ts'
import { ATTRIBUTE, LAST_REQUIRED } from './registry.ts'

const MAGIC = Buffer.from([0x21, 0x12, 0xa4, 0x42])
const FAMILY = { 4: 1, 6: 2 } as const

/** MAPPED-ADDRESS and its like (RFC 8489 section 14.1). */
export function encodeAddress({ address, port }: HostPort): Buffer {
  const bytes = ipToBytes(address)
  const value = Buffer.alloc(4 + bytes.length)
  value[1] = bytes.length === 4 ? FAMILY[4] : FAMILY[6]
  value.writeUInt16BE(port, 2)
  value.set(bytes, 4)
  return value
}

/** Throws `peer.malformed`. */
export function decodeAddress(value: Buffer): HostPort {
  const isWhole = (value[1] === FAMILY[4] && value.length === 8) || (value[1] === FAMILY[6] && value.length === 20)
  if (!isWhole) throw new PartylineError('peer.malformed', 'not an address in a STUN message')
  return { address: bytesToIp(value.subarray(4)), port: value.readUInt16BE(2) }
}

/** XOR-MAPPED-ADDRESS and its like (RFC 8489 section 14.2): port and address XORed with cookie and transaction id. */
export function encodeXorAddress(to: HostPort, transaction: Uint8Array): Buffer {
  return masked(encodeAddress(to), transaction)
}

/** Throws `peer.malformed`. */
export function decodeXorAddress(value: Buffer, transaction: Uint8Array): HostPort {
  return decodeAddress(masked(value, transaction))
}

function masked(value: Buffer, transaction: Uint8Array): Buffer {
  const mask = Buffer.concat([MAGIC, transaction])
  const result = Buffer.from(value)
  for (let at = 2; at < 4 && at < result.length; at++) result[at] = (result[at] as number) ^ (MAGIC[at - 2] as number)
  for (let at = 4; at < result.length; at++) result[at] = (result[at] as number) ^ (mask[at - 4] as number)
  return result
}

/** ERROR-CODE (RFC 8489 section 14.8). */
export interface StunError {
  /** 300 to 699. */
  readonly code: number
  readonly reason: string
}

export function encodeError({ code, reason }: StunError): Buffer {
  const text = Buffer.from(reason)
  return Buffer.concat([Buffer.from([0, 0, Math.floor(code / 100), code % 100]), text])
}

/** Throws `peer.malformed`. */
export function decodeError(value: Buffer): StunError {
  const hundreds = (value[2] ?? 0) & 7
  const rest = value[3] ?? 100
  if (value.length < 4 || hundreds < 3 || hundreds > 6 || rest > 99)
    throw new PartylineError('peer.malformed', 'not an error code in a STUN message')
  return { code: hundreds * 100 + rest, reason: value.toString('utf8', 4, Math.min(value.length, 4 + 763)) }
}

export function encodeUnknownAttributes(types: readonly number[]): Buffer {
  const value = Buffer.alloc(types.length * 2)
  types.forEach((type, index) => void value.writeUInt16BE(type, index * 2))
  return value
}

export function decodeUnknownAttributes(value: Buffer): number[] {
  return Array.from({ length: value.length >> 1 }, (_, index) => value.readUInt16BE(index * 2))
}

/** Types of the attributes that have to be understood and are not among `known` (RFC 8489 section 6.3.1). */
export function unknownAttributes(message: StunMessage, known: ReadonlySet<number> = KNOWN): number[] {
  const types = message.attributes.map(({ type }) => type)
  return [...new Set(types.filter((type) => type <= LAST_REQUIRED && !known.has(type)))]
}

const KNOWN: ReadonlySet<number> = new Set(Object.values(ATTRIBUTE))

/** Key of a long-term credential (RFC 8489 section 18.5.1); realm and name are taken as they are (OpaqueString is for who types them). */
export function longTermKey(algorithm: 'md5' | 'sha256', username: string, realm: string, password: string): Buffer {
  return createHash(algorithm).update(`${username}:${realm}:${password}`).digest()
}

/** Value of USERHASH (RFC 8489 section 14.4). */
export function userhash(username: string, realm: string): Buffer {
  return createHash('sha256').update(`${username}:${realm}`).digest()
}
