import { createHash, timingSafeEqual } from 'node:crypto'
import { PartylineError } from '../errors.ts'
import { cleanName } from '../identity/host-name.ts'

/** Longest nickname, in characters. */
const MAX_NICKNAME = 32

const PIN = /^[0-9]{6,12}$/
const PIN_DIGITS = 6

/**
 * What a local part may not hold (RFC 7622 section 3.3.1), white space, and what nobody sees (RFC 8264 section 9.13), which would make two
 * addresses that look the same. A backslash stands only where XEP-0106 has it: others would be escaped, into somebody else's address.
 */
const FORBIDDEN = /["&'/:<>@\s\p{Default_Ignorable_Code_Point}]|\\(?!20|22|26|27|2f|3a|3c|3e|40|5c)/u
/** Letters, marks and digits of any script, and printable US-ASCII (RFC 8264 section 4.2, IdentifierClass). */
const ALLOWED = /^[\p{L}\p{M}\p{N}\x21-\x7e]+$/u

/** A person's address at a hub, and the name that others read. */
export interface Nickname {
  readonly local: string
  readonly name: string
}

/** A local part as addresses are compared (after RFC 8265 section 3.3, UsernameCaseMapped): compatible forms and cases are one. */
export function foldLocal(text: string): string {
  return text.normalize('NFKC').toLowerCase().normalize('NFKC')
}

/** The nickname somebody asks for: 1 to 32 characters once folded. Undefined where it is none. */
export function parseNickname(text: string): Nickname | undefined {
  const local = foldLocal(text)
  const length = [...local].length
  // A mark cannot stand first, and what folds further is no stable address.
  if (length < 1 || length > MAX_NICKNAME || /^\p{M}/u.test(local) || foldLocal(local) !== local) return undefined
  if (FORBIDDEN.test(local) || !ALLOWED.test(local)) return undefined
  return { local, name: cleanName(text) }
}

/** A random PIN of six digits. `randomInt` gives a number from 0 up to, not including, its argument, and cannot be foretold. */
export function randomPin(randomInt: (max: number) => number): string {
  return String(randomInt(10 ** PIN_DIGITS)).padStart(PIN_DIGITS, '0')
}

/** Gives the PIN back. Throws `usage.invalid-argument` unless it has 6 to 12 digits. */
export function checkPinForm(pin: string): string {
  if (!PIN.test(pin)) throw new PartylineError('usage.invalid-argument', 'a PIN has 6 to 12 digits')
  return pin
}

/** Compares in constant time, whatever the lengths. */
export function isPin(offered: string, pin: string): boolean {
  return timingSafeEqual(digest(offered), digest(pin))
}

function digest(text: string): Buffer {
  return createHash('sha256').update(text).digest()
}
