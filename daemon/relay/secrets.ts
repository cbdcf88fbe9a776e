import * as z from 'zod'
import { PartylineError, toPartylineError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { readState, writeState } from '../state/state-file.ts'
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

  /** Reads the file. One that is missing or damaged is written anew: whoever had credentials gets others. Throws `local.file` or `local.state-newer`. */
  async open(): Promise<void> {
    const { file, logger } = this.#options
    const damaged = (why: string): PartylineError => new PartylineError('local.file', `${file}: ${why}`)
    try {
      const content = await readState(file, { version: 1, schema: stored, damaged })
      if (content) this.#use(content.secrets)
    } catch (error) {
      if (toPartylineError(error).code === 'local.state-newer') throw error
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
    await writeState(file, { version: 1, secrets })
    this.#use(secrets)
  }

  #use(secrets: readonly Secret[]): void {
    this.#secrets = secrets
    this.#keys = secrets.map(({ key }) => Buffer.from(key, 'base64'))
  }
}
