import { mkdirSync, statSync } from 'node:fs'
import { posix, win32 } from 'node:path'
import { fileURLToPath } from 'node:url'

interface CacheQuery {
  /** The module that asks: one of a checkout, or of an installed package. */
  readonly url: string
  readonly env: Readonly<Record<string, string | undefined>>
  readonly platform: NodeJS.Platform
  readonly userHome: string
}

/**
 * Where compiled code is kept from one start to the next: a checkout's own folder, the one that systemd gives a service (`CacheDirectory=`), or
 * the user's for caches.
 */
export function compileCacheFolder({ url, env, platform, userHome }: CacheQuery): string {
  if (url.endsWith('.ts')) return fileURLToPath(new URL('../node_modules/.cache/partyline', url))
  const { join, isAbsolute } = platform === 'win32' ? win32 : posix
  const [given] = env.CACHE_DIRECTORY?.split(':') ?? []
  if (given) return given
  if (platform === 'win32') return join(env.LOCALAPPDATA ?? join(userHome, 'AppData', 'Local'), 'partyline', 'compiled')
  if (platform === 'darwin') return join(userHome, 'Library', 'Caches', 'partyline')
  const caches = env.XDG_CACHE_HOME ?? ''
  return join(isAbsolute(caches) ? caches : join(userHome, '.cache'), 'partyline')
}

/**
 * Makes a folder that only this user may write to; false where that is not so, as when root runs with the home of somebody else: what lies in
 * the folder is run.
 */
export function isOwnFolder(folder: string, uid = process.geteuid?.()): boolean {
  try {
    for (let at = folder; ; at = posix.dirname(at)) {
      const stats = uid === undefined ? undefined : statSync(at, { throwIfNoEntry: false })
      if (stats && (stats.uid !== uid || (stats.mode & 0o022) !== 0)) return false
      if (stats || uid === undefined) break
      if (posix.dirname(at) === at) return false
    }
    mkdirSync(folder, { recursive: true, mode: 0o700 })
    return true
  } catch {
    return false
  }
}
