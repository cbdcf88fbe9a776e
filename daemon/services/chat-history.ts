import { appendFile, readFile, rm } from 'node:fs/promises'
import writeFileAtomic from 'write-file-atomic'
import { type ChatLine, chatLine } from '../../ipc/methods.ts'
import type { Logger } from '../logger.ts'

interface HistoryOptions {
  /** Where lines are kept, one JSON object a line; without a file they are kept in memory only. */
  readonly file?: string
  /** Most lines kept (setting `chat.keep`). */
  readonly keep: () => number
  /** Whether they are kept on disk as well (setting `chat.store`). */
  readonly store: () => boolean
  readonly logger: Logger
}

/**
 * The last chat lines, in memory and on disk. The file is appended to, and written anew when it holds twice as many as are kept. A file that
 * is damaged or cannot be written costs the lines it concerns, and never stops the daemon.
 */
export class ChatHistory {
  readonly #options: HistoryOptions
  #lines: ChatLine[]
  /** Lines of the file. */
  #stored: number
  #unwritten: ChatLine[] = []
  /** The write under way and those that wait, in order. */
  #writing: Promise<void> = Promise.resolve()
  #failed = false
  #isOnDisk: boolean

  private constructor(options: HistoryOptions, lines: readonly ChatLine[], stored: number) {
    this.#options = options
    this.#lines = lines.slice(Math.max(0, lines.length - options.keep()))
    this.#stored = stored
    this.#isOnDisk = options.store()
  }

  /** Reads what an earlier life of the daemon kept. Never throws. */
  static async open(options: HistoryOptions): Promise<ChatHistory> {
    const { file, store, keep, logger } = options
    if (file === undefined) return new ChatHistory(options, [], 0)
    if (!store() || keep() === 0) {
      await rm(file, { force: true }).catch((error: Error) => warnOf(logger, error))
      return new ChatHistory(options, [], 0)
    }
    const text = await readFile(file, 'utf8').catch((error: NodeJS.ErrnoException) => {
      if (error.code !== 'ENOENT') warnOf(logger, error)
      return ''
    })
    const found = text.split('\n')
    const lines = found.flatMap(parseLine)
    const damaged = found.filter((line) => line !== '').length - lines.length
    if (damaged > 0) logger.warn('damaged lines of the chat history are left out', { lines: damaged })
    // A torn last line must not run into the next: the file is written anew.
    const isWhole = damaged === 0 && (text === '' || text.endsWith('\n'))
    return new ChatHistory(options, lines, isWhole ? lines.length : Number.POSITIVE_INFINITY)
  }

  /** The last lines, oldest first, of one peer or of all. */
  lines(peer: string | undefined, limit: number): ChatLine[] {
    const lines = peer === undefined ? this.#lines : this.#lines.filter((line) => line.peer === peer)
    return lines.slice(-limit)
  }

  add(line: ChatLine): void {
    const { file, keep } = this.#options
    const limit = keep()
    this.#lines.push(line)
    if (this.#lines.length > limit) this.#lines.splice(0, this.#lines.length - limit)
    if (file === undefined) return
    this.#unwritten.push(line)
    if (this.#unwritten.length > 1) {
      // A write that has not begun takes these along; more than are kept need not wait.
      if (this.#unwritten.length > limit) this.#unwritten.splice(0, this.#unwritten.length - Math.max(limit, 1))
      return
    }
    this.#writing = this.#writing.then(() => this.#write(file))
  }

  /** Takes up a change of setting `chat.store` at once: whoever switches it off wants the lines gone. */
  settingsChanged(): void {
    const { file, store } = this.#options
    if (file === undefined || store() === this.#isOnDisk) return
    this.#isOnDisk = store()
    this.#stored = Number.POSITIVE_INFINITY
    this.#writing = this.#writing.then(() => this.#write(file))
  }

  /** Resolves when every line is where it will stay. */
  close(): Promise<void> {
    return this.#writing
  }

  async #write(file: string): Promise<void> {
    const { keep, store, logger } = this.#options
    const lines = this.#unwritten
    this.#unwritten = []
    try {
      if (!store() || keep() === 0) {
        await rm(file, { force: true })
        this.#stored = 0
      } else if (this.#stored + lines.length > 2 * keep()) {
        const kept = this.#lines.slice()
        await writeFileAtomic(file, kept.map(encodeLine).join(''), { mode: 0o600 })
        this.#stored = kept.length
      } else if (lines.length > 0) {
        await appendFile(file, lines.map(encodeLine).join(''), { mode: 0o600 })
        this.#stored += lines.length
      }
      this.#failed = false
    } catch (error) {
      // How much of it was written is not known: the next write is of everything.
      this.#stored = Number.POSITIVE_INFINITY
      if (!this.#failed) warnOf(logger, error as Error)
      this.#failed = true
    }
  }
}

function parseLine(text: string): ChatLine[] {
  try {
    const parsed = chatLine.safeParse(JSON.parse(text))
    return parsed.success ? [parsed.data] : []
  } catch {
    return []
  }
}

const encodeLine = (line: ChatLine): string => `${JSON.stringify(line)}\n`

function warnOf(logger: Logger, error: Error): void {
  logger.warn('the chat history cannot be kept on disk', { error: error.message })
}
