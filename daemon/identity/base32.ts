const ALPHABET = 'abcdefghijklmnopqrstuvwxyz234567'

/** Base32 (RFC 4648 section 6), lower case, without padding. */
export function encodeBase32(bytes: Uint8Array): string {
  let text = ''
  let buffer = 0
  let bits = 0
  for (const byte of bytes) {
    buffer = (buffer << 8) | byte
    bits += 8
    while (bits >= 5) {
      bits -= 5
      text += ALPHABET[(buffer >>> bits) & 31]
    }
    buffer &= (1 << bits) - 1
  }
  return bits > 0 ? text + ALPHABET[(buffer << (5 - bits)) & 31] : text
}

/** The bytes of a base32 text, or undefined where it is not the one canonical form (case, length, unused bits). */
export function decodeBase32(text: string): Uint8Array | undefined {
  const bytes = new Uint8Array(Math.floor((text.length * 5) / 8))
  let buffer = 0
  let bits = 0
  let at = 0
  for (const letter of text) {
    const value = ALPHABET.indexOf(letter)
    if (value < 0) return undefined
    buffer = (buffer << 5) | value
    bits += 5
    if (bits < 8) continue
    bits -= 8
    bytes[at++] = (buffer >>> bits) & 255
    buffer &= (1 << bits) - 1
  }
  // More than four unused bits, or bits that are not zero: another text would give the same bytes.
  return bits < 5 && buffer === 0 ? bytes : undefined
}
