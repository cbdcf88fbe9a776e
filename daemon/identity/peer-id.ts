import type { PeerId } from '../types.ts'
import { decodeBase32, encodeBase32 } from './base32.ts'

/** Length of a peer id in characters: 32 bytes in base32. */
const LENGTH = 52

/** The peer id of a raw Ed25519 public key (32 bytes). */
export function peerIdFromKey(key: Uint8Array): PeerId {
  if (key.length !== 32) throw new RangeError(`an Ed25519 public key has 32 bytes, not ${key.length}`)
  return encodeBase32(key) as PeerId
}

/** The raw Ed25519 public key (32 bytes) that a peer id is. */
export function keyFromPeerId(peer: PeerId): Uint8Array {
  const key = decodeBase32(peer)
  if (key?.length !== 32) throw new RangeError(`${peer} is no peer id`)
  return key
}

export function isPeerId(text: string): text is PeerId {
  return text.length === LENGTH && decodeBase32(text) !== undefined
}
