import { readFile } from 'node:fs/promises'
import writeFileAtomic from 'write-file-atomic'
import { z } from 'zod'
import { parseJsonText } from '../config/json-text.ts'
import { fileError } from '../file-error.ts'
import type { Logger } from '../logger.ts'
import type { UnixMilliseconds } from '../types.ts'
import { LONGEST_LIFE } from './credentials.ts'

const SIZE = 32

const secret = z.object({ key: z.base64().length(44), since: z.number().nonnegative() })
const stored = z.object({ version: z.literal(1), secrets: z.array(secret).min(1).max(2) })
type Secret = z.output<typeof secret>

interface RelaySecretsOptions {
  readonly file: string
  readonly logger: Logger
  readonly wall: () => UnixMilliseconds
  readonly random: (bytes: number) => Buffer
}

/**
 * What the relay's credentials follow from. A secret is used as long as credentials last at most, and is good as long again, so that none ends
 * before its time. In a file of its own, mode 0600.
 */
export class RelaySecrets {
  readonly #options: RelaySecretsOptions
  #secrets: readonly Secret[] = []
  #keys: readonly Buffer[] = []

  constructor(options: RelaySecretsOptions) {
    this.#options = options
  }

  /** Reads the file. One that is missing or damaged is written anew: whoever had credentials gets others. Throws `local.file`. */
  async open(): Promise<void> {
    const { file, logger } = this.#options
    try {
      this.#use(stored.parse(parseJsonText(await readFile(file, 'utf8'))).secrets)
    } catch (error) {
      if ((error as NodeJS.ErrnoException).code !== 'ENOENT')
        logger.warn('the secret of the relay cannot be read and is made anew', { file })
    }
    await this.renew()
  }

  /** The one that is used, and the one before. */
  get keys(): readonly Buffer[] {
    return this.#keys
  }

  /** Makes another one where it is time to. Throws `local.file`. */
  async renew(): Promise<void> {
    const { file, wall, random } = this.#options
    const now = wall()
    const [current] = this.#secrets
    // A clock that was far ahead for a while is no reason to keep one for ever.
    if (current && now < current.since + LONGEST_LIFE && current.since <= now + LONGEST_LIFE) return
    const made = { key: random(SIZE).toString('base64'), since: now }
    const secrets = current ? [made, current] : [made]
    try {
      await writeFileAtomic(file, `${JSON.stringify({ version: 1, secrets })}\n`, { mode: 0o600 })
    } catch (error) {
      throw fileError(file, error)
    }
    this.#use(secrets)
  }

  #use(secrets: readonly Secret[]): void {
    this.#secrets = secrets
    this.#keys = secrets.map(({ key }) => Buffer.from(key, 'base64'))
  }
}
