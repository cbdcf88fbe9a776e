import { decode, encode } from '@msgpack/msgpack'
import * as z from 'zod'
import { PartylineError } from '../errors.ts'
import { isPeerId } from '../identity/peer-id.ts'
import { MAX_SEALED } from '../signaling/envelope.ts'
import type { PeerId } from '../types.ts'
import { TOKEN_SIZE } from './pair-token.ts'

/** Pairs that one host may name to a friend. */
export const MAX_WISHES = 256
/** Longest message in bytes. */
const MAX_FRIEND_MESSAGE = 16 * 1024

const token = z
  .string()
  .regex(/^[0-9a-f]+$/)
  .length(2 * TOKEN_SIZE)
const tokens = z.array(token).max(MAX_WISHES)
const sealed = z.custom<Uint8Array>((value) => value instanceof Uint8Array && value.length <= MAX_SEALED, 'no signal')

const friendMessage = z.discriminatedUnion('kind', [
  /** All pairs that the sender would be reached in, or wants to reach somebody in; `ask`: it has heard none of the receiver. */
  z.object({ kind: z.literal('wishes'), tokens, ask: z.boolean() }),
  /** Those of them whose other host is reached here now, and wishes the same. */
  z.object({ kind: z.literal('reaches'), tokens }),
  /** A signal for the other host of a pair. */
  z.object({ kind: z.literal('carry'), token, sealed }),
  /** A signal that somebody gave for the receiver. */
  z.object({ kind: z.literal('carried'), sealed }),
  /** Somebody whom the sender vouches for, and who gets the same word of the receiver. */
  z.object({
    kind: z.literal('introduce'),
    peer: z.string().refine((id): id is PeerId => isPeerId(id), 'no peer id'),
    name: z.string().max(256),
  }),
])

/** What trusted hosts tell each other about third ones, in their session. */
export type FriendMessage = z.output<typeof friendMessage>

export function encodeFriendMessage(message: FriendMessage): Uint8Array {
  return encode(message)
}

/** Throws `peer.oversized` or `peer.malformed`. */
export function decodeFriendMessage(bytes: Uint8Array): FriendMessage {
  if (bytes.length > MAX_FRIEND_MESSAGE)
    throw new PartylineError('peer.oversized', `${bytes.length} bytes from a friend`)
  try {
    const value = decode(bytes, {
      maxStrLength: 1024,
      maxArrayLength: MAX_WISHES,
      maxMapLength: 8,
      maxBinLength: MAX_SEALED,
      maxExtLength: 0,
    })
    return friendMessage.parse(value)
  } catch (error) {
    throw new PartylineError('peer.malformed', 'no message of a friend', { cause: error })
  }
}
