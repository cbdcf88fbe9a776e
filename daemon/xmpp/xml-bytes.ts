/** What single bytes of UTF-8 mean in XML 1.0. */

const TAB = 0x09
const LF = 0x0a
const CR = 0x0d
export const SPACE = 0x20
export const BANG = 0x21
export const DOUBLE_QUOTE = 0x22
export const HASH = 0x23
export const AMPERSAND = 0x26
export const QUOTE = 0x27
export const SLASH = 0x2f
export const SEMICOLON = 0x3b
export const LESS = 0x3c
export const EQUALS = 0x3d
export const GREATER = 0x3e
export const QUESTION = 0x3f

export const isSpace = (byte: number): boolean => byte === SPACE || byte === LF || byte === TAB || byte === CR

const tableOf = (pattern: RegExp): Uint8Array =>
  Uint8Array.from({ length: 256 }, (_, byte) => Number(byte >= 0x80 || pattern.test(String.fromCharCode(byte))))

const STARTS = tableOf(/[A-Za-z_]/)
const CONTINUES = tableOf(/[A-Za-z0-9_.:-]/)

/** Bytes that a name begins with, and that follow. Of letters that are not ASCII all are taken: no name that means anything has one. */
export const startsName = (byte: number): boolean => STARTS[byte] === 1
export const continuesName = (byte: number): boolean => CONTINUES[byte] === 1

/** A name, or two with a colon between them. */
export function isQualifiedName(name: string): boolean {
  const colon = name.indexOf(':')
  if (colon < 0) return true
  const local = name.slice(colon + 1)
  return local !== '' && startsName(local.charCodeAt(0)) && !local.includes(':')
}

const PREDEFINED = new Set(['amp', 'lt', 'gt', 'apos', 'quot'])
const REFERENCE = /^#(?:([0-9]+)|x([0-9A-Fa-f]+))$/

/** What a reference between `&` and `;` is: fine, to a character that XML has not, to an entity that streams have not, or none at all. */
export function referenceKind(reference: string): 'legal' | 'illegal' | 'entity' | 'malformed' {
  if (PREDEFINED.has(reference)) return 'legal'
  const [, decimal, hexadecimal] = REFERENCE.exec(reference) ?? []
  if (decimal !== undefined || hexadecimal !== undefined) {
    const code = decimal === undefined ? Number.parseInt(hexadecimal ?? '', 16) : Number.parseInt(decimal, 10)
    return isCharacter(code) ? 'legal' : 'illegal'
  }
  return reference !== '' && startsName(reference.charCodeAt(0)) ? 'entity' : 'malformed'
}

/** XML 1.0 section 2.2. */
function isCharacter(code: number): boolean {
  if (code < SPACE) return isSpace(code)
  return code <= 0xd7ff || (code >= 0xe000 && code <= 0xfffd) || (code >= 0x10000 && code <= 0x10ffff)
}
