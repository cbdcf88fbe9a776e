import { type ErrorCode, PartylineError, toPartylineError } from '../../daemon/errors.ts'
import type { OfferView } from '../methods.ts'
import { EventQueue } from './event-queue.ts'
import { InboxFolder } from './inbox-folder.ts'
import { IncomingTransfer, type TransferEvent, type TransferSummary } from './incoming-transfer.ts'
import {
  abortable,
  DEFAULT_TIMING,
  followDaemon,
  Patience,
  type TransferClient,
  type TransferTiming,
  Wakeup,
} from './transfer-client.ts'

/** Offers received at a time; the others wait. */
const MAX_ACTIVE = 4
/** Offers remembered, decided or ended. */
const MAX_REMEMBERED = 10_000

export interface ReceiveOptions {
  /** Where files go; made if need be. */
  readonly dir: string
  /** Whose offers are taken: everyone's, those of trusted peers, or those `ask` says yes to. */
  readonly accept: 'all' | 'trusted' | 'ask'
  readonly ask?: (offer: OfferView) => Promise<boolean>
  /** End after one offer. */
  readonly once?: boolean
  /** Ends quietly; what is half received goes on next time. */
  readonly signal?: AbortSignal
  readonly timing?: Partial<TransferTiming>
}

/** What happens to offers, as their receiver sees it. */
export type ReceiveEvent =
  | { readonly kind: 'offer'; readonly offer: OfferView }
  | { readonly kind: 'accepted'; readonly offer: OfferView }
  | { readonly kind: 'refused'; readonly offer: OfferView }
  | TransferEvent
  | ({ readonly kind: 'done'; readonly offer: string } & TransferSummary)
  | { readonly kind: 'failed'; readonly offer: string; readonly code: ErrorCode; readonly message: string }

/**
 * Takes offers and brings their files into a folder, until the iteration is left, `signal` aborts, or one offer ended with `once`.
 * What goes wrong with an offer is its `failed` event; the iteration itself throws `local.file` where the folder cannot be used,
 * and `local.no-daemon` where the daemon does not come back.
 */
