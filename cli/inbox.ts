import { mkdir, stat } from 'node:fs/promises'
import { homedir } from 'node:os'
import { fileError } from '../daemon/file-error.ts'
import { resolvePlaces } from '../daemon/places.ts'
import type { Client } from '../ipc/index.ts'
import type { Context } from './command.ts'

/**
 * The folder for files that are received: the daemon's inbox where that belongs to this user, and this user's own where the daemon is the
 * machine's, whose folder others may not look into. Throws `local.permission` or `local.file`.
 */
export async function inboxFor(client: Client, { env }: Pick<Context, 'env'>): Promise<string> {
  const { inbox } = await client.call('daemon.status', {})
  const found = await stat(inbox).catch(() => undefined)
  if (found && (process.getuid === undefined || found.uid === process.getuid())) return inbox
  const own = resolvePlaces({ home: undefined, env, platform: process.platform, userHome: homedir() }).inbox
  try {
    await mkdir(own, { recursive: true, mode: 0o700 })
  } catch (error) {
    throw fileError(own, error)
  }
  return own
}
