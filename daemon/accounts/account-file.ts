import { readFile, stat } from 'node:fs/promises'
import writeFileAtomic from 'write-file-atomic'
import { z } from 'zod'
import { parseJsonText } from '../config/json-text.ts'
import { PartylineError } from '../errors.ts'
import { fileError } from '../file-error.ts'
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
  let text: string
  try {
    if (process.platform !== 'win32' && ((await stat(file)).mode & 0o077) !== 0)
      throw new PartylineError('local.accounts-exposed', `${file} can be read by other users`, {
        hint: `Run: chmod 600 ${file}`,
      })
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return []
    throw error instanceof PartylineError ? error : fileError(file, error)
  }
  const { data, error } = stored.safeParse(readJson(text))
  if (data) return data.accounts
  const where = error.issues[0]?.path.join('.') ?? ''
  throw new PartylineError('local.accounts-damaged', `${file}: ${where || 'it'} is not as it was written`)
}

/** Flushed to disk and renamed into place, mode 0600. Rejects with `local.file` or `local.permission`. */
export async function writeAccounts(file: string, accounts: readonly Account[]): Promise<void> {
  try {
    await writeFileAtomic(file, `${JSON.stringify({ version: 1, accounts }, null, 1)}\n`, { mode: 0o600 })
  } catch (error) {
    throw fileError(file, error)
  }
}

/** What is no JSON reads as nothing: its error would quote the text. */
function readJson(text: string): unknown {
  try {
    return parseJsonText(text)
  } catch {
    return undefined
  }
}
