/**
 * What the receiver's app asks of the sender's, and the answers, on the streams of an offer.
 *
 * A stream's meta is the request. The answer to `{"manifest":true}` is four bytes of length (big endian) and the manifest. The
 * answer to `{"from":i,"count":k,"offset":n}` is one section for each of the k files from number i on (folders do not count):
 * any number of BUSY bytes; CHANGED, and the next section; or FOLLOWS, the bytes of the file from the offset on, and a trailer,
 * which is CHANGED, or FOLLOWS and the SHA-256 of the whole file. A numeric offset holds for the first file, the others begin
 * at 0; the offset "end" holds for all, so that only the hashes are sent.
 */
import * as z from 'zod'
import { PartylineError } from '../../daemon/errors.ts'
import { MAX_ENTRIES } from './manifest.ts'

/** Bytes that stand before a file and before its hash. */
export const SECTION = { follows: 0, busy: 1, changed: 2 } as const
/** Length of a SHA-256, in bytes. */
export const HASH_LENGTH = 32

const index = z.number().int().nonnegative().max(MAX_ENTRIES)

const fetchRequest = z.union([
  z.strictObject({ manifest: z.literal(true) }),
  z.strictObject({
    from: index,
    count: index.min(1),
    offset: z.union([z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER), z.literal('end')]),
  }),
])

export type FetchRequest = z.output<typeof fetchRequest>
export type FilesRequest = Extract<FetchRequest, { from: number }>

export function encodeRequest(request: FetchRequest): string {
  return JSON.stringify(request)
}

/** Reads what the other app asks for. Throws `peer.malformed`. */
export function decodeRequest(meta: string): FetchRequest {
  try {
    return fetchRequest.parse(JSON.parse(meta))
  } catch (error) {
    throw new PartylineError('peer.malformed', 'the request for files is malformed', { cause: error })
  }
}
