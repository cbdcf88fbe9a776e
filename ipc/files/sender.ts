import { randomBytes } from 'node:crypto'
import type { Duplex } from 'node:stream'
import { setTimeout as sleep } from 'node:timers/promises'
import { PartylineError, toPartylineError } from '../../daemon/errors.ts'
import type { Milliseconds } from '../../daemon/types.ts'
import type { OfferView } from '../methods.ts'
import { type Collection, collectFiles } from './collect.ts'
import { EventQueue } from './event-queue.ts'
import { decodeRequest, type FilesRequest } from './fetch-protocol.ts'
import { FileSource, Outlet } from './file-source.ts'
import { encodeManifest, type ManifestFile, totalBytes } from './manifest.ts'
import { type Progress, ProgressMeter } from './progress.ts'
import {
  abortable,
  DEFAULT_TIMING,
  followDaemon,
  Patience,
  type TransferClient,
  type TransferTiming,
  Wakeup,
} from './transfer-client.ts'

/** Calls of `files.serve` that wait, and streams served at a time. */
const WAITING = 4
const MAX_SERVED = 16
/** How long an offer that is left is withdrawn at most. */
const WITHDRAW_PATIENCE: Milliseconds = 2000
/** Sources whose hash states are kept. */
const MAX_SOURCES = 64

export interface SendOptions {
  /** Petname, name, id or prefix of the receiver. */
  readonly peer: string
  /** Files and folders. */
  readonly paths: readonly string[]
  /** Takes the offer back. */
  readonly signal?: AbortSignal
  readonly timing?: Partial<TransferTiming>
}

/** What happens to an offer, as its sender sees it. */
export type SendEvent =
  | { readonly kind: 'warning'; readonly message: string }
  | { readonly kind: 'offered'; readonly offer: OfferView }
  | { readonly kind: 'accepted'; readonly offer: OfferView }
  | Progress
  | {
      readonly kind: 'file'
      readonly offer: string
      readonly file: string
      readonly bytes: number
      readonly sha256: string
      readonly elapsed: Milliseconds
    }
  | {
      readonly kind: 'done'
      readonly offer: string
      /** Name of the offer, and the hash where it is one file. */
      readonly file: string
      readonly sha256?: string
      readonly files: number
      readonly bytes: number
      readonly elapsed: Milliseconds
    }

/**
 * Offers files and folders to a peer and serves them until it has everything. The iteration ends after `done`; it throws
 * `local.file`, `policy.refused`, `peer.no-offer` when another app took the offer back, `peer.reset` when the receiver gave up,
 * and what reaching the peer throws. Leaving the iteration, or aborting `signal`, takes the offer back and ends it quietly.
 */
export async function* sendFiles(
  client: TransferClient,
  options: SendOptions,
): AsyncGenerator<SendEvent, void, undefined> {
  const collection = await collectFiles(options.paths)
  const stop = new AbortController()
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal
  const queue = new EventQueue<SendEvent>()
  const sending = new Sending(client, options, collection, queue, signal)
  const running = sending.run().then(
    () => queue.end(),
    (error: unknown) => queue.end(signal.aborted ? {} : { error }),
  )
  try {
    yield* queue.read()
  } finally {
    stop.abort()
    queue.end()
    await running
  }
}

class Sending {
  readonly #client: TransferClient
  readonly #options: SendOptions
  readonly #timing: TransferTiming
  readonly #collection: Collection
  readonly #queue: EventQueue<SendEvent>
  readonly #signal: AbortSignal
  readonly #id = randomBytes(10).toString('hex')
  readonly #manifest: Buffer
  readonly #files: readonly { readonly entry: ManifestFile; readonly path: string }[]
  readonly #meter: ProgressMeter
  readonly #news = new Wakeup()
  readonly #over = new AbortController()
  readonly #sources = new Map<number, FileSource>()
  /** When each file was first asked for. */
  readonly #begun = new Map<number, Milliseconds>()
  readonly #reported = new Set<number>()
  #served = 0
  #lastHash = ''

  constructor(
    client: TransferClient,
    options: SendOptions,
    collection: Collection,
    queue: EventQueue<SendEvent>,
    signal: AbortSignal,
  ) {
    this.#client = client
    this.#options = options
    this.#timing = { ...DEFAULT_TIMING, ...options.timing }
    this.#collection = collection
    this.#queue = queue
    this.#signal = signal
    this.#manifest = encodeManifest(collection.entries)
    this.#files = collection.entries.flatMap((entry, index) =>
      entry.kind === 'file' ? [{ entry, path: collection.sources[index] ?? '' }] : [],
    )
    const facts = { offer: this.#id, files: this.#files.length, total: totalBytes(collection.entries) }
    this.#meter = new ProgressMeter(facts, (progress) => queue.offer(progress))
  }

