import { randomBytes } from 'node:crypto'
import { z } from 'zod'
import type { Publish } from '../../ipc/api.ts'
import type { ChatLine } from '../../ipc/methods.ts'
import type { Clock } from '../clock.ts'
import { PartylineError, toPartylineError } from '../errors.ts'
import type { Refusals } from '../refusals.ts'
import type { PeerId } from '../types.ts'
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
  readonly isBlocked: (peer: PeerId) => boolean
  /** Lines kept in memory (setting `chat.keep`). */
  readonly keep: () => number
}

/** Chat lines between hosts, through their encrypted sessions. */
export class ChatService {
  readonly #options: ChatServiceOptions
  #lines: ChatLine[] = []
  readonly #ids = new Set<string>()

  constructor(options: ChatServiceOptions) {
    this.#options = options
    options.messages.handle(CHAT_CHANNEL, (peer, data) => this.#received(peer, data))
  }

  /** Sends a line; resolves when the peer's daemon has it. Throws `usage.too-large`, `policy.blocked` and what reaching it throws. */
  async send(peer: PeerId, text: string): Promise<ChatLine> {
    const { clock, messages, isBlocked } = this.#options
    const clean = cleanLine(text)
    if (clean === '') throw new PartylineError('usage.invalid-argument', 'the line is empty')
    if (Buffer.byteLength(clean) > MAX_CHAT_TEXT)
      throw new PartylineError('usage.too-large', `a chat line takes at most ${MAX_CHAT_TEXT} bytes`)
    if (isBlocked(peer)) throw new PartylineError('policy.blocked')
    const at = clock.wall()
    const content = { text: clean, id: randomBytes(10).toString('hex'), at }
    await messages.send(peer, CHAT_CHANNEL, Buffer.from(JSON.stringify(content)))
    return this.#keep({ peer, direction: 'out', text: clean, at, encrypted: true })
  }

  /** The last lines, oldest first, of one peer or of all. */
  history(peer?: PeerId, limit: number = DEFAULT_LIMIT): ChatLine[] {
    const lines = peer === undefined ? this.#lines : this.#lines.filter((line) => line.peer === peer)
    return lines.slice(-limit)
  }

  #received(peer: PeerId, data: Uint8Array): void {
    const { clock, refusals, isBlocked } = this.#options
    try {
      if (isBlocked(peer)) throw new PartylineError('policy.blocked')
      const { text, id } = decodeChat(data)
      if (this.#isRepeated(`${peer} ${id}`)) return
      // The moment of arrival: hosts without a time server disagree about the time.
      this.#keep({ peer, direction: 'in', text, at: clock.wall(), encrypted: true })
    } catch (error) {
      refusals.count(toPartylineError(error).code)
      throw error
    }
  }

  #isRepeated(id: string): boolean {
    if (this.#ids.has(id)) return true
    this.#ids.add(id)
    const [oldest] = this.#ids
    if (this.#ids.size > MAX_IDS && oldest !== undefined) this.#ids.delete(oldest)
    return false
  }

  #keep(line: ChatLine): ChatLine {
    this.#lines.push(line)
    const excess = this.#lines.length - this.#options.keep()
    if (excess > 0) this.#lines.splice(0, excess)
    this.#options.publish('chat.received', { line })
    return line
  }
}

/** Reads what a peer sent. Throws `peer.oversized` or `peer.malformed`. */
export function decodeChat(data: Uint8Array): { text: string; id: string } {
  if (data.byteLength > MAX_CHAT_MESSAGE) throw new PartylineError('peer.oversized')
  const parsed = chatMessage.safeParse(parseJson(data))
  if (!parsed.success) throw new PartylineError('peer.malformed')
  const text = cleanLine(parsed.data.text)
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

/** A line as a terminal may show it: without control characters, line ends aside, and without direction overrides. */
function cleanLine(text: string): string {
  return text
    .toWellFormed()
    .replace(/\r\n?/g, '\n')
    .replace(/\t/g, ' ')
    .replace(/(?!\n)\p{Cc}|[\u202a-\u202e\u2066-\u2069]/gu, '')
    .trim()
}
