import * as z from 'zod'
import { PartylineError } from '../errors.ts'

/** The channel on which daemons tell each other of offers. */
export const FILES_CHANNEL = 'partyline.files'
/** Largest such message, in bytes of JSON. */
const MAX_FILES_MESSAGE = 4096
/** Longest name of an offer, in UTF-16 units, as `files.offer` takes it. */
const MAX_OFFER_NAME = 255

const offer = z.string().regex(/^[a-z0-9]{16,32}$/)
const count = z.number().int().nonnegative().max(Number.MAX_SAFE_INTEGER)

const filesMessage = z.discriminatedUnion('op', [
  z.object({
    op: z.literal('offer'),
    offer,
    name: z.string().min(1).max(MAX_OFFER_NAME),
    files: count,
    bytes: count,
  }),
  z.object({ op: z.literal('withdraw'), offer }),
  z.object({ op: z.literal('state'), offer, state: z.enum(['accepted', 'refused', 'done', 'failed']) }),
])

/** What one daemon tells another of an offer: the sender's `offer` and `withdraw`, the receiver's `state`. */
export type FilesMessage = z.output<typeof filesMessage>
export type AnnouncedOffer = Extract<FilesMessage, { op: 'offer' }>
/** What a receiver may say of an offer. */
export type ReceiverState = Extract<FilesMessage, { op: 'state' }>['state']

export function encodeFilesMessage(message: FilesMessage): Uint8Array {
  return Buffer.from(JSON.stringify(message))
}

/** Reads what a peer sent. Throws `peer.oversized` or `peer.malformed`; cleans the name for display. */
export function decodeFilesMessage(data: Uint8Array): FilesMessage {
  if (data.byteLength > MAX_FILES_MESSAGE) throw new PartylineError('peer.oversized')
  const parsed = filesMessage.safeParse(parseJson(data))
  if (!parsed.success) throw new PartylineError('peer.malformed')
  if (parsed.data.op !== 'offer') return parsed.data
  return { ...parsed.data, name: cleanOfferName(parsed.data.name) }
}

function parseJson(data: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data))
  } catch {
    return undefined
  }
}

/** A name that is safe to show: one line, no control, format or unassigned characters (direction overrides among them). */
export function cleanOfferName(name: string): string {
  const clean = name
    .toWellFormed()
    .replace(/\s+/gu, ' ')
    .replace(/\p{C}/gu, '')
    .trim()
    .slice(0, MAX_OFFER_NAME)
    .toWellFormed()
  return clean === '' ? 'unnamed' : clean
}
