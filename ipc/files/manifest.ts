import { PartylineError } from '../../daemon/errors.ts'

/** Most entries of one offer. */
export const MAX_ENTRIES = 1_000_000
/** Largest manifest on the wire, in bytes. */
export const MAX_MANIFEST = 64 * 1024 * 1024
/** Longest path, in bytes of UTF-8. */
export const MAX_PATH = 4096
/** Deepest path, in components. */
const MAX_DEPTH = 256
/** Longest line: a path whose every character is escaped, and the numbers. */
const MAX_LINE = 6 * MAX_PATH + 128

/** A file of an offer. */
export interface ManifestFile {
  readonly kind: 'file'
  /** Relative to what was offered, `/` separated. */
  readonly path: string
  /** In bytes. */
  readonly size: number
  /** Last change, in whole Unix milliseconds. */
  readonly mtime: number
  readonly executable: boolean
}

/** A folder of an offer, listed so that empty ones arrive too. */
interface ManifestFolder {
  readonly kind: 'folder'
  readonly path: string
}

export type ManifestEntry = ManifestFile | ManifestFolder

/**
 * The manifest as JSON lines, `[path, size, mtime, executable]` for a file and `[path]` for a folder: a hostile one is
 * refused at its first bad line, before it has cost more memory than it has bytes. Throws `usage.too-large`.
 */
export function encodeManifest(entries: readonly ManifestEntry[]): Buffer {
  if (entries.length > MAX_ENTRIES)
    throw new PartylineError('usage.too-large', `an offer takes at most ${MAX_ENTRIES} files and folders`)
  const lines = entries.map((entry) =>
    JSON.stringify(
      entry.kind === 'folder' ? [entry.path] : [entry.path, entry.size, entry.mtime, entry.executable ? 1 : 0],
    ),
  )
  const bytes = Buffer.from(lines.map((line) => `${line}\n`).join(''))
  if (bytes.length > MAX_MANIFEST)
    throw new PartylineError('usage.too-large', `the list of files is larger than ${MAX_MANIFEST / 2 ** 20} MiB`)
  return bytes
}

/** Reads a manifest from a peer. Throws `peer.oversized` or `peer.malformed`. */
export function decodeManifest(bytes: Uint8Array): ManifestEntry[] {
  if (bytes.length > MAX_MANIFEST) throw new PartylineError('peer.oversized', 'the list of files is too large')
  const buffer = Buffer.from(bytes.buffer, bytes.byteOffset, bytes.length)
  const entries: ManifestEntry[] = []
  const kinds = new Map<string, ManifestEntry['kind']>()
  for (let start = 0; start < buffer.length; ) {
    const end = buffer.indexOf(0x0a, start)
    if (end < 0) throw malformed('the last line is cut off')
    if (end - start > MAX_LINE || entries.length >= MAX_ENTRIES)
      throw new PartylineError('peer.oversized', 'the list of files is too long')
    const entry = parseEntry(buffer.subarray(start, end))
    if (kinds.has(entry.path)) throw malformed('a path is listed twice')
    kinds.set(entry.path, entry.kind)
    entries.push(entry)
    start = end + 1
  }
  for (const entry of entries) refuseFileAsFolder(entry.path, kinds)
  return entries
}

/** Bytes of all files. */
export function totalBytes(entries: readonly ManifestEntry[]): number {
  return entries.reduce((sum, entry) => sum + (entry.kind === 'file' ? entry.size : 0), 0)
}

function parseEntry(line: Uint8Array): ManifestEntry {
  const fields = parseJson(line)
  if (!Array.isArray(fields)) throw malformed('a line is not a list')
  const [path, size, mtime, executable] = fields as unknown[]
  if (typeof path !== 'string' || !isPath(path)) throw malformed('a path is not relative and plain')
  if (fields.length === 1) return { kind: 'folder', path }
  if (fields.length !== 4 || !isCount(size) || !Number.isSafeInteger(mtime) || (executable !== 0 && executable !== 1))
    throw malformed('a line does not describe a file')
  return { kind: 'file', path, size, mtime: mtime as number, executable: executable === 1 }
}

function parseJson(line: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(line))
  } catch {
    throw malformed('a line is not JSON')
  }
}

/** Relative, with plain components only. What they become on disk is the business of `safe-names.ts`. */
function isPath(path: string): boolean {
  if (path === '' || !path.isWellFormed() || Buffer.byteLength(path) > MAX_PATH) return false
  const components = path.split('/')
  return components.length <= MAX_DEPTH && components.every((name) => name !== '' && name !== '.' && name !== '..')
}

function isCount(value: unknown): value is number {
  return Number.isSafeInteger(value) && (value as number) >= 0
}

function refuseFileAsFolder(path: string, kinds: ReadonlyMap<string, ManifestEntry['kind']>): void {
  for (let slash = path.indexOf('/'); slash > 0; slash = path.indexOf('/', slash + 1))
    if (kinds.get(path.slice(0, slash)) === 'file') throw malformed('a file is listed as a folder too')
}

function malformed(why: string): PartylineError {
  return new PartylineError('peer.malformed', `the list of files is malformed: ${why}`)
}
