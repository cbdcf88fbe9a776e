import type { PeerId } from '../types.ts'

/** Longest name of a host, in bytes of UTF-8: a DNS label (RFC 1035 section 2.3.4), as mDNS shows it. */
const MAX_NAME_BYTES = 63

/**
 * A name as it may be shown: without control, format (direction overrides among them), private-use and unassigned characters,
 * white space folded, at most 63 bytes of UTF-8, cut between characters. Empty where nothing is left.
 */
export function cleanName(text: string): string {
  const folded = text.replace(/\s+/gu, ' ').replace(/\p{C}/gu, '').trim()
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
