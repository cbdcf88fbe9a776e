import { createHash } from 'node:crypto'
import { constants } from 'node:fs'
import { link, lstat, mkdir, open, realpath, rename, statfs, unlink } from 'node:fs/promises'
import { join } from 'node:path'
import { PartylineError } from '../../daemon/errors.ts'
import type { ManifestFile } from './manifest.ts'
import { hashInto } from './part-file.ts'
import { numberedName, PART_SUFFIX, safeComponents } from './safe-names.ts'

/** Names tried, `name (999).ext` the last, before giving up. */
const MAX_NUMBER = 999
/** What `link` says on file systems that have no hard links (FAT, some network shares). */
const NO_LINKS = new Set(['EPERM', 'ENOTSUP', 'EOPNOTSUPP', 'ENOSYS', 'EMLINK', 'EACCES'])

/** Where a file is to go. */
export interface Place {
  /** An existing folder below the inbox, not reached through any symbolic link. */
  readonly folder: string
  readonly name: string
  /** Where it is kept until it is whole. */
  readonly part: string
}

/** Everything one offer puts into a receiving folder: below it, never through a link, never over what is there. */
export class InboxFolder {
  readonly #root: string
  readonly #sender: string
  /** Local folder by the peer's path of it. */
  readonly #folders = new Map<string, Promise<string>>()
  /** What this offer has put here: two files whose names become the same do not count as one. */
  readonly #taken = new Set<string>()

  private constructor(root: string, sender: string) {
    this.#root = root
    this.#sender = sender
  }

  static async open(dir: string, sender: string): Promise<InboxFolder> {
    return await asLocal(dir, async () => {
      await mkdir(dir, { recursive: true })
      return new InboxFolder(await realpath(dir), sender)
    })
  }

  /** Throws `local.file` when the disk has not so many bytes left. */
  async requireRoom(bytes: number): Promise<void> {
    const facts = await statfs(this.#root).catch(() => undefined)
    const free = facts ? facts.bavail * facts.bsize : Number.POSITIVE_INFINITY
    if (free > 0 && free < bytes)
      throw new PartylineError('local.file', `${this.#root} has room for ${free} bytes, ${bytes} are needed`, {
        hint: 'Free some space, or choose another folder.',
      })
  }

  /** The local folder for one of the peer's; made if need be. */
  folder(path: string): Promise<string> {
    if (path === '') return Promise.resolve(this.#root)
    const known = this.#folders.get(path)
    if (known) return known
    const slash = path.lastIndexOf('/')
    const made = this.folder(path.slice(0, Math.max(slash, 0))).then((parent) =>
      asLocal(join(parent, path.slice(slash + 1)), () => makeFolder(parent, safeName(path.slice(slash + 1)))),
    )
    this.#folders.set(path, made)
    return made
  }

  async place(entry: ManifestFile): Promise<Place> {
    const slash = entry.path.lastIndexOf('/')
    const folder = await this.folder(entry.path.slice(0, Math.max(slash, 0)))
    const name = safeName(entry.path.slice(slash + 1))
    const key = createHash('sha256')
      .update(JSON.stringify([this.#sender, entry.path, entry.size, entry.mtime]))
      .digest('hex')
      .slice(0, 16)
    return { folder, name, part: join(folder, `${name}.${key}${PART_SUFFIX}`) }
  }

  /** True when a file of the same name, size and time is here already: an earlier attempt may have brought it. */
  async mayBeHere({ folder, name }: Place, { size, mtime }: ManifestFile): Promise<boolean> {
    const path = join(folder, name)
    if (this.#taken.has(path)) return false
    const facts = await lstat(path).catch(() => undefined)
    if (!facts?.isFile() || facts.size !== size || Math.abs(facts.mtimeMs - mtime) >= 2) return false
    this.#taken.add(path)
    return true
  }

  /** The hash of the file that may be here, or undefined when it changed meanwhile. */
  async hashOf({ folder, name }: Place, size: number): Promise<Buffer | undefined> {
    const handle = await open(join(folder, name), constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)).catch(
      () => undefined,
    )
    if (!handle) return undefined
    try {
      const hash = createHash('sha256')
      await hashInto(hash, handle, size)
      return hash.digest()
    } catch {
      return undefined
    } finally {
      await handle.close()
    }
  }

  /** The file that was here is the one sent. */
  async keep({ folder, name, part }: Place): Promise<string> {
    await unlink(part).catch(() => {})
    const path = join(folder, name)
    this.#taken.add(path)
    return path
  }

  /** Gives a sealed part its name, or the next free one. */
  async publish({ folder, name, part }: Place): Promise<string> {
    return await asLocal(part, async () => {
      for (let number = 0; number <= MAX_NUMBER; number++) {
        const path = join(folder, numberedName(name, number))
        if (!(await moveWithoutOverwriting(part, path))) continue
        this.#taken.add(path)
        return path
      }
      throw new Error(`there are ${MAX_NUMBER} files of this name`)
    })
  }

  /** Writes the folders down for good, where the system can. */
  async sync(): Promise<void> {
    for (const path of [this.#root, ...(await Promise.all(this.#folders.values()))]) {
      const handle = await open(path, 'r').catch(() => undefined)
      await handle?.sync().catch(() => {})
      await handle?.close()
    }
  }
}

/** Runs what uses the file system; its errors become `local.file`. */
export async function asLocal<T>(path: string, work: () => Promise<T>): Promise<T> {
  try {
    return await work()
  } catch (error) {
    if (error instanceof PartylineError) throw error
    throw new PartylineError('local.file', `${path}: ${error instanceof Error ? error.message : error}`, {
      cause: error,
    })
  }
}

function safeName(name: string): string {
  return safeComponents(name)[0] ?? 'unnamed'
}

async function makeFolder(parent: string, name: string): Promise<string> {
  for (let number = 0; number <= MAX_NUMBER; number++) {
    const path = join(parent, numberedName(name, number))
    try {
      await mkdir(path)
      return path
    } catch (error) {
      if (codeOf(error) !== 'EEXIST') throw error
    }
    // A link of this name would lead out of the inbox: it is not followed.
    if ((await lstat(path)).isDirectory()) return path
  }
  throw new Error(`there are ${MAX_NUMBER} files of this name`)
}

/** False when the name is taken. */
async function moveWithoutOverwriting(part: string, path: string): Promise<boolean> {
  try {
    await link(part, path)
  } catch (error) {
    const code = codeOf(error)
    if (code === 'EEXIST') return false
    if (!NO_LINKS.has(code)) throw error
    return await reserveAndRename(part, path)
  }
  await unlink(part)
  return true
}

/** Without hard links: takes the name with an empty file, and puts the part in its place. */
async function reserveAndRename(part: string, path: string): Promise<boolean> {
  try {
    await (await open(path, 'wx')).close()
  } catch (error) {
    if (codeOf(error) === 'EEXIST') return false
    throw error
  }
  await rename(part, path)
  return true
}

function codeOf(error: unknown): string {
  return error instanceof Error && 'code' in error ? String(error.code) : ''
}
