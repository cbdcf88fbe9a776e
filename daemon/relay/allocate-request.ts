import type { StunMessage } from '../nat/stun/message.ts'
import { ATTRIBUTE, ERROR } from '../nat/stun/registry.ts'

/** IANA's number of UDP. */
const UDP = 17
/** RFC 8656 section 18.6. */
const FAMILIES: Readonly<Record<number, 4 | 6>> = { 1: 4, 2: 6 }
/** The bit of EVEN-PORT that asks for the next port as well (RFC 8656 section 18.7). */
const RESERVE = 0x80

/** What kind of port is wanted; `pair`: an even one, and the next one for later. */
export type PortWish = 'any' | 'even' | 'pair'

/** What an Allocate asks for. */
export interface AllocateRequest {
  readonly families: readonly (4 | 6)[]
  readonly wish: PortWish
  /** A port that was reserved before. */
  readonly token?: Buffer
}

/** Reads an Allocate request (RFC 8656 section 7.2); a number is the error that answers it. */
export function readAllocate(message: StunMessage): AllocateRequest | number {
  const transport = message.get(ATTRIBUTE.requestedTransport)
  if (transport?.length !== 4) return ERROR.badRequest
  if (transport[0] !== UDP) return ERROR.unsupportedTransport
  const requested = message.get(ATTRIBUTE.requestedAddressFamily)
  const additional = message.get(ATTRIBUTE.additionalAddressFamily)
  const evenPort = message.get(ATTRIBUTE.evenPort)
  const token = message.get(ATTRIBUTE.reservationToken)
  if (token) return evenPort || requested || additional ? ERROR.badRequest : { families: [4], wish: 'any', token }
  if (requested && additional) return ERROR.badRequest
  const isPair = ((evenPort?.[0] ?? 0) & RESERVE) !== 0
  const wish = isPair ? 'pair' : evenPort ? 'even' : 'any'
  if (additional) return additional[0] === 2 && !isPair ? { families: [4, 6], wish } : ERROR.badRequest
  if (!requested) return { families: [4], wish }
  const family = FAMILIES[requested[0] ?? 0]
  return family ? { families: [family], wish } : ERROR.addressFamilyNotSupported
}
