import { readFile } from 'node:fs/promises'
import writeFileAtomic from 'write-file-atomic'
import { z } from 'zod'
import { parseJsonText } from '../config/json-text.ts'
import { PartylineError } from '../errors.ts'
import { fileError } from '../file-error.ts'
import { isPeerId } from '../identity/peer-id.ts'
import type { PeerId } from '../types.ts'

/** Most invitations kept, and most uses of one. */
export const MAX_INVITATIONS = 256
const MAX_USES = 64

const peer = z.string().refine((text): text is PeerId => isPeerId(text), 'no peer id')
const seconds = z.number().int().min(0).max(0xffff_ffff)

const invitation = z.object({
  id: z.string().regex(/^[a-z2-7]{13}$/),
  /** Unix seconds. */
  created: seconds,
  expires: seconds,
  /** How often it is good, all in all. */
  uses: z.number().int().min(1).max(MAX_USES),
  /** The only host that may use it. */
  for: peer.optional(),
  /** What the joiner is to be called here; empty for what it calls itself. */
  petname: z.string().max(256),
  revoked: z.boolean(),
  /** Who has used it; `welcomed`: and was trusted for it, so that a later decision of the owner stands. */
  joined: z.array(z.object({ peer, welcomed: z.boolean() })).max(MAX_USES),
})

const stored = z.object({ version: z.literal(1), invitations: z.array(invitation).max(MAX_INVITATIONS) })

/** One that was given out. It holds no secret: `Secrets` makes that of the id. */
export type Invitation = z.output<typeof invitation>

/** The invitations in a file, none when there is no file. Throws `local.invites-damaged`, and leaves the file as it is. */
export async function readInvitations(file: string): Promise<Invitation[]> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw fileError(file, error)
  }
  try {
    return stored.parse(parseJsonText(text)).invitations
  } catch (error) {
    const what = error instanceof z.ZodError ? z.prettifyError(error) : (error as Error).message
    throw new PartylineError('local.invites-damaged', `${file}: ${what}; the file was left as it is`, { cause: error })
  }
}

/** Flushed to disk and renamed into place, mode 0600. */
export async function writeInvitations(file: string, invitations: readonly Invitation[]): Promise<void> {
  try {
    await writeFileAtomic(file, `${JSON.stringify({ version: 1, invitations }, null, 1)}\n`, { mode: 0o600 })
  } catch (error) {
    throw fileError(file, error)
  }
}
