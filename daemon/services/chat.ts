import { randomBytes } from 'node:crypto'
import * as z from 'zod'
import type { Publish } from '../../ipc/api.ts'
import type { ChatLine } from '../../ipc/methods.ts'
import { cleanChat } from '../clean-text.ts'
import type { Clock, Timer } from '../clock.ts'
import { PartylineError, toPartylineError } from '../errors.ts'
import type { Refusals } from '../refusals.ts'
import { MAX_SIGNAL, type SignalExchange } from '../signaling/signaller.ts'
import { TokenBuckets } from '../token-bucket.ts'
import type { ContactId, Milliseconds, PeerId, UnixMilliseconds } from '../types.ts'
import { isContactId } from '../xmpp/contacts.ts'
import type { ChatHistory } from './chat-history.ts'
import type { ContactChat } from './contact-chat.ts'
import type { DaemonMessages } from './files.ts'

/** The channel of chat lines; the daemon itself takes them, so that no app has to run for a line to arrive. */
const CHAT_CHANNEL = 'partyline.chat'
/** Longest chat line, in bytes of UTF-8. */
const MAX_CHAT_TEXT = 4096
/** Largest message that carries a line: JSON may write a character as six. */
export const MAX_CHAT_MESSAGE = 8 * MAX_CHAT_TEXT
/** Lines given to an app that does not say how many it wants. */
const DEFAULT_LIMIT = 100
/** Ids of lines remembered, so that one sent again after a lost answer is shown once. */
const MAX_IDS = 1000
/** Topics of signals that carry a line, and the id of one that arrived. */
const CHAT_TOPIC = 'chat'
const ACK_TOPIC = 'chat-ack'
/** When a line is sent as a signal, and when that is given up. */
const SIGNAL_TIMES: readonly Milliseconds[] = [0, 1000, 3000]
const SIGNAL_PATIENCE: Milliseconds = 6000
const MAX_UNACKNOWLEDGED = 1000
/** Lines taken from one sender that no session slows down. */
const LINES = { rate: 10, burst: 30, keys: 4096 }
/** Lines taken from one peer through its session: nobody writes more, and each is kept in place of another. */
const SESSION_LINES = { rate: 20, burst: 200, keys: 4096 }
/** Word of one contact that it is writing, or stopped to. */
const STATES = { rate: 2, burst: 10, keys: 4096 }

const chatMessage = z.object({
  text: z.string().min(1).max(MAX_CHAT_TEXT),
  id: z.string().regex(/^[a-z0-9]{16,32}$/),
  at: z.number().nonnegative().max(Number.MAX_SAFE_INTEGER),
})

interface ChatServiceOptions {
  readonly clock: Clock
  readonly refusals: Refusals
  readonly publish: Publish
  readonly messages: DaemonMessages
  readonly signals: SignalExchange
  readonly contacts: ContactChat
  readonly isBlocked: (peer: PeerId) => boolean
  /** True where there is a session with the peer, or an address to dial it at. */
  readonly hasWay: (peer: PeerId) => boolean
  readonly history: ChatHistory
}

/**
 * Chat lines: between hosts through their encrypted session, or sealed through a signaller where there is no way to a session; with plain XMPP
 * clients in the clear.
 */
export class ChatService {
  readonly #options: ChatServiceOptions
  readonly #ids = new Set<string>()
  readonly #rates = new TokenBuckets(LINES)
  readonly #sessionRates = new TokenBuckets(SESSION_LINES)
  readonly #states = new TokenBuckets(STATES)
  /** Lines sent as signals that nobody has acknowledged, by id. */
  readonly #unacknowledged = new Map<string, { readonly peer: PeerId; readonly arrived: () => void }>()

