/** The other P2P libraries live in `peers/`, with a lock file of their own, and are installed when they are first measured. */
import { execFile } from 'node:child_process'
import { existsSync, readFileSync, writeFileSync } from 'node:fs'
import { promisify } from 'node:util'

const FOLDER = new URL('./peers/', import.meta.url)
const LOCK = new URL('package-lock.json', FOLDER)
/** Which lock file was installed. */
const MARK = new URL('node_modules/.partyline-installed', FOLDER)
const LIMIT = 300_000

/** Installs them if that was not done yet. Resolves to why it could not be done, undefined when they are there. */
export async function installPeers(): Promise<string | undefined> {
  const lock = readFileSync(LOCK, 'utf8')
  if (existsSync(MARK) && readFileSync(MARK, 'utf8') === lock) return undefined
  try {
    await promisify(execFile)('npm', ['ci', '--no-audit', '--no-fund'], { cwd: FOLDER, timeout: LIMIT })
    writeFileSync(MARK, lock)
    return undefined
  } catch (error) {
    const { message, stderr = '' } = error as Error & { stderr?: string }
    const line = stderr.split('\n').find((text) => text.startsWith('npm error'))
    return `npm ci: ${line ?? message}`
  }
}
