import { type Identity, verifySignature } from '../identity/key.ts'
import type { PeerId } from '../types.ts'

/** Signed before the rest, so that a signature made here means nothing anywhere else. */
const DOMAIN = Buffer.from('partyline stream 1\0')
const SIGNATURE = 64

export type StreamRole = 'initiator' | 'responder'

/** Everything that tells one serverless stream from any other. */
export interface StreamFacts {
  /** The stream ids that the two sides chose at random. */
  readonly ids: Readonly<Record<StreamRole, string>>
  /** Their DNS-SD instances. */
  readonly instances: Readonly<Record<StreamRole, string>>
  readonly peers: Readonly<Record<StreamRole, PeerId>>
}

/** What one side signs; each part comes with its length, so that no two streams have the same. */
function signedBytes(facts: StreamFacts, signer: StreamRole): Buffer {
  const { ids, instances, peers } = facts
  const parts = [ids, instances, peers].flatMap((pair) => [pair.initiator, pair.responder])
  const sized = [signer, ...parts].flatMap((part) => {
    const bytes = Buffer.from(part)
    const length = Buffer.alloc(2)
    length.writeUInt16BE(bytes.length)
    return [length, bytes]
  })
  return Buffer.concat([DOMAIN, ...sized])
}

/** One side's proof of its key on this stream, in base64. Worth nothing on another stream, to another host, or for the other side. */
export function streamProof(facts: StreamFacts, signer: StreamRole, identity: Pick<Identity, 'sign'>): string {
  return Buffer.from(identity.sign(signedBytes(facts, signer))).toString('base64')
}

/** True where the signer's key made the proof. Never throws. */
export function isStreamProof(facts: StreamFacts, signer: StreamRole, proof: string): boolean {
  const signature = Buffer.from(proof, 'base64')
  return signature.length === SIGNATURE && verifySignature(facts.peers[signer], signedBytes(facts, signer), signature)
}
