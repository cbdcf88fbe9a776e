/** Connectivity checks and their answers as bytes (RFC 8445 sections 7.1 and 7.3). */
import type { HostPort } from '../../types.ts'
import {
  decodeError,
  decodeXorAddress,
  encodeError,
  encodeUnknownAttributes,
  encodeXorAddress,
  type StunError,
} from '../stun/attributes.ts'
import { type StunMessage, StunWriter } from '../stun/message.ts'
import { ATTRIBUTE, METHOD } from '../stun/registry.ts'
import type { RoleName } from './role.ts'

/** Which nomination it is, 32 bits, counting from 1 (draft-thatcher-ice-renomination): lower ones than the highest seen are late. */
const NOMINATION = 0xc001
/** Bytes that mean nothing, ours: how large a packet is that a path carries. */
const PADDING = 0xc0d1
/** MESSAGE-INTEGRITY-SHA256 and FINGERPRINT. */
const FINISH = 36 + 8

/** What a check says. */
export interface Check {
  /** Of whom it is for, then of whom it is from. */
  readonly to: string
  readonly from: string
  /** Of the candidate that its address would be, were it new. */
  readonly priority: number
  readonly role: RoleName
  readonly tieBreaker: Buffer
  /** Present: its sender will use this pair. */
  readonly nomination: number | undefined
}

/** `size`: of the whole message, padded where it would be smaller. */
export function writeCheck(transaction: Buffer, check: Check, key: string, size = 0): Buffer {
  const { to, from, priority, role, tieBreaker, nomination } = check
  const writer = new StunWriter('request', METHOD.binding, transaction)
    .add(ATTRIBUTE.username, `${to}:${from}`)
    .add(ATTRIBUTE.priority, priority >>> 0)
    .add(role === 'controlling' ? ATTRIBUTE.iceControlling : ATTRIBUTE.iceControlled, tieBreaker)
  if (nomination !== undefined) writer.add(ATTRIBUTE.useCandidate).add(NOMINATION, nomination)
  const missing = size - writer.size - FINISH - 4
  if (missing >= 0) writer.add(PADDING, Buffer.alloc(missing))
  return writer.finish({ integrity: { sha256: Buffer.from(key) } })
}

/** User fragments of whom a check is for and of whom it is from; undefined where it names none. */
export function readUsername(message: StunMessage): { readonly to: string; readonly from: string } | undefined {
  const [to, from, ...more] = message.get(ATTRIBUTE.username)?.toString('latin1').split(':') ?? []
  return to && from && more.length === 0 ? { to, from } : undefined
}

/** Undefined for what is no check. */
export function readCheck(message: StunMessage): Check | undefined {
  const names = readUsername(message)
  const priority = message.get(ATTRIBUTE.priority)
  const controlling = message.get(ATTRIBUTE.iceControlling)
  const tieBreaker = controlling ?? message.get(ATTRIBUTE.iceControlled)
  const nomination = message.get(NOMINATION)
  if (!names || priority?.length !== 4 || tieBreaker?.length !== 8) return undefined
  return {
    ...names,
    priority: priority.readUInt32BE(),
    role: controlling ? 'controlling' : 'controlled',
    tieBreaker,
    nomination: message.has(ATTRIBUTE.useCandidate) && nomination?.length === 4 ? nomination.readUInt32BE() : undefined,
  }
}

export function writeAnswer(request: StunMessage, from: HostPort, key: string): Buffer {
  return new StunWriter('success', METHOD.binding, request.transaction)
    .add(ATTRIBUTE.xorMappedAddress, encodeXorAddress(from, request.transaction))
    .finish({ integrity: { sha256: Buffer.from(key) } })
}

export function writeRefusal(
  request: StunMessage,
  error: StunError,
  key: string,
  unknown: readonly number[] = [],
): Buffer {
  const writer = new StunWriter('error', METHOD.binding, request.transaction).add(
    ATTRIBUTE.errorCode,
    encodeError(error),
  )
  if (unknown.length > 0) writer.add(ATTRIBUTE.unknownAttributes, encodeUnknownAttributes(unknown))
  return writer.finish({ integrity: { sha256: Buffer.from(key) } })
}

/** How its receiver saw us, or the code of its refusal; undefined for what is neither. */
export function readAnswer(
  message: StunMessage,
): { readonly mapped: HostPort } | { readonly refused: number } | undefined {
  try {
    if (message.class === 'error') return { refused: decodeError(message.get(ATTRIBUTE.errorCode) ?? NOTHING).code }
    return { mapped: decodeXorAddress(message.get(ATTRIBUTE.xorMappedAddress) ?? NOTHING, message.transaction) }
  } catch {
    return undefined
  }
}

const NOTHING = Buffer.alloc(0)
