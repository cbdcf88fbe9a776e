import { decode, encode } from '@msgpack/msgpack'
import * as z from 'zod'
import { PartylineError } from '../errors.ts'
import { MAX_ACCOUNTS, MAX_ADDRESSES, ways } from '../peers/ways.ts'
import { PROOF_SIZE } from './proof.ts'

/** The topic of the signals. */
export const JOIN_TOPIC = 'join'

const id = z.string().regex(/^[a-z2-7]{13}$/)
const name = z.string().max(256)

const message = z.discriminatedUnion('kind', [
  /** From who holds a ticket, again and again until it is answered. */
  z.object({
    kind: z.literal('join'),
    id,
    proof: z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length === PROOF_SIZE),
    name,
    ways,
  }),
  z.object({ kind: z.literal('accepted'), id, name, ways }),
  z.object({ kind: z.literal('refused'), id, code: z.string().max(64) }),
])

/** What joiner and inviter tell each other. */
export type JoinMessage = z.output<typeof message>
export type JoinRequest = Extract<JoinMessage, { kind: 'join' }>
export type JoinAnswer = Exclude<JoinMessage, JoinRequest>

export function encodeJoin(value: JoinMessage): Uint8Array {
  return encode(value)
}

/** Throws `peer.malformed`. */
export function decodeJoin(bytes: Uint8Array): JoinMessage {
  const limits = {
    maxStrLength: 1024,
    maxArrayLength: Math.max(MAX_ACCOUNTS, MAX_ADDRESSES),
    maxMapLength: 8,
    maxBinLength: PROOF_SIZE,
    maxExtLength: 0,
  }
  try {
    return message.parse(decode(bytes, limits))
  } catch (error) {
    throw new PartylineError('peer.malformed', 'no message about joining', { cause: error })
  }
}
