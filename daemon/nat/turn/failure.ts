import { cleanReason } from '../../clean-text.ts'
import type { HostPort, Milliseconds } from '../../types.ts'
import { decodeAddress } from '../stun/attributes.ts'
import type { StunMessage } from '../stun/message.ts'
import { ATTRIBUTE, ERROR } from '../stun/registry.ts'
import { isRelayable } from './peer-address.ts'
import type { Outcome } from './requests.ts'

const SECOND: Milliseconds = 1000
const MINUTE = 60 * SECOND

/** Why there is no allocation, or none any more. */
export interface TurnFailure {
  /** For people: what failed and why. */
  readonly reason: string
  /** How long the server is to be left alone; 0: it may be asked at once, and longer each time it fails again. */
  readonly rest: Milliseconds
  /** 300: the server that is to be asked instead, and its name where the certificate is to be for another. */
  readonly alternate?: HostPort & { readonly name?: string }
}

/** What the answers to Allocate mean, and how long such a thing lasts (RFC 8656 section 7.4). */
const MEANINGS: Readonly<Record<number, { readonly reason: string; readonly rest: Milliseconds }>> = {
  [ERROR.badRequest]: { reason: 'the server finds our request malformed', rest: 10 * MINUTE },
  [ERROR.forbidden]: { reason: 'the server forbids us to use it', rest: 10 * MINUTE },
  [ERROR.unknownAttribute]: { reason: 'the server is too old: it does not understand our request', rest: 10 * MINUTE },
  [ERROR.allocationMismatch]: {
    reason: 'the server still keeps a relay of an earlier run for this port; it ends within ten minutes',
    rest: MINUTE,
  },
  [ERROR.addressFamilyNotSupported]: { reason: 'the server relays neither IPv4 nor IPv6', rest: 10 * MINUTE },
  [ERROR.wrongCredentials]: {
    reason: 'the server still keeps a relay of another user for this port; it ends within ten minutes',
    rest: MINUTE,
  },
  [ERROR.unsupportedTransport]: { reason: 'the server does not relay UDP', rest: 10 * MINUTE },
  [ERROR.allocationQuotaReached]: { reason: 'this user has as many relays on the server as are allowed', rest: MINUTE },
  [ERROR.serverError]: { reason: 'the server has a fault of its own', rest: 10 * SECOND },
  [ERROR.insufficientCapacity]: { reason: 'the server has no room for another relay now', rest: MINUTE },
}

/** `doing`: what was asked for, `reserve a relay` say. */
export function failureOf(outcome: Exclude<Outcome, { kind: 'success' | 'challenged' }>, doing: string): TurnFailure {
  if (outcome.kind === 'silent') return { reason: `the server does not answer (tried to ${doing})`, rest: 0 }
  if (outcome.kind === 'refused') return { reason: outcome.reason, rest: 10 * MINUTE }
  const { error, message } = outcome
  if (error.code === ERROR.tryAlternate) return redirected(message)
  const meaning = MEANINGS[error.code]
  const said = cleanReason(error.reason)
  return {
    reason: `${meaning?.reason ?? 'the server refused'} (${error.code}${said === '' ? '' : ` ${said}`})`,
    rest: meaning?.rest ?? MINUTE,
  }
}

/** RFC 8489 section 10. */
function redirected(message: StunMessage): TurnFailure {
  const to = readAlternate(message)
  if (!to) return { reason: 'the server sends us to another one without a usable address', rest: 10 * MINUTE }
  const name = message.get(ATTRIBUTE.alternateDomain)?.toString('latin1').replace(/\.$/, '')
  const isName = name !== undefined && /^[a-z0-9_.-]{1,253}$/i.test(name)
  return { reason: 'the server sends us to another one', rest: 10 * MINUTE, alternate: isName ? { ...to, name } : to }
}

function readAlternate(message: StunMessage): HostPort | undefined {
  try {
    const to = decodeAddress(message.get(ATTRIBUTE.alternateServer) ?? Buffer.alloc(0))
    return to.port > 0 && isRelayable(to.address) ? to : undefined
  } catch {
    return undefined
  }
}
