import { randomUUID } from 'node:crypto'
import { link, readFile, rm, writeFile } from 'node:fs/promises'
import { PartylineError } from '../errors.ts'

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

/** Takes the lock of a home, or throws `local.already-running` naming the process that holds it. A lock whose process died is taken over. */
export async function acquireHomeLock(file: string): Promise<HomeLock> {
  const mine: Holder = {
    pid: process.pid,
    started: await startOf(process.pid),
    since: new Date().toISOString(),
    token: randomUUID(),
  }
  const draft = `${file}.${mine.token}`
  await writeFile(draft, JSON.stringify(mine), { mode: 0o600 })
  try {
    for (let attempt = 0; attempt < 50; attempt++) {
      if (await linked(draft, file)) return { release: () => release(file, mine.token) }
      const holder = await readHolder(file)
      if (holder && (await isAlive(holder)))
        throw new PartylineError(
          'local.already-running',
          `process ${holder.pid} uses this home since ${holder.since} (${file})`,
        )
      await removeStale(file, holder)
    }
    throw new PartylineError('local.already-running', `${file} is being taken by other processes`)
  } finally {
    await rm(draft, { force: true })
  }
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

/** Removes the lock of a dead process, unless somebody took it over since it was read. */
async function removeStale(file: string, holder: Holder | undefined): Promise<void> {
  if ((await readHolder(file))?.token === holder?.token) await rm(file, { force: true })
}

async function release(file: string, token: string): Promise<void> {
  if ((await readHolder(file))?.token === token) await rm(file, { force: true })
}

async function readHolder(file: string): Promise<Holder | undefined> {
  try {
    const value = JSON.parse(await readFile(file, 'utf8')) as Partial<Holder>
    if (typeof value.pid !== 'number' || typeof value.token !== 'string') return undefined
    return { pid: value.pid, started: String(value.started), since: String(value.since), token: value.token }
  } catch {
    return undefined
  }
}

async function isAlive(holder: Holder): Promise<boolean> {
  try {
    process.kill(holder.pid, 0)
  } catch (error) {
    // EPERM: it lives, as another user.
    if ((error as NodeJS.ErrnoException).code !== 'EPERM') return false
  }
  return (await startOf(holder.pid)) === holder.started
}

/** When a process started, in ticks since boot (field 22 of /proc/PID/stat); empty where the system does not tell. */
async function startOf(pid: number): Promise<string> {
  try {
    const stat = await readFile(`/proc/${pid}/stat`, 'utf8')
    return stat.slice(stat.lastIndexOf(')') + 2).split(' ')[19] ?? ''
  } catch {
    return ''
  }
}
