import type { HostPort, Milliseconds } from '../../types.ts'
import { decodeXorAddress } from '../stun/attributes.ts'
import type { StunMessage } from '../stun/message.ts'
import { ATTRIBUTE } from '../stun/registry.ts'
import { familyOf, isRelayable } from './peer-address.ts'

/** Where the answer tells of no lifetime (RFC 8656 section 3.2), and what is believed of one: nobody is to make us refresh without end. */
const DEFAULT_LIFETIME: Milliseconds = 600_000
const MIN_LIFETIME: Milliseconds = 20_000
const MAX_LIFETIME: Milliseconds = 3_600_000
/** A larger one would not fit into requests. */
const MAX_TICKET = 512

/** What a server reserved (RFC 8656 section 7.3). */
interface Allocated {
  /** At most one address of each family; those that nobody can reach are left out. */
  readonly relayed: readonly HostPort[]
  readonly mapped: HostPort | undefined
}

export function readAllocated(message: StunMessage): Allocated {
  const all = message.all(ATTRIBUTE.xorRelayedAddress).map((value) => readAddress(value, message))
  const relayed = ([4, 6] as const).flatMap((family) => {
    const found = all.find((one) => one && familyOf(one.address) === family)
    return found ? [found] : []
  })
  const mapped = message.get(ATTRIBUTE.xorMappedAddress)
  return { relayed, mapped: mapped && readAddress(mapped, message) }
}

function readAddress(value: Buffer, message: StunMessage): HostPort | undefined {
  try {
    const read = decodeXorAddress(value, message.transaction)
    return isRelayable(read.address) && read.port > 0 ? read : undefined
  } catch {
    return undefined
  }
}

/** How long the server keeps it. */
export function readLifetime(message: StunMessage): Milliseconds {
  const value = message.get(ATTRIBUTE.lifetime)
  const told = value?.length === 4 ? value.readUInt32BE() * 1000 : DEFAULT_LIFETIME
  return Math.min(Math.max(told, MIN_LIFETIME), MAX_LIFETIME)
}

/** MOBILITY-TICKET (RFC 8016 section 3.1). */
export function readTicket(message: StunMessage): Buffer | undefined {
  const value = message.get(ATTRIBUTE.mobilityTicket)
  return value && value.length > 0 && value.length <= MAX_TICKET ? Buffer.from(value) : undefined
}
