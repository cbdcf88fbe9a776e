import { lstat, readdir } from 'node:fs/promises'
import { basename, join, resolve } from 'node:path'
import { PartylineError } from '../../daemon/errors.ts'
import { MAX_ENTRIES, MAX_PATH, type ManifestEntry } from './manifest.ts'
import { numberedName } from './safe-names.ts'

/** What is offered: the manifest, where each entry lies on this machine, and what was left out. */
export interface Collection {
  readonly entries: readonly ManifestEntry[]
  /** By index of `entries`. */
  readonly sources: readonly string[]
  /** Sentences about what was skipped: links, devices, what cannot be read. */
  readonly warnings: readonly string[]
}

/**
 * Lists files and folders to offer, with all that lies in them. Symbolic links are not followed. Throws `local.file` where a
 * given path itself cannot be offered, `usage.too-large` beyond a million entries.
 */
export async function collectFiles(paths: readonly string[]): Promise<Collection> {
  const collector = new Collector()
  for (const path of paths) await collector.addRoot(resolve(path))
  return collector
}

class Collector implements Collection {
  readonly entries: ManifestEntry[] = []
  readonly sources: string[] = []
  readonly warnings: string[] = []
  readonly #roots = new Set<string>()

  async addRoot(source: string): Promise<void> {
    const entriesBefore = this.entries.length
    const warningsBefore = this.warnings.length
    await this.#add(source, this.#rootName(basename(source)))
    if (this.entries.length > entriesBefore) return
    throw new PartylineError('local.file', this.warnings[warningsBefore] ?? `${source} cannot be offered`)
  }

  /** Two folders given may have the same name. */
  #rootName(name: string): string {
    for (let number = 0; ; number++) {
      const candidate = numberedName(name === '' ? 'root' : name, number)
      if (this.#roots.has(candidate)) continue
      this.#roots.add(candidate)
      return candidate
    }
  }

  async #add(source: string, path: string): Promise<void> {
    const facts = await lstat(source).catch((error: Error) => error)
    if (facts instanceof Error) return this.#warn(source, facts.message)
    if (!path.isWellFormed()) return this.#warn(source, 'its name is no valid text')
    if (Buffer.byteLength(path) > MAX_PATH) return this.#warn(source, 'its path is too long')
    if (facts.isDirectory()) return await this.#addFolder(source, path)
    if (!facts.isFile()) return this.#warn(source, facts.isSymbolicLink() ? 'a symbolic link' : 'not a file')
    const executable = (facts.mode & 0o100) !== 0
    this.#push(source, { kind: 'file', path, size: facts.size, mtime: Math.floor(facts.mtimeMs), executable })
  }

  async #addFolder(source: string, path: string): Promise<void> {
    this.#push(source, { kind: 'folder', path })
    const names = await readdir(source).catch((error: Error) => error)
    if (names instanceof Error) return this.#warn(source, names.message)
    for (const name of names.sort()) await this.#add(join(source, name), `${path}/${name}`)
  }

  #push(source: string, entry: ManifestEntry): void {
    if (this.entries.length >= MAX_ENTRIES)
      throw new PartylineError('usage.too-large', `an offer takes at most ${MAX_ENTRIES} files and folders`)
    this.entries.push(entry)
    this.sources.push(source)
  }

  #warn(source: string, why: string): void {
    this.warnings.push(`${source} was left out: ${why}`)
  }
}
