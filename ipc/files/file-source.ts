import { createHash, type Hash } from 'node:crypto'
import { constants } from 'node:fs'
import { type FileHandle, open } from 'node:fs/promises'
import type { Duplex } from 'node:stream'
import { PartylineError } from '../../daemon/errors.ts'
import type { Milliseconds } from '../../daemon/types.ts'
import { SECTION } from './fetch-protocol.ts'
import type { ManifestFile } from './manifest.ts'

/** Bytes read at a time. */
const CHUNK = 1024 * 1024
/** Small pieces are gathered up to this many bytes before they are written. */
const GATHER = 64 * 1024
/** How often a receiver is told that a long prefix is still being hashed. */
const BUSY_INTERVAL: Milliseconds = 1000
/** Least distance of two remembered hash states in a file, and most of them. */
const CHECKPOINT = 64 * 1024 * 1024
const MAX_CHECKPOINTS = 16

/** Writes to a stream as fast as it takes it; small pieces go together. */
export class Outlet {
  readonly #stream: Duplex
  readonly #stall: Milliseconds
  #pieces: Buffer[] = []
  #gathered = 0

  constructor(stream: Duplex, stall: Milliseconds) {
    this.#stream = stream
    this.#stall = stall
  }

  async write(piece: Buffer): Promise<void> {
    this.#pieces.push(piece)
    this.#gathered += piece.length
    if (this.#gathered >= GATHER) await this.flush()
  }

  /** Resolves when the stream has room again. Rejects with `peer.reset`. */
  async flush(): Promise<void> {
    const stream = this.#stream
    const pieces = this.#pieces
    this.#pieces = []
    this.#gathered = 0
    if (stream.destroyed) throw new PartylineError('peer.reset')
    let room = true
    stream.cork()
    for (const piece of pieces) room = stream.write(piece)
    stream.uncork()
    if (room || !stream.writableNeedDrain) return
    await this.#drained()
  }

  #drained(): Promise<void> {
    const stream = this.#stream
    return new Promise((resolve, reject) => {
      const timer = setTimeout(() => stream.destroy(new PartylineError('network.timeout')), this.#stall)
      const settle = (): void => {
        clearTimeout(timer)
        stream.off('drain', settle)
        stream.off('close', settle)
        if (stream.destroyed) reject(new PartylineError('peer.reset'))
        else resolve()
      }
      stream.on('drain', settle)
      stream.on('close', settle)
    })
  }
}

/** A file that is offered. It remembers states of its hash, so that resuming does not read it from the beginning. */
export class FileSource {
  readonly #path: string
  readonly #entry: ManifestFile
  readonly #checkpoints: { readonly offset: number; readonly hash: Hash }[] = []

  constructor(path: string, entry: ManifestFile) {
    this.#path = path
    this.#entry = entry
  }

  /**
   * Writes the file's section from `offset` on; resolves with the hash, or with undefined when the file is not any more what
   * the manifest says. `onBytes` is told the position reached and how many bytes went.
   */
  async send(
    outlet: Outlet,
    offset: number,
    onBytes: (position: number, moved: number) => void,
  ): Promise<Buffer | undefined> {
    const handle = await open(this.#path, constants.O_RDONLY | (constants.O_NOFOLLOW ?? 0)).catch(() => undefined)
    if (!handle) return await this.#sayChanged(outlet)
    try {
      if (!(await this.#isUnchanged(handle))) return await this.#sayChanged(outlet)
      const hash = await this.#hashPrefix(handle, offset, outlet)
      if (!hash) return await this.#sayChanged(outlet)
      await outlet.write(Buffer.of(SECTION.follows))
      onBytes(offset, 0)
      await this.#sendBody(handle, hash, offset, outlet, onBytes)
      if (!(await this.#isUnchanged(handle))) return await this.#sayChanged(outlet)
      const digest = hash.digest()
      await outlet.write(Buffer.concat([Buffer.of(SECTION.follows), digest]))
      return digest
    } finally {
      await handle.close()
    }
  }

  async #sayChanged(outlet: Outlet): Promise<undefined> {
    this.#checkpoints.length = 0
    await outlet.write(Buffer.of(SECTION.changed))
  }

  async #isUnchanged(handle: FileHandle): Promise<boolean> {
    const facts = await handle.stat()
    return facts.isFile() && facts.size === this.#entry.size && Math.floor(facts.mtimeMs) === this.#entry.mtime
  }

  /** The hash of what lies before `offset`; undefined when the file is shorter than that. */
  async #hashPrefix(handle: FileHandle, offset: number, outlet: Outlet): Promise<Hash | undefined> {
    const known = this.#checkpoints.findLast((checkpoint) => checkpoint.offset <= offset)
    const hash = known ? known.hash.copy() : createHash('sha256')
    let told = performance.now()
    for (let position = known?.offset ?? 0; position < offset; ) {
      const chunk = await readChunk(handle, position, offset)
      if (chunk.length === 0) return undefined
      hash.update(chunk)
      position += chunk.length
      this.#remember(position, hash)
      if (performance.now() - told < BUSY_INTERVAL) continue
      told = performance.now()
      await outlet.write(Buffer.of(SECTION.busy))
      await outlet.flush()
    }
    return hash
  }

  /** The next chunk is read while this one is hashed and written. */
  async #sendBody(
    handle: FileHandle,
    hash: Hash,
    offset: number,
    outlet: Outlet,
    onBytes: (position: number, moved: number) => void,
  ): Promise<void> {
    const { size } = this.#entry
    let next = readChunk(handle, offset, size)
    for (let position = offset; position < size; ) {
      const chunk = await next
      // What the receiver counts on cannot be sent any more: the stream has to break.
      if (chunk.length === 0) throw new PartylineError('local.file', `${this.#path} became shorter while it was sent`)
      position += chunk.length
      next = readChunk(handle, position, size)
      next.catch(() => {})
      hash.update(chunk)
      this.#remember(position, hash)
      await outlet.write(chunk)
      onBytes(position, chunk.length)
    }
    await next
  }

  #remember(position: number, hash: Hash): void {
    const distance = Math.max(CHECKPOINT, this.#entry.size / MAX_CHECKPOINTS)
    if (position - (this.#checkpoints.at(-1)?.offset ?? 0) < distance) return
    this.#checkpoints.push({ offset: position, hash: hash.copy() })
  }
}

async function readChunk(handle: FileHandle, position: number, end: number): Promise<Buffer> {
  const length = Math.min(CHUNK, end - position)
  if (length <= 0) return Buffer.alloc(0)
  const { bytesRead, buffer } = await handle.read(Buffer.allocUnsafe(length), 0, length, position)
  return buffer.subarray(0, bytesRead)
}
