import { createHash } from 'node:crypto'
import type { PeerId } from '../types.ts'

const DOMAIN = 'partyline pair 1\0'
/** Bytes of a token. */
export const TOKEN_SIZE = 16

/**
 * What two hosts are called together, the same whoever asks: 16 bytes in hexadecimal. A friend of one that gets it from the other too learns
 * that they look for each other; of a host that it does not know it learns nothing.
 */
export function pairToken(a: PeerId, b: PeerId): string {
  const [first, second] = a < b ? [a, b] : [b, a]
  return createHash('sha256')
    .update(`${DOMAIN}${first}${second}`)
    .digest('hex')
    .slice(0, 2 * TOKEN_SIZE)
}
