import { randomBytes } from 'node:crypto'
import { lstat } from 'node:fs/promises'
import { type ErrorCode, PartylineError } from '../../daemon/errors.ts'
import type { Milliseconds } from '../../daemon/types.ts'
import type { OfferView } from '../methods.ts'
import { type Batch, makeBatches, type Target } from './batches.ts'
import { encodeRequest, type FetchRequest, HASH_LENGTH, SECTION } from './fetch-protocol.ts'
import { asLocal, type InboxFolder } from './inbox-folder.ts'
import { decodeManifest, MAX_MANIFEST, type ManifestEntry, type ManifestFile } from './manifest.ts'
import { PartFile } from './part-file.ts'
import { type Progress, ProgressMeter } from './progress.ts'
import { StreamReader } from './stream-reader.ts'
import { abortable, Patience, type TransferClient, type TransferTiming, type Wakeup } from './transfer-client.ts'

/** Streams of one transfer at a time. */
const STREAMS = 4
/** Files looked for on disk at a time. */
const LOOKING = 8
/** How long a sender that has gone is told that everything arrived. */
const FINISH_PATIENCE: Milliseconds = 30_000

/** What happens to an offer that is taken. */
export type TransferEvent =
  | Progress
  | { readonly kind: 'waiting'; readonly offer: string; readonly code: ErrorCode; readonly message: string }
  | {
      readonly kind: 'file'
      readonly offer: string
      /** As the sender calls it, relative to what was offered. */
      readonly file: string
      /** Where it is. */
      readonly path: string
      readonly bytes: number
      readonly sha256: string
      readonly elapsed: Milliseconds
    }
  | {
      readonly kind: 'file-failed'
      readonly offer: string
      readonly file: string
      readonly code: ErrorCode
      readonly message: string
    }

/** What a transfer brought. */
export interface TransferSummary {
  readonly files: number
  readonly bytes: number
  readonly elapsed: Milliseconds
  /** Bits a second, over the whole of it. */
  readonly rate: number
}

interface TransferOptions {
  readonly client: TransferClient
  readonly offer: OfferView
  readonly inbox: InboxFolder
  /** Parts that transfers of this process write. */
  readonly partsInUse: Set<string>
  readonly timing: TransferTiming
  readonly news: Wakeup
  readonly signal: AbortSignal
  readonly emit: (event: TransferEvent) => Promise<void>
  /** For events that may be left out. */
  readonly hint: (event: TransferEvent) => void
}

/** Brings the files of one accepted offer into a folder, whatever breaks on the way. */
export class IncomingTransfer {
  readonly #options: TransferOptions
  readonly #stop = new AbortController()
  readonly #signal: AbortSignal
  readonly #patience: Patience
  readonly #failures: PartylineError[] = []
  readonly #open = new Set<Target>()
  #meter: ProgressMeter
  #batches: Batch[] = []
  #accepted = true

  constructor(options: TransferOptions) {
    const { timing, news, signal, offer } = options
    this.#options = options
    this.#signal = AbortSignal.any([signal, this.#stop.signal])
    this.#patience = new Patience(timing, news, this.#signal)
    this.#meter = new ProgressMeter({ offer: offer.offer, files: 0, total: 0 }, () => {})
  }

  /** Ends it: the sender took the offer back, say. What arrived stays, for another offer of the same files. */
  abort(error: PartylineError): void {
    this.#stop.abort(error)
  }

  /** Resolves when every file is whole and in its place. Throws why not; the sender is told. */
  async run(): Promise<TransferSummary> {
    const began = performance.now()
    try {
      const entries = await this.#patience.run(() => this.#fetchManifest(), this.#waiting)
      await this.#plan(entries)
      await this.#fetchAll()
      await this.#options.inbox.sync()
      const [failure] = this.#failures
      if (failure) throw failure
      await this.#finish(true)
      const elapsed = performance.now() - began
      const files = entries.filter(({ kind }) => kind === 'file').length
      const { bytes } = this.#meter
      return { files, bytes, elapsed, rate: elapsed > 0 ? Math.round((bytes * 8000) / elapsed) : 0 }
    } catch (error) {
      if (!this.#options.signal.aborted) await this.#finish(false)
      throw error
    } finally {
      for (const target of this.#open) await this.#leave(target)
    }
  }

  /** Tells the sender how it ended, as far as it can be reached; never throws. */
  async #finish(ok: boolean): Promise<void> {
    const { timing, news, offer, client, signal } = this.#options
    const patience = new Patience({ ...timing, patience: ok ? FINISH_PATIENCE : 0 }, news, signal)
    await patience
      .run(async () => {
        await this.#acceptAgain()
        await this.#noticingLoss(abortable(client.call('files.finish', { offer: offer.offer, ok }), signal))
      })
      .catch(() => {})
  }

  // Streams

  async #fetchManifest(): Promise<ManifestEntry[]> {
    const reader = await this.#ask({ manifest: true })
    try {
      const length = (await reader.exactly(4)).readUInt32BE()
      if (length > MAX_MANIFEST) throw new PartylineError('peer.oversized', 'the list of files is too large')
      const entries = decodeManifest(await reader.exactly(length))
      await reader.finish()
      return entries
    } finally {
      reader.destroy()
    }
  }

