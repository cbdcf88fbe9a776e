import { createHash, randomBytes } from 'node:crypto'
import type { Identity } from '../../daemon/identity/key.ts'
import { peerIdFromKey } from '../../daemon/identity/peer-id.ts'
import type { PeerId } from '../../daemon/types.ts'

/**
 * Keys for tests with very many hosts, where Ed25519 would take all the time. A signature is a hash over id and bytes: the tests' forgers
 * do not make such. Real signatures are tested with the packet.
 */
export function simulatedIdentity(): Pick<Identity, 'peer' | 'sign'> {
  const peer = peerIdFromKey(randomBytes(32))
  return { peer, sign: (bytes) => simulatedSignature(peer, bytes) }
}

export function verifySimulated(peer: PeerId, bytes: Uint8Array, signature: Uint8Array): boolean {
  return simulatedSignature(peer, bytes).equals(signature)
}

function simulatedSignature(peer: PeerId, bytes: Uint8Array): Buffer {
  return createHash('sha512').update(peer).update(bytes).digest()
}
