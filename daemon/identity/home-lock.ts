import { randomUUID } from 'node:crypto'
import { link, readFile, rm, writeFile } from 'node:fs/promises'
import { setTimeout as pause } from 'node:timers/promises'
import { PartylineError } from '../errors.ts'
import { fileError } from '../file-error.ts'

/** A held lock; `release` is safe to call twice. */
export interface HomeLock {
  release(): Promise<void>
}

/** Who holds a lock. `started` tells a process from a later one with the same number. */
interface Holder {
  readonly pid: number
  readonly started: string
  readonly since: string
  /** Unique to each holding. */
  readonly token: string
}

/** A lock file as it is found; `unreadable` is one that no process of ours wrote whole. */
type Found = 'missing' | 'unreadable' | Holder

const ATTEMPTS = 200
const PAUSE_MS = 5

/** Takes the lock of a home, or throws `local.already-running` naming the process that holds it. A lock whose process died is taken over. */
export async function acquireHomeLock(file: string): Promise<HomeLock> {
  const mine: Holder = {
    pid: process.pid,
    started: (await processOf(process.pid)).started,
    since: new Date().toISOString(),
    token: randomUUID(),
  }
  const draft = `${file}.${mine.token}`
  try {
    await writeFile(draft, JSON.stringify(mine), { mode: 0o600, flag: 'wx' })
    return await take(draft, file, mine.token)
  } catch (error) {
    throw error instanceof PartylineError ? error : fileError(file, error)
  } finally {
    await rm(draft, { force: true })
  }
}

async function take(draft: string, file: string, token: string): Promise<HomeLock> {
  for (let attempt = 0; attempt < ATTEMPTS; attempt++) {
    if (await linked(draft, file)) return { release: () => release(file, token) }
    const found = await readLock(file)
    if (typeof found === 'object' && (await isAlive(found)))
      throw new PartylineError(
        'local.already-running',
        `process ${found.pid} uses this home since ${found.since} (${file})`,
      )
    if (found !== 'missing' && !(await removedStale(draft, file))) await pause(PAUSE_MS)
  }
  throw new PartylineError('local.already-running', `${file} is being taken by other processes`)
}

/** Linking a finished file is atomic: there is never an empty or half lock, and only one of many gets it. */
async function linked(draft: string, file: string): Promise<boolean> {
  try {
    await link(draft, file)
    return true
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'EEXIST') return false
    throw error
  }
}

/**
 * Removes the lock of a dead process; false when another process is about to. Only one at a time may look and remove: else a slow one
 * would remove the lock of the one that was faster. Who dies in between leaves its guard behind, which the next one clears away.
 */
async function removedStale(draft: string, file: string): Promise<boolean> {
  const guard = `${file}.takeover`
  if (!(await linked(draft, guard))) {
    const found = await readLock(guard)
    if (typeof found === 'object' && !(await isAlive(found))) await rm(guard, { force: true })
    return false
  }
  try {
    const found = await readLock(file)
    if (found === 'unreadable' || (typeof found === 'object' && !(await isAlive(found)))) await rm(file)
    return true
  } finally {
    await rm(guard, { force: true })
  }
}

async function release(file: string, token: string): Promise<void> {
  const found = await readLock(file)
  if (typeof found === 'object' && found.token === token) await rm(file, { force: true })
}

async function readLock(file: string): Promise<Found> {
  let text: string
  try {
    text = await readFile(file, 'utf8')
  } catch (error) {
    if ((error as NodeJS.ErrnoException).code === 'ENOENT') return 'missing'
    throw error
  }
  try {
    const { pid, started, since, token } = JSON.parse(text) as Partial<Holder>
    if (typeof pid !== 'number' || typeof token !== 'string') return 'unreadable'
    return { pid, started: String(started), since: String(since), token }
  } catch {
    return 'unreadable'
  }
}

async function isAlive(holder: Holder): Promise<boolean> {
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    // EPERM: it lives, as another user.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  const { state, started } = await processOf(holder.pid)
  // A zombie holds nothing any more; its parent has only not asked for it yet.
  if (state === 'Z' || state === 'X') return false
  return started === '' || started === holder.started
}

/** State of a process and when it started, in ticks since boot (proc(5), `stat`, fields 3 and 22); empty where the system does not tell. */
async function processOf(pid: number): Promise<{ state: string; started: string }> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    const fields = stat.slice(stat.lastIndexOf(')') + 2).split(' ')
    return { state: fields[0] ?? '', started: fields[19] ?? '' }
  } catch {
    return { state: '', started: '' }
  }
}
