import { mkdtempSync, rmSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { Accounts } from '../../daemon/accounts/accounts.ts'
import type { Clock } from '../../daemon/clock.ts'
import type { Identity } from '../../daemon/identity/key.ts'
import type { Logger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import type { PeerId } from '../../daemon/types.ts'
import { newIdentity } from '../hub/hub-host.ts'

/** A host's accounts, with a folder of their own. */
export class AccountHost implements AsyncDisposable {
  readonly identity: Identity = newIdentity()
  readonly refusals = new Refusals()
  /** Accounts of peers. */
  readonly ways = new Map<PeerId, readonly string[]>()
  /** Everything that was logged. */
  log = ''
  /** How often somebody was told that something changed. */
  changes = 0
  usesServers = true
  accounts: Accounts
  readonly file: string
  readonly #folder = mkdtempSync(join(tmpdir(), 'accounts-'))
  readonly #clock: Clock
  readonly #waiting = new Set<() => void>()

  constructor(clock: Clock) {
    this.#clock = clock
    this.file = join(this.#folder, 'accounts.json')
    this.accounts = this.#make()
  }

  get peer(): PeerId {
    return this.identity.peer
  }

  /** What the list says of its only account. */
  get only(): ReturnType<Accounts['list']>[number] {
    const [only, another] = this.accounts.list()
    if (!only || another) throw new Error('there is not one account')
    return only
  }

  /** Resolves when the accounts are as wanted; looks again after every change. */
  async until(condition: () => boolean): Promise<void> {
    while (!condition()) await new Promise<void>((resolve) => this.#waiting.add(resolve))
  }

  /** As after a restart of the daemon. */
  async reopen(): Promise<void> {
    await this.accounts.close()
    this.accounts = this.#make()
    await this.accounts.open()
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.accounts.close()
    rmSync(this.#folder, { recursive: true, force: true })
  }

  #make(): Accounts {
    const write = (message: string, details?: object): void => {
      this.log += `${message} ${JSON.stringify(details)}\n`
    }
    const logger: Logger = { debug: write, info: write, warn: write, error: write, part: () => logger }
    return new Accounts({
      self: this.peer,
      clock: this.#clock,
      logger,
      refusals: this.refusals,
      book: { ways: (peer) => ({ accounts: [...(this.ways.get(peer) ?? [])], hubs: [], addresses: [] }) },
      publish: () => {},
      file: this.file,
      random: () => 0.5,
      lookUp: async () => [],
      usesServers: () => this.usesServers,
      onChanged: () => {
        this.changes++
        for (const wake of this.#waiting) wake()
        this.#waiting.clear()
      },
    })
  }
}
