import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open, unlink } from 'node:fs/promises'
import type { ManifestFile } from './manifest.ts'

/** Bytes gathered before they are written. */
const GATHER = 1024 * 1024

/**
 * A file that is not whole yet. Its name tells whose it is, its length how far it got; the hash of what is there is kept along.
 * Errors are those of the file system.
 */
export class PartFile {
  readonly path: string
  readonly #handle: FileHandle
  #hash: Hash
  #length: number
  #gathered: Buffer[] = []
  #gatheredBytes = 0
  #writing: Promise<void> = Promise.resolve()

  private constructor(path: string, handle: FileHandle, hash: Hash, length: number) {
    this.path = path
    this.#handle = handle
    this.#hash = hash
    this.#length = length
  }

  /** Opens what an earlier attempt left, and hashes it, or begins anew. Bytes beyond `size` are cut off. */
  static async open(path: string, size: number): Promise<PartFile> {
    const handle = await openPart(path)
    try {
      const hash = createHash('sha256')
      const length = Math.min((await handle.stat()).size, size)
      await hashInto(hash, handle, length)
      await handle.truncate(length)
      return new PartFile(path, handle, hash, length)
    } catch (error) {
      await handle.close()
      throw error
    }
  }

  /** How many bytes of the file are here. */
  get length(): number {
    return this.#length
  }

  /** Takes the next bytes; they are written while more are on their way. */
  async append(piece: Buffer): Promise<void> {
    this.#hash.update(piece)
    this.#length += piece.length
    this.#gathered.push(piece)
    this.#gatheredBytes += piece.length
    if (this.#gatheredBytes >= GATHER) await this.#write()
  }

  /** Everything taken is with the system: `length` is what a later attempt finds. */
  async flush(): Promise<void> {
    if (this.#gatheredBytes > 0) await this.#write()
    await this.#writing
  }

  /** The SHA-256 of the whole. */
  digest(): Buffer {
    return this.#hash.copy().digest()
  }

  /** Throws away what is here. */
  async restart(): Promise<void> {
    await this.flush()
    await this.#handle.truncate(0)
    this.#hash = createHash('sha256')
    this.#length = 0
  }

  /** Gives it the time and mode of the original, writes it down for good, and closes it. */
  async seal({ mtime, executable }: ManifestFile): Promise<void> {
    await this.flush()
    if (executable) {
      const { mode } = await this.#handle.stat()
      await this.#handle.chmod(mode | ((mode & 0o444) >> 2))
    }
    await this.#handle.utimes(new Date(mtime), new Date(mtime))
    await this.#handle.sync()
    await this.#handle.close()
  }

  /** Closes it as it is, for a later attempt; one without content is removed. */
  async leave(): Promise<void> {
    await this.flush().catch(() => {})
    await this.#handle.close().catch(() => {})
    if (this.#length === 0) await unlink(this.path).catch(() => {})
  }

  async #write(): Promise<void> {
    const pieces = this.#gathered
    const position = this.#length - this.#gatheredBytes
    this.#gathered = []
    this.#gatheredBytes = 0
    await this.#writing
    this.#writing = writeAll(this.#handle, pieces, position)
    this.#writing.catch(() => {})
  }
}

/** Hashes the file from its beginning up to `length`. */
export async function hashInto(hash: Hash, handle: FileHandle, length: number): Promise<void> {
  const buffer = Buffer.allocUnsafe(Math.min(GATHER, Math.max(length, 1)))
  for (let position = 0; position < length; ) {
    const { bytesRead } = await handle.read(buffer, 0, Math.min(buffer.length, length - position), position)
    if (bytesRead === 0) throw new Error('the file became shorter while it was read')
    hash.update(buffer.subarray(0, bytesRead))
    position += bytesRead
  }
}

async function openPart(path: string): Promise<FileHandle> {
  const noFollow = constants.O_NOFOLLOW ?? 0
  const handle = await open(path, constants.O_RDWR | constants.O_CREAT | noFollow, 0o666)
  const facts = await handle.stat()
  if (facts.isFile() && facts.nlink === 1) return handle
  // It was linked to its final name and the receiver killed before it could unlink it here, or it is nothing of ours.
  await handle.close()
  await unlink(path)
  return await open(path, constants.O_RDWR | constants.O_CREAT | constants.O_EXCL | noFollow, 0o666)
}

async function writeAll(handle: FileHandle, pieces: readonly Buffer[], start: number): Promise<void> {
  const total = pieces.reduce((sum, { length }) => sum + length, 0)
  const { bytesWritten } = await handle.writev(pieces, start)
  if (bytesWritten === total) return
  const rest = Buffer.concat(pieces).subarray(bytesWritten)
  for (let done = 0; done < rest.length; ) {
    const result = await handle.write(rest, done, rest.length - done, start + bytesWritten + done)
    done += result.bytesWritten
  }
}
