import { decodeXorAddress } from '../../daemon/nat/stun/attributes.ts'
import { StunMessage } from '../../daemon/nat/stun/message.ts'
import { plainAddress } from '../../daemon/network/addresses.ts'
import { ipToBytes } from '../../daemon/network/ip-bytes.ts'

/** RFC 8489 section 5. */
const COOKIE = Buffer.from('2112a442', 'hex')
/** XOR-MAPPED-ADDRESS, XOR-PEER-ADDRESS, XOR-RELAYED-ADDRESS. */
const XORED = [0x0020, 0x0012, 0x0016]

/** The ways in which an address may stand in bytes that are not encrypted. */
function encodings(address: string): Buffer[] {
  const raw = ipToBytes(address)
  const hex = raw.toString('hex')
  const texts = [address, plainAddress(address), hex, hex.toUpperCase(), String(BigInt(`0x${hex}`))]
  if (raw.length === 16) texts.push(hex.replace(/(.{4})(?=.)/g, '$1:'), address.toUpperCase())
  // Wherever it begins in what is written as base64: the characters that depend on nothing else.
  const base64 = [0, 1, 2].map((offset) => {
    const text = Buffer.concat([Buffer.alloc(offset), raw])
      .toString('base64')
      .replace(/=+$/, '')
    return text.slice(offset === 0 ? 0 : offset + 1, text.length - 1)
  })
  const xored = Buffer.from(raw.map((byte, index) => (index < 4 ? byte ^ (COOKIE[index] ?? 0) : byte)))
  return [raw, Buffer.from(raw).reverse(), ...(raw.length === 4 ? [xored] : [xored.subarray(0, 4)])]
    .concat([...texts, ...base64].map((text) => Buffer.from(text)))
    .concat([Buffer.from(address, 'utf16le')])
}

/** Those of the addresses that stand somewhere in these bytes, in whatever encoding. */
export function addressesIn(bytes: Uint8Array, addresses: readonly string[]): string[] {
  const buffer = Buffer.from(bytes)
  const decoded = xoredAddresses(buffer)
  return addresses.filter(
    (address) => decoded.includes(plainAddress(address)) || encodings(address).some((one) => buffer.includes(one)),
  )
}

/** What a STUN message names by its XOR-ed attributes, which for IPv6 depend on its transaction. */
function xoredAddresses(packet: Buffer): string[] {
  try {
    const message = StunMessage.decode(packet)
    return XORED.flatMap((kind) => {
      const value = message.get(kind)
      return value ? [plainAddress(decodeXorAddress(value, message.transaction).address)] : []
    })
  } catch {
    return []
  }
}