  constructor(options: ChatServiceOptions) {
    this.#options = options
    options.messages.handle(CHAT_CHANNEL, (peer, data) => this.#received(peer, data, 'session'))
    options.signals.handle(CHAT_TOPIC, (peer, content) => this.#signalled(peer, content))
    options.signals.handle(ACK_TOPIC, (peer, content) => {
      const entry = this.#unacknowledged.get(Buffer.from(content).toString('latin1'))
      if (entry?.peer === peer) entry.arrived()
    })
  }

  /**
   * Sends a line; resolves when the other daemon has it, or, for a plain XMPP client, when it has been handed over. Throws
   * `usage.invalid-argument`, `usage.too-large`, `policy.blocked` and what reaching it throws.
   */
  async send(to: PeerId | ContactId, text: string): Promise<ChatLine> {
    const { clock, contacts, isBlocked } = this.#options
    const clean = cleanChat(text)
    if (clean === '') throw new PartylineError('usage.invalid-argument', 'the line is empty')
    if (Buffer.byteLength(clean) > MAX_CHAT_TEXT)
      throw new PartylineError('usage.too-large', `a chat line takes at most ${MAX_CHAT_TEXT} bytes`)
    const line = { peer: to, direction: 'out', text: clean, at: clock.wall() } as const
    if (isContactId(to)) {
      const via = await contacts.send(to, clean)
      return this.#keep({ ...line, encrypted: false, via })
    }
    if (isBlocked(to)) throw new PartylineError('policy.blocked')
    const via = await this.#sendToHost(to, clean, line.at)
    return this.#keep({ ...line, encrypted: true, via })
  }

  /** The last lines, oldest first, of one peer or of all. */
  lines(peer?: PeerId | ContactId, limit: number = DEFAULT_LIMIT): ChatLine[] {
    return this.#options.history.lines(peer, limit)
  }

  /** A line came from somebody with a plain XMPP client, in the clear. */
  arrived(from: ContactId, text: string, via: 'lan' | 'hub'): void {
    const { clock, refusals } = this.#options
    const clean = cleanChat(text)
    if (clean === '') return
    if (Buffer.byteLength(clean) > MAX_CHAT_TEXT) return refusals.count('peer.oversized')
    if (!this.#rates.take(from, clock.now())) return refusals.count('peer.rate-limited')
    this.#keep({ peer: from, direction: 'in', text: clean, at: clock.wall(), encrypted: false, via })
  }

  /** Tells a plain XMPP client that the user is writing, or stopped to; hosts are not told. */
  compose(to: PeerId | ContactId, composing: boolean): void {
    if (isContactId(to)) this.#options.contacts.composing(to, composing)
  }

  /** Somebody is writing, or stopped to; who says so without end is not listened to. */
  composing(peer: PeerId | ContactId, composing: boolean): void {
    if (!this.#states.take(peer, this.#options.clock.now())) return this.#options.refusals.count('peer.rate-limited')
    this.#options.publish('chat.state', { peer, composing })
  }

  async #sendToHost(peer: PeerId, text: string, at: UnixMilliseconds): Promise<'session' | 'signal'> {
    const { messages, signals, hasWay } = this.#options
    const id = randomBytes(10).toString('hex')
    const content = Buffer.from(JSON.stringify({ text, id, at }))
    try {
      if (!hasWay(peer) && signals.reaches(peer).length > 0) throw new PartylineError('network.unreachable')
      await messages.send(peer, CHAT_CHANNEL, content)
      return 'session'
    } catch (error) {
      const { code } = toPartylineError(error)
      if (!code.startsWith('network.') || signals.reaches(peer).length === 0) throw error
      await this.#sendAsSignal(peer, id, content, error)
      return 'signal'
    }
  }

  /** Signals may be lost: a line is sent again until the other side says that it has it. */
  #sendAsSignal(peer: PeerId, id: string, content: Uint8Array, reason: unknown): Promise<void> {
    const { clock, signals } = this.#options
    if (content.length > MAX_SIGNAL)
      throw new PartylineError(
        'usage.too-large',
        'there is no direct link, and the line is too long to go without one',
        {
          hint: 'Send it in two.',
        },
      )
    if (this.#unacknowledged.size >= MAX_UNACKNOWLEDGED) throw new PartylineError('local.limit')
    return new Promise((resolve, reject) => {
      const timers: Timer[] = []
      const settle = (end: () => void): void => {
        for (const timer of timers) timer.cancel()
        this.#unacknowledged.delete(id)
        end()
      }
      this.#unacknowledged.set(id, { peer, arrived: () => settle(resolve) })
      for (const delay of SIGNAL_TIMES) timers.push(clock.after(delay, () => signals.send(peer, CHAT_TOPIC, content)))
      timers.push(clock.after(SIGNAL_PATIENCE, () => settle(() => reject(reason))))
    })
  }

  #signalled(peer: PeerId, content: Uint8Array): void {
    const { clock, refusals, signals } = this.#options
    try {
      if (!this.#rates.take(peer, clock.now())) throw new PartylineError('peer.rate-limited')
      const id = this.#take(peer, content, 'signal')
      signals.send(peer, ACK_TOPIC, Buffer.from(id, 'latin1'))
    } catch (error) {
      refusals.count(toPartylineError(error).code)
    }
  }

  #received(peer: PeerId, data: Uint8Array, via: 'session'): void {
    const { clock, refusals } = this.#options
    try {
      if (!this.#sessionRates.take(peer, clock.now())) throw new PartylineError('peer.rate-limited')
      this.#take(peer, data, via)
    } catch (error) {
      refusals.count(toPartylineError(error).code)
      throw error
    }
  }

  /** Keeps a line of a host unless it came before; gives its id. */
  #take(peer: PeerId, data: Uint8Array, via: 'session' | 'signal'): string {
    const { clock, isBlocked } = this.#options
    if (isBlocked(peer)) throw new PartylineError('policy.blocked')
    const { text, id } = decodeChat(data)
    // The moment of arrival: hosts without a time server disagree about the time.
    if (!this.#isRepeated(`${peer} ${id}`))
      this.#keep({ peer, direction: 'in', text, at: clock.wall(), encrypted: true, via })
    return id
  }

  #isRepeated(id: string): boolean {
    if (this.#ids.has(id)) return true
    this.#ids.add(id)
    const [oldest] = this.#ids
    if (this.#ids.size > MAX_IDS && oldest !== undefined) this.#ids.delete(oldest)
    return false
  }

  #keep(line: ChatLine): ChatLine {
    this.#options.history.add(line)
    this.#options.publish('chat.received', { line })
    return line
  }
}

/** Reads what a peer sent. Throws `peer.oversized` or `peer.malformed`. */
export function decodeChat(data: Uint8Array): { text: string; id: string } {
  if (data.byteLength > MAX_CHAT_MESSAGE) throw new PartylineError('peer.oversized')
  const parsed = chatMessage.safeParse(parseJson(data))
  if (!parsed.success) throw new PartylineError('peer.malformed')
  const text = cleanChat(parsed.data.text)
  if (text === '') throw new PartylineError('peer.malformed', 'an empty chat line')
  if (Buffer.byteLength(text) > MAX_CHAT_TEXT) throw new PartylineError('peer.oversized')
  return { text, id: parsed.data.id }
}

function parseJson(data: Uint8Array): unknown {
  try {
    return JSON.parse(new TextDecoder('utf-8', { fatal: true }).decode(data))
  } catch {
    return undefined
  }
}
