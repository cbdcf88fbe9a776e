import type { PeerId } from '../types.ts'

/** Longest name of a host, in bytes of UTF-8: a DNS label (RFC 1035 section 2.3.4), as mDNS shows it. */
const MAX_NAME_BYTES = 63

/** What a screen does not show, or shows as nothing, besides \p{C}: fillers, joiners, variation selectors, the blank Braille cell. */
const INVISIBLE = /[\p{C}\p{Default_Ignorable_Code_Point}\u2800]/gu

/**
 * A name as it may be shown, in Unicode's composed form: without control, format (direction overrides among them), invisible,
 * private-use and unassigned characters, on one line, white space folded, at most 63 bytes of UTF-8, cut between characters.
 * Empty where nothing is left. Cleaning a clean name changes nothing.
 */
export function cleanName(text: string): string {
  const folded = text.replace(/\s/gu, ' ').replace(INVISIBLE, '').normalize('NFC').replace(/ +/g, ' ').trim()
  let cut = ''
  let bytes = 0
  for (const character of folded) {
    bytes += Buffer.byteLength(character)
    if (bytes > MAX_NAME_BYTES) break
    cut += character
  }
  return cut.trim()
}

/** A readable name from the machine's: `anna-laptop.local` is `anna-laptop`; a machine without one gets `host-` and four characters of its id. */
export function defaultName(machine: string, peer: PeerId): string {
  const name = cleanName(machine.split('.')[0] ?? '')
  return name === '' || name.toLowerCase() === 'localhost' ? `host-${peer.slice(0, 4)}` : name
}
