import { encodeError, encodeUnknownAttributes } from '../nat/stun/attributes.ts'
import { type IntegrityAlgorithm, type StunMessage, StunWriter } from '../nat/stun/message.ts'
import { ATTRIBUTE, ERROR } from '../nat/stun/registry.ts'
import { VERSION } from '../version.ts'
import { OFFERED_ALGORITHMS } from './authenticator.ts'

const SOFTWARE = `partyline ${VERSION}`

/** What the codes mean, for people who watch (RFC 8489 section 14.8, RFC 8656 section 19). */
const REASONS: Readonly<Record<number, string>> = {
  [ERROR.badRequest]: 'Bad Request',
  [ERROR.unauthenticated]: 'Unauthenticated',
  [ERROR.forbidden]: 'Forbidden',
  [ERROR.unknownAttribute]: 'Unknown Attribute',
  [ERROR.allocationMismatch]: 'Allocation Mismatch',
  [ERROR.staleNonce]: 'Stale Nonce',
  [ERROR.addressFamilyNotSupported]: 'Address Family not Supported',
  [ERROR.wrongCredentials]: 'Wrong Credentials',
  [ERROR.unsupportedTransport]: 'Unsupported Transport Protocol',
  [ERROR.peerAddressFamilyMismatch]: 'Peer Address Family Mismatch',
  [ERROR.allocationQuotaReached]: 'Allocation Quota Reached',
  [ERROR.insufficientCapacity]: 'Insufficient Capacity',
}

/** The protection of a request, which its answer has too. */
export type Integrity = Readonly<Partial<Record<IntegrityAlgorithm, Buffer>>>

/** Begins the answer to a request whose sender is proven. */
export function successTo(message: StunMessage): StunWriter {
  return new StunWriter('success', message.method, message.transaction)
}

/** Ends an answer to somebody who is proven. */
export function finish(writer: StunWriter, integrity: Integrity): Buffer {
  return writer.add(ATTRIBUTE.software, SOFTWARE).finish({ integrity })
}

/** An error for somebody who is proven. */
export function refusal(message: StunMessage, code: number, integrity: Integrity, unknown?: readonly number[]): Buffer {
  const writer = new StunWriter('error', message.method, message.transaction)
  writer.add(ATTRIBUTE.errorCode, encodeError({ code, reason: REASONS[code] ?? '' }))
  if (unknown) writer.add(ATTRIBUTE.unknownAttributes, encodeUnknownAttributes(unknown))
  return finish(writer, integrity)
}

/** An error for somebody who may be anybody: as small as can be, since it may go to somebody who has asked for nothing. */
export function challenge(message: StunMessage, code: number, realm: string, nonce: string): Buffer {
  const writer = new StunWriter('error', message.method, message.transaction)
  writer.add(ATTRIBUTE.errorCode, encodeError({ code, reason: '' }))
  if (code !== ERROR.badRequest) {
    writer.add(ATTRIBUTE.realm, realm).add(ATTRIBUTE.nonce, nonce)
    writer.add(ATTRIBUTE.passwordAlgorithms, OFFERED_ALGORITHMS)
  }
  return writer.finish({ fingerprint: message.has(ATTRIBUTE.fingerprint) })
}
