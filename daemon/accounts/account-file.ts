import { stat } from 'node:fs/promises'
import * as z from 'zod'
import { PartylineError } from '../errors.ts'
import { fileError } from '../file-error.ts'
import { readState, writeState } from '../state/state-file.ts'
import { isUserJid } from '../xmpp/user-jid.ts'

/** Accounts of one host. */
export const MAX_ACCOUNTS = 8
/** Longest password, and longest list of certificates, in characters. */
export const MAX_PASSWORD = 1024
export const MAX_CA = 64 * 1024

const account = z.object({
  jid: z.string().refine(isUserJid, 'no XMPP address'),
  password: z.string().min(1).max(MAX_PASSWORD),
  /** `HOST` or `HOST:PORT` in the place of what DNS says; empty for none. */
  server: z.string().max(256),
  /** Certificates (PEM) that the server's may be signed by, beside the system's; empty for none. */
  ca: z.string().max(MAX_CA),
})

const stored = z.object({ version: z.literal(1), accounts: z.array(account).max(MAX_ACCOUNTS) })

/** An XMPP account, as its owner gave it. */
export type Account = z.output<typeof account>

/**
 * The accounts of a file, none where there is no file. Throws `local.accounts-exposed` where others can read it, `local.accounts-damaged`, and
 * leaves the file as it is; no message has a password in it.
 */
export async function readAccounts(file: string): Promise<readonly Account[]> {
  if (process.platform !== 'win32') await checkPrivate(file)
  const content = await readState(file, {
    version: 1,
    schema: stored,
    // Why it is damaged would quote it.
    damaged: () =>
      new PartylineError('local.accounts-damaged', `${file} is not as it was written, and was left as it is`),
  })
  return content?.accounts ?? []
}

/** Flushed to disk and renamed into place, mode 0600. Rejects with `local.file` or `local.permission`. */
export function writeAccounts(file: string, accounts: readonly Account[]): Promise<void> {
  return writeState(file, { version: 1, accounts })
}

async function checkPrivate(file: string): Promise<void> {
  const { mode } = await stat(file).catch((error: NodeJS.ErrnoException) => {
    if (error.code === 'ENOENT') return { mode: 0 }
    throw fileError(file, error)
  })
  if ((mode & 0o077) !== 0)
    throw new PartylineError('local.accounts-exposed', `${file} can be read by other users`, {
      hint: `Run: chmod 600 ${file}`,
    })
}