export async function* receiveFiles(
  client: TransferClient,
  options: ReceiveOptions,
): AsyncGenerator<ReceiveEvent, void, undefined> {
  const stop = new AbortController()
  const signal = options.signal ? AbortSignal.any([options.signal, stop.signal]) : stop.signal
  const queue = new EventQueue<ReceiveEvent>()
  const running = new Receiving(client, options, queue, signal).run().then(
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

type Outcome = 'done' | 'failed'

class Receiving {
  readonly #client: TransferClient
  readonly #options: ReceiveOptions
  readonly #timing: TransferTiming
  readonly #queue: EventQueue<ReceiveEvent>
  readonly #signal: AbortSignal
  readonly #news = new Wakeup()
  readonly #partsInUse = new Set<string>()
  readonly #active = new Map<string, { transfer: IncomingTransfer | undefined; ended: Promise<void> }>()
  readonly #shown = new Recent<true>(MAX_REMEMBERED)
  readonly #decisions = new Recent<boolean>(MAX_REMEMBERED)
  readonly #outcomes = new Recent<Outcome>(MAX_REMEMBERED)
  #lastAnswer: Promise<boolean> = Promise.resolve(false)
  #onceOver = false

  constructor(client: TransferClient, options: ReceiveOptions, queue: EventQueue<ReceiveEvent>, signal: AbortSignal) {
    this.#client = client
    this.#options = options
    this.#timing = { ...DEFAULT_TIMING, ...options.timing }
    this.#queue = queue
    this.#signal = signal
  }

  async run(): Promise<void> {
    const { dir } = this.#options
    await InboxFolder.open(dir, '')
    const over = new AbortController()
    void followDaemon(this.#client, this.#news, this.#timing, AbortSignal.any([this.#signal, over.signal]))
    try {
      while (!this.#onceOver) {
        const patience = new Patience(this.#timing, this.#news, this.#signal)
        const offers = await patience.run(() => abortable(this.#client.call('files.list', {}), this.#signal))
        for (const offer of offers) if (offer.direction === 'in') await this.#look(offer)
        if (!this.#onceOver) await this.#news.wait(this.#timing.poll, this.#signal)
      }
    } finally {
      over.abort()
      await Promise.all([...this.#active.values()].map(({ ended }) => ended))
    }
  }

  async #look(offer: OfferView): Promise<void> {
    const { state } = offer
    const active = this.#active.get(offer.offer)
    if (active) {
      if (state === 'withdrawn')
        active.transfer?.abort(new PartylineError('peer.no-offer', 'the sender took the offer back'))
      return
    }
    if (state !== 'offered' && state !== 'accepted') return
    const outcome = this.#outcomes.get(offer.offer)
    if (outcome === 'done') return await this.#finishAgain(offer)
    if (outcome === 'failed') return
    if (this.#options.once && this.#active.size > 0) return
    if (this.#active.size >= MAX_ACTIVE) return
    if (!this.#shown.get(offer.offer)) {
      this.#shown.set(offer.offer, true)
      await this.#queue.push({ kind: 'offer', offer })
    }
    if (this.#options.accept === 'trusted' && !(await this.#isTrusted(offer))) return
    if (this.#decisions.get(offer.offer) !== false) this.#begin(offer)
  }

  /** Everything had arrived, but a daemon was killed before the sender learned of it. */
  async #finishAgain({ offer }: OfferView): Promise<void> {
    try {
      await this.#client.call('files.accept', { offer })
      await this.#client.call('files.finish', { offer, ok: true })
    } catch {
      // The next look at the offers tries again.
    }
  }

  async #isTrusted({ peer }: OfferView): Promise<boolean> {
    const facts = await this.#client.call('peers.get', { peer }).catch(() => undefined)
    return facts?.trust === 'trusted'
  }

  #begin(offer: OfferView): void {
    const entry: { transfer: IncomingTransfer | undefined; ended: Promise<void> } = {
      transfer: undefined,
      ended: Promise.resolve(),
    }
    this.#active.set(offer.offer, entry)
    entry.ended = this.#decide(offer)
      .then(async (yes) => {
        if (yes) await this.#receive(offer, entry)
      })
      .catch(() => {
        // It cannot be accepted now: another app has it, or its sender is away. The next look tries again.
      })
      .finally(() => {
        this.#active.delete(offer.offer)
        this.#news.wake()
      })
  }

  /** Asks once, and tells the sender of a no. */
  async #decide(offer: OfferView): Promise<boolean> {
    if (this.#options.accept !== 'ask') return true
    const before = this.#decisions.get(offer.offer)
    if (before !== undefined) return before
    const yes = await this.#ask(offer)
    if (this.#signal.aborted) return false
    this.#decisions.set(offer.offer, yes)
    if (yes) return true
    await this.#client.call('files.refuse', { offer: offer.offer })
    await this.#queue.push({ kind: 'refused', offer: { ...offer, state: 'refused' } })
    return false
  }

  /** One question at a time. */
  async #ask(offer: OfferView): Promise<boolean> {
    const { ask } = this.#options
    if (!ask) return false
    const answer = this.#lastAnswer.then(() => !this.#signal.aborted && ask(offer))
    this.#lastAnswer = answer.catch(() => false)
    return await answer
  }

  async #receive(seen: OfferView, entry: { transfer: IncomingTransfer | undefined }): Promise<void> {
    const offer = await this.#client.call('files.accept', { offer: seen.offer })
    await this.#queue.push({ kind: 'accepted', offer })
    const id = offer.offer
    try {
      const transfer = await this.#transferOf(offer)
      entry.transfer = transfer
      const summary = await transfer.run()
      this.#outcomes.set(id, 'done')
      await this.#queue.push({ kind: 'done', offer: id, ...summary })
    } catch (error) {
      if (this.#signal.aborted) return
      const { code, message } = toPartylineError(error)
      this.#outcomes.set(id, 'failed')
      await this.#queue.push({ kind: 'failed', offer: id, code, message })
    } finally {
      if (this.#options.once) this.#onceOver = true
    }
  }

  async #transferOf(offer: OfferView): Promise<IncomingTransfer> {
    return new IncomingTransfer({
      client: this.#client,
      offer,
      inbox: await InboxFolder.open(this.#options.dir, offer.peer),
      partsInUse: this.#partsInUse,
      timing: this.#timing,
      news: this.#news,
      signal: this.#signal,
      emit: (event) => this.#queue.push(event),
      hint: (event) => this.#queue.offer(event),
    })
  }
}

/** A map that forgets its oldest entries. */
class Recent<V> {
  readonly #limit: number
  readonly #values = new Map<string, V>()

  constructor(limit: number) {
    this.#limit = limit
  }

  get(key: string): V | undefined {
    return this.#values.get(key)
  }

  set(key: string, value: V): void {
    this.#values.set(key, value)
    const [oldest] = this.#values.keys()
    if (this.#values.size > this.#limit && oldest !== undefined) this.#values.delete(oldest)
  }
}
