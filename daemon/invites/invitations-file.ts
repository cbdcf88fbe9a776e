import * as z from 'zod'
import { PartylineError } from '../errors.ts'
import { isPeerId } from '../identity/peer-id.ts'
import { readState, writeState } from '../state/state-file.ts'
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

/** The invitations in a file, none when there is no file. Throws `local.invites-damaged` and as `readState`, and leaves the file as it is. */
export async function readInvitations(file: string): Promise<Invitation[]> {
  const content = await readState(file, {
    version: 1,
    schema: stored,
    damaged: (why) => new PartylineError('local.invites-damaged', `${file}: ${why}; the file was left as it is`),
  })
  return content?.invitations ?? []
}

/** Flushed to disk and renamed into place, mode 0600. Rejects with `local.file` or `local.permission`. */
export function writeInvitations(file: string, invitations: readonly Invitation[]): Promise<void> {
  return writeState(file, { version: 1, invitations })
}
