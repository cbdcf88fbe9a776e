import { createHash } from 'node:crypto'
import type { PeerId } from '../types.ts'
import { keyFromPeerId } from './peer-id.ts'
import { WORDS } from './wordlist.ts'

/** Eight words of 256: 64 bits, out of reach for somebody who searches for a key with the same words while people compare them. */
const COUNT = 8

function wordsOf(domain: string, ...parts: readonly Uint8Array[]): string[] {
  const hash = createHash('sha256').update(`partyline ${domain}\0`)
  for (const part of parts) hash.update(part)
  return [...hash.digest().subarray(0, COUNT)].map((byte) => WORDS[byte] ?? '')
}

/** A host's fingerprint: the words that stand for its key. */
export function fingerprintWords(peer: PeerId): string[] {
  return wordsOf('fingerprint', keyFromPeerId(peer))
}

/** Words for a pair of hosts: the same ones on both screens, whichever of the two asks. */
export function verificationWords(a: PeerId, b: PeerId): string[] {
  const [low, high] = [keyFromPeerId(a), keyFromPeerId(b)].sort(Buffer.compare)
  return low && high ? wordsOf('verification', low, high) : []
}