  async run(): Promise<void> {
    for (const message of this.#collection.warnings) await this.#queue.push({ kind: 'warning', message })
    this.#signal.throwIfAborted()
    const began = performance.now()
    const offered = await this.#offer()
    await this.#queue.push({ kind: 'offered', offer: offered })
    const over = this.#over.signal
    void followDaemon(this.#client, this.#news, this.#timing, over)
    for (let index = 0; index < WAITING; index++) void this.#serveAlways(over)
    try {
      await this.#untilEnded(offered)
    } finally {
      this.#over.abort()
      if (this.#signal.aborted) await this.#withdraw()
    }
    await this.#queue.push({
      kind: 'done',
      offer: this.#id,
      file: offered.name,
      ...(this.#files.length === 1 && { sha256: this.#lastHash }),
      files: this.#files.length,
      bytes: totalBytes(this.#collection.entries),
      elapsed: performance.now() - began,
    })
  }

  /** The same id again tells how the offer stands, and offers it again to a daemon that was restarted. */
  #offer(): Promise<OfferView> {
    const { peer } = this.#options
    const [first, ...others] = this.#collection.entries.filter(({ path }) => !path.includes('/'))
    const name = others.length === 0 ? (first?.path ?? 'nothing') : `${first?.path} and ${others.length} more`
    return this.#client.call('files.offer', {
      peer,
      offer: this.#id,
      name: name.slice(0, 255).toWellFormed(),
      files: this.#files.length,
      bytes: totalBytes(this.#collection.entries),
    })
  }

  /** Best effort: a daemon that is away withdraws the offer itself when this app does not come back. */
  async #withdraw(): Promise<void> {
    const withdrawn = this.#client.call('files.withdraw', { offer: this.#id }).catch(() => {})
    await Promise.race([withdrawn, sleep(WITHDRAW_PATIENCE)])
  }

  async #untilEnded(offered: OfferView): Promise<void> {
    const patience = new Patience(this.#timing, this.#news, this.#signal)
    let { state } = offered
    for (;;) {
      if (state === 'done') return
      if (state === 'refused') throw new PartylineError('policy.refused', 'the offer was refused')
      if (state === 'withdrawn') throw new PartylineError('peer.no-offer', 'the offer was taken back')
      if (state === 'failed') throw new PartylineError('peer.reset', 'the receiver could not take everything')
      await this.#news.wait(this.#timing.poll, this.#signal)
      this.#signal.throwIfAborted()
      const offer = await patience.run(() => abortable(this.#offer(), this.#signal))
      patience.progressed()
      if (offer.state === 'accepted' && state === 'offered') await this.#queue.push({ kind: 'accepted', offer })
      state = offer.state
    }
  }

  /** Takes one stream after the other, until the offer is over. */
  async #serveAlways(over: AbortSignal): Promise<void> {
    while (!over.aborted) {
      try {
        const { socket, meta } = await this.#client.serveOffer(this.#id, over)
        const serving = this.#serve(socket, meta)
        if (this.#served >= MAX_SERVED) await serving
      } catch {
        await this.#news.wait(this.#timing.firstPause, over)
      }
    }
  }

  /** Never rejects: a receiver whose stream breaks asks again. */
  async #serve(socket: Duplex, meta: string): Promise<void> {
    this.#served++
    socket.on('error', () => {})
    socket.resume()
    try {
      const request = decodeRequest(meta)
      const outlet = new Outlet(socket, 3 * this.#timing.stall)
      if ('manifest' in request) await this.#sendManifest(outlet)
      else await this.#sendFiles(outlet, request)
      await outlet.flush()
      socket.end()
    } catch (error) {
      socket.destroy(toPartylineError(error))
    } finally {
      this.#served--
    }
  }

  async #sendManifest(outlet: Outlet): Promise<void> {
    const length = Buffer.alloc(4)
    length.writeUInt32BE(this.#manifest.length)
    await outlet.write(length)
    for (let at = 0; at < this.#manifest.length; at += 2 ** 20)
      await outlet.write(this.#manifest.subarray(at, at + 2 ** 20))
  }

  async #sendFiles(outlet: Outlet, { from, count, offset }: FilesRequest): Promise<void> {
    if (from + count > this.#files.length) throw new PartylineError('peer.malformed', 'there are not so many files')
    for (let index = from; index < from + count; index++) {
      const size = this.#files[index]?.entry.size ?? 0
      const start = offset === 'end' ? size : index === from ? offset : 0
      if (start > size) throw new PartylineError('peer.malformed', 'the file is not that long')
      await this.#sendFile(outlet, index, start)
    }
  }

  async #sendFile(outlet: Outlet, index: number, start: number): Promise<void> {
    const file = this.#files[index]
    if (!file) return
    const { entry } = file
    const began = this.#begun.get(index) ?? performance.now()
    this.#begun.set(index, began)
    const source = this.#sourceOf(index, file.path, entry)
    const hash = await source.send(outlet, start, (position, moved) =>
      this.#meter.at(entry.path, index, position, moved),
    )
    if (!hash) {
      await this.#queue.push({ kind: 'warning', message: `${file.path} changed after it was offered` })
      return
    }
    if (this.#reported.has(index)) return
    this.#reported.add(index)
    this.#lastHash = hash.toString('hex')
    await this.#queue.push({
      kind: 'file',
      offer: this.#id,
      file: entry.path,
      bytes: entry.size,
      sha256: this.#lastHash,
      elapsed: performance.now() - began,
    })
  }

  #sourceOf(index: number, path: string, entry: ManifestFile): FileSource {
    const known = this.#sources.get(index)
    this.#sources.delete(index)
    const source = known ?? new FileSource(path, entry)
    this.#sources.set(index, source)
    const [oldest] = this.#sources.keys()
    if (this.#sources.size > MAX_SOURCES && oldest !== undefined) this.#sources.delete(oldest)
    return source
  }
}
