import type { Duplex } from 'node:stream'
import { decode, encode } from '@msgpack/msgpack'
import * as z from 'zod'
import { PartylineError } from '../errors.ts'

/** Longest greeting in bytes. */
export const MAX_GREETING = 1024

const instance = z.string().regex(/^[0-9a-f]{16}$/)
const number = z.number().int().min(0).max(Number.MAX_SAFE_INTEGER)
const sessionId = z.string().min(1).max(64)

/** The first words on a link that may become a session's, from both sides. */
const hello = z.object({
  kind: z.literal('session'),
  /** Random, new at each start of the daemon. */
  instance,
  name: z.string().max(256),
  /** The port it listens on. */
  port: z.number().int().min(0).max(65535),
  /** Key exchange group, which only the dialler's TLS library tells. */
  group: z.string().max(64),
  /** From the elector: the number this link's session would have. From the other: 0. */
  proposal: number,
  /** From the other: which instance of the elector it speaks of, the highest proposal it has heard, and those whose link is open. */
  of: z.union([instance, z.literal('')]),
  seen: number,
  /** Of those, the highest whose session it joined. */
  joined: number,
  open: z.array(number).max(64),
  /** The session with this peer that it holds and would go on with; empty for none. */
  holds: z.union([sessionId, z.literal('')]),
  /** It dials for that session to go on here, although the link it has may be alive: this one goes a better way. */
  moves: z.boolean(),
  /** A ticket of the other host that it holds: of which invitation, and the proof in base64. */
  invite: z.object({ id: z.string().max(16), proof: z.base64().max(64) }).optional(),
})

const greeting = z.discriminatedUnion('kind', [
  hello,
  /** The elector's choice, higher in number than any before; `resumed`: both hold this session, which goes on. */
  z.object({ kind: z.literal('select'), session: sessionId, resumed: z.boolean(), choice: number }),
  /** How many bytes of the session, or of the stream, have arrived here: the other side goes on behind them. */
  z.object({ kind: z.literal('resume'), received: number }),
  z.object({ kind: z.literal('reject'), code: z.string().max(64) }),
  /** This link carries one stream of a session; with `again` in the place of another, and is answered with `resume`. */
  z.object({
    kind: z.literal('stream'),
    session: sessionId,
    stream: z.string().min(1).max(64),
    again: z.object({ link: number, received: number }).optional(),
  }),
  /** Who lives here? Answered by the same. */
  z.object({ kind: z.literal('probe'), name: z.string().max(256), port: z.number().int().min(0).max(65535) }),
])

export type Greeting = z.output<typeof greeting>
export type Hello = z.output<typeof hello>
/** What the bearer of a ticket shows. */
export type HelloInvite = NonNullable<Hello['invite']>

/** u16 length, then a MessagePack map. */
export function encodeGreeting(value: Greeting): Buffer {
  const body = encode(value)
  const header = Buffer.alloc(2)
  header.writeUInt16BE(body.length)
  return Buffer.concat([header, body])
}

/**
 * The greeting at the start of these bytes and how many bytes it takes; undefined while it is not all there.
 * Throws `peer.oversized` or `peer.malformed`.
 */
export function decodeGreeting(bytes: Buffer): { greeting: Greeting; length: number } | undefined {
  if (bytes.length < 2) return undefined
  const length = bytes.readUInt16BE()
  if (length > MAX_GREETING) throw new PartylineError('peer.oversized', `a greeting of ${length} bytes`)
  if (bytes.length < 2 + length) return undefined
  try {
    const value = decode(bytes.subarray(2, 2 + length), {
      maxStrLength: 512,
      maxArrayLength: 64,
      maxMapLength: 16,
      maxBinLength: 0,
      maxExtLength: 0,
    })
    return { greeting: greeting.parse(value), length: 2 + length }
  } catch (error) {
    throw new PartylineError('peer.malformed', 'not a greeting', { cause: error })
  }
}

/** Reads the next greeting off a link; what follows it stays in the socket. Rejects as `decodeGreeting`, or with `network.lost`. */
export function readGreeting(socket: Duplex): Promise<Greeting> {
  return new Promise((resolve, reject) => {
    // Kept here until it is whole: a part put back into the socket would be announced as readable again, for ever.
    let received: Buffer = Buffer.alloc(0)
    const finish = (settle: () => void): void => {
      socket.off('readable', read)
      socket.off('end', lost)
      socket.off('close', lost)
      settle()
    }
    const lost = (): void => finish(() => reject(new PartylineError('network.lost', 'the link ended in its greeting')))
    const read = (): void => {
      const chunk: Buffer | null = socket.read()
      if (chunk === null) return
      received = received.length === 0 ? chunk : Buffer.concat([received, chunk])
      try {
        const decoded = decodeGreeting(received)
        if (!decoded) return
        const { greeting, length } = decoded
        finish(() => {
          if (length < received.length) socket.unshift(received.subarray(length))
          resolve(greeting)
        })
      } catch (error) {
        finish(() => reject(error))
      }
    }
    socket.on('readable', read)
    socket.on('end', lost)
    socket.on('close', lost)
    // A greeting that came right behind the one before is there already and may not be announced again.
    if (socket.readableLength > 0) read()
    else if (socket.readableEnded || socket.destroyed) lost()
  })
}