  async #ask(request: FetchRequest): Promise<StreamReader> {
    const { client, offer, timing } = this.#options
    await this.#acceptAgain()
    const opening = client.fetchOffer(offer.offer, encodeRequest(request))
    opening.then(({ socket }) => this.#signal.aborted && socket.destroy()).catch(() => {})
    const { socket } = await this.#noticingLoss(abortable(opening, this.#signal))
    return new StreamReader(socket, timing.stall, this.#signal)
  }

  /** A daemon that was restarted learns of the offer again from its sender, and that it is accepted from here. */
  async #acceptAgain(): Promise<void> {
    if (this.#accepted) return
    const { client, offer, signal } = this.#options
    await abortable(client.call('files.accept', { offer: offer.offer }), signal)
    this.#accepted = true
  }

  async #noticingLoss<T>(call: Promise<T>): Promise<T> {
    try {
      return await call
    } catch (error) {
      if (error instanceof PartylineError && error.code === 'peer.no-offer') this.#accepted = false
      throw error
    }
  }

  readonly #waiting = ({ code, message }: PartylineError): void =>
    this.#options.hint({ kind: 'waiting', offer: this.#options.offer.offer, code, message })

  // What is to be fetched

  async #plan(entries: readonly ManifestEntry[]): Promise<void> {
    const { inbox, offer, hint } = this.#options
    const files = entries.filter((entry) => entry.kind === 'file')
    const total = files.reduce((sum, { size }) => sum + size, 0)
    this.#meter = new ProgressMeter({ offer: offer.offer, files: files.length, total }, hint)
    for (const entry of entries) if (entry.kind === 'folder') await inbox.folder(entry.path)
    const planned = await mapSome(files, async (entry, index) => {
      this.#signal.throwIfAborted()
      const target = await this.#targetOf(entry, index)
      const verify = await inbox.mayBeHere(target.place, entry)
      const facts = verify ? undefined : await lstat(target.place.part).catch(() => undefined)
      return { target, verify, begun: facts?.size ?? 0 }
    })
    const missing = planned.reduce(
      (sum, { target, verify, begun }) => sum + (verify ? 0 : target.entry.size - begun),
      0,
    )
    await inbox.requireRoom(missing)
    this.#batches = makeBatches(planned)
  }

  async #targetOf(entry: ManifestFile, index: number): Promise<Target> {
    const place = await this.#options.inbox.place(entry)
    return { index, entry, place, part: undefined, mismatched: false, began: undefined }
  }

  async #fetchAll(): Promise<void> {
    const work = async (): Promise<void> => {
      for (let batch = this.#batches.shift(); batch; batch = this.#batches.shift()) await this.#fetch(batch)
    }
    const workers = Array.from({ length: STREAMS }, work)
    try {
      await Promise.all(workers)
    } catch (error) {
      this.#batches = []
      this.#stop.abort(error)
      await Promise.allSettled(workers)
      throw error
    }
  }

  async #fetch({ targets, verify }: Batch): Promise<void> {
    const left = [...targets]
    while (left.length > 0 && !this.#signal.aborted)
      await this.#patience.run(() => this.#fetchSome(left, verify), this.#waiting)
    this.#signal.throwIfAborted()
  }

  /** Takes what is done off the list. */
  async #fetchSome(left: Target[], verify: boolean): Promise<void> {
    const [first] = left
    if (!first) return
    const offset = verify ? 'end' : (await this.#partOf(first)).length
    const reader = await this.#ask({ from: first.index, count: left.length, offset })
    try {
      for (let target = left[0]; target; target = left[0]) {
        target.began ??= performance.now()
        if (verify) await this.#verify(reader, target)
        else await this.#receive(reader, target)
        left.shift()
        this.#patience.progressed()
      }
      await reader.finish()
    } finally {
      reader.destroy()
    }
  }

  // One file

  async #verify(reader: StreamReader, target: Target): Promise<void> {
    const { entry, place } = target
    if ((await readSection(reader)) === 'changed' || (await readSection(reader)) === 'changed')
      return await this.#failFile(target, changed())
    const hash = await reader.exactly(HASH_LENGTH)
    const own = await this.#options.inbox.hashOf(place, entry.size)
    if (own?.equals(hash)) {
      this.#meter.at(entry.path, target.index, entry.size)
      return await this.#fileDone(target, await this.#options.inbox.keep(place), hash)
    }
    this.#batches.push({ targets: [target], verify: false })
  }

  async #receive(reader: StreamReader, target: Target): Promise<void> {
    const { entry, index } = target
    if ((await readSection(reader)) === 'changed') return await this.#failFile(target, changed())
    const part = await this.#partOf(target)
    this.#meter.at(entry.path, index, part.length)
    try {
      while (part.length < entry.size) {
        const piece = await reader.some(entry.size - part.length)
        await asLocal(part.path, () => part.append(piece))
        this.#patience.progressed()
        this.#meter.at(entry.path, index, part.length, piece.length)
      }
    } finally {
      await asLocal(part.path, () => part.flush())
    }
    if ((await readSection(reader)) === 'changed') {
      await asLocal(part.path, () => part.restart())
      return await this.#failFile(target, changed())
    }
    const hash = await reader.exactly(HASH_LENGTH)
    if (!part.digest().equals(hash)) return await this.#mismatch(target, part)
    await this.#publish(target, part, hash)
  }

  /** Once, what an earlier attempt left may be the reason: it is fetched again from the beginning. */
  async #mismatch(target: Target, part: PartFile): Promise<void> {
    await asLocal(part.path, () => part.restart())
    this.#meter.at(target.entry.path, target.index, 0)
    if (target.mismatched) return await this.#failFile(target, new PartylineError('peer.hash-mismatch'))
    target.mismatched = true
    throw new PartylineError('peer.reset', 'the hash did not match; the file is fetched again')
  }

  async #publish(target: Target, part: PartFile, hash: Buffer): Promise<void> {
    const { inbox, partsInUse } = this.#options
    await asLocal(part.path, () => part.seal(target.entry))
    const path = await inbox.publish({ ...target.place, part: part.path })
    this.#open.delete(target)
    partsInUse.delete(part.path)
    target.part = undefined
    this.#meter.at(target.entry.path, target.index, target.entry.size)
    await this.#fileDone(target, path, hash)
  }

  async #fileDone({ entry, began = performance.now() }: Target, path: string, hash: Buffer): Promise<void> {
    await this.#options.emit({
      kind: 'file',
      offer: this.#options.offer.offer,
      file: entry.path,
      path,
      bytes: entry.size,
      sha256: hash.toString('hex'),
      elapsed: performance.now() - began,
    })
  }

  async #failFile(target: Target, error: PartylineError): Promise<void> {
    const { code, message } = error
    this.#failures.push(error)
    await this.#leave(target)
    await this.#options.emit({
      kind: 'file-failed',
      offer: this.#options.offer.offer,
      file: target.entry.path,
      code,
      message,
    })
  }

  /** The part of a file; two offers of the same file do not write to the same one. */
  async #partOf(target: Target): Promise<PartFile> {
    if (target.part) return target.part
    const { partsInUse } = this.#options
    const { part } = target.place
    const path = partsInUse.has(part)
      ? part.replace(/\.[0-9a-f]{16}(?=\.[^.]*$)/, `.${randomBytes(8).toString('hex')}`)
      : part
    partsInUse.add(path)
    this.#open.add(target)
    try {
      target.part = await asLocal(path, () => PartFile.open(path, target.entry.size))
      return target.part
    } catch (error) {
      partsInUse.delete(path)
      throw error
    }
  }

  async #leave(target: Target): Promise<void> {
    const { part } = target
    this.#open.delete(target)
    target.part = undefined
    if (!part) return
    await part.leave()
    this.#options.partsInUse.delete(part.path)
  }
}

function changed(): PartylineError {
  return new PartylineError('peer.reset', 'the file changed at the sender after it was offered', {
    hint: 'Ask the sender to offer it again.',
  })
}

async function readSection(reader: StreamReader): Promise<'follows' | 'changed'> {
  for (;;) {
    const [section] = await reader.exactly(1)
    if (section === SECTION.follows) return 'follows'
    if (section === SECTION.changed) return 'changed'
    if (section !== SECTION.busy) throw new PartylineError('peer.malformed', 'the sender answers in an unknown way')
  }
}

/** Like `Promise.all` over `map`, with a few at a time. */
async function mapSome<T, R>(items: readonly T[], work: (item: T, index: number) => Promise<R>): Promise<R[]> {
  const results: R[] = []
  let next = 0
  const worker = async (): Promise<void> => {
    for (let index = next++; index < items.length; index = next++) {
      const item = items[index]
      if (item !== undefined) results[index] = await work(item, index)
    }
  }
  await Promise.all(Array.from({ length: LOOKING }, worker))
  return results
}
