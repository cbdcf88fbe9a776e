import type { Publish } from '../../ipc/api.ts'
import type { Result } from '../../ipc/methods.ts'
import type { Clock } from '../clock.ts'
import { type ErrorCode, PartylineError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { StunServer } from '../nat/pool/stun-server.ts'
import { formatTurnServer, type TurnServer } from '../nat/turn/server-uri.ts'
import { formatHostPort, type NetworkInterface } from '../network/network.ts'
import type { PeerBook } from '../peers/peer-book.ts'
import type { Refusals } from '../refusals.ts'
import type { Signaller } from '../signaling/signaller.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import { isUserJid } from '../xmpp/user-jid.ts'
import { resourceOf } from './account-address.ts'
import { AccountConnection, type AccountState } from './account-connection.ts'
import { type Account, MAX_ACCOUNTS, MAX_CA, MAX_PASSWORD, readAccounts, writeAccounts } from './account-file.ts'
import { AccountSignaller } from './account-signaller.ts'
import { givenPlaces, type LookUp, systemLookUp } from './server-places.ts'

interface AccountsOptions {
  readonly self: PeerId
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly book: Pick<PeerBook, 'ways'>
  readonly publish: Publish
  readonly file: string
  /** 0 to 1, exclusive. */
  readonly random: () => number
  readonly lookUp?: LookUp
  /** STUN and TURN servers that the accounts' servers name may be used. */
  readonly usesServers: () => boolean
  /** An account came online, went, or knows of other servers. */
  readonly onChanged: () => void
}

/** What the owner gives. */
interface NewAccount {
  readonly jid: string
  readonly password: string
  readonly server?: string | undefined
  readonly ca?: string | undefined
}

/** How an account fares, as its server answers just now. */
export interface AccountHealth {
  readonly jid: string
  readonly state: AccountState
  readonly detail: string
  /** Why it is not online; undefined while it is, or before the first attempt ended. */
  readonly failure: ErrorCode | undefined
  readonly server: string
  /** Of a question just now; undefined where no answer came. */
  readonly roundTrip: Milliseconds | undefined
  /** How much the clock here is ahead of the server's; undefined where it does not tell its time. */
  readonly ahead: Milliseconds | undefined
}

type AccountView = Result<'accounts.list'>[number]

/** The XMPP accounts of this host: for signals, and for the servers that theirs know of. Nothing else goes through them. */
export class Accounts {
  readonly #options: AccountsOptions
  readonly #signaller: AccountSignaller
  readonly #connections = new Map<string, AccountConnection>()
  #accounts: readonly Account[] = []
  /** Changes of the file, one after the other. */
  #turn: Promise<unknown> = Promise.resolve()
  #told = ''

  constructor(options: AccountsOptions) {
    this.#options = options
    this.#signaller = new AccountSignaller({
      ...options,
      accountsOf: (peer) => options.book.ways(peer).accounts,
      connections: () => this.#connections.values(),
    })
  }

  get signaller(): Signaller {
    return this.#signaller
  }

  /** Own addresses, for others to send signals to. */
  jids(): readonly string[] {
    return this.#accounts.map(({ jid }) => jid)
  }

  /** Reads the file and logs in. Rejects with `local.accounts-exposed` or `local.accounts-damaged`. */
  async open(): Promise<void> {
    this.#accounts = await readAccounts(this.#options.file)
    for (const account of this.#accounts)
      this.#connect(account)
        .start()
        .catch(() => {})
  }

  list(): AccountView[] {
    return [...this.#connections.values()].map(({ jid, state, detail, server, roundTrip, services }) => ({
      jid,
      state,
      detail,
      server,
      rtt: roundTrip ?? null,
      services: [
        ...services.stun.map(({ host, port }) => `stun:${formatHostPort({ address: host, port })}`),
        ...services.turn.map(formatTurnServer),
      ],
    }))
  }

  /** Asks every server that is online, `patience` at most. */
  examine(patience: Milliseconds): Promise<AccountHealth[]> {
    const { clock } = this.#options
    return Promise.all(
      [...this.#connections.values()].map(async (connection) => {
        const answer = connection.state === 'online' ? await connection.askTime(patience) : undefined
        const { jid, state, detail, failure, server } = connection
        const ahead = answer?.time === undefined ? undefined : clock.wall() - answer.roundTrip / 2 - answer.time
        return { jid, state, detail, failure, server, roundTrip: answer?.roundTrip, ahead }
      }),
    )
  }

  /**
   * Logs in, and keeps the account if that works; one that is there already gets another password or server. Rejects with
   * `usage.invalid-argument`, `local.limit`, or with why the log-in failed: `peer.not-authorized`, `peer.bad-certificate`,
   * `peer.wrong-protocol`, `network.unreachable`, `network.timeout`.
   */
  async add(given: NewAccount): Promise<AccountView[]> {
    const account = checked(given)
    return this.#inTurn(async () => {
      const others = this.#accounts.filter(({ jid }) => jid !== account.jid)
      if (others.length >= MAX_ACCOUNTS)
        throw new PartylineError('local.limit', `a host has ${MAX_ACCOUNTS} accounts at most`)
      const before = this.#accounts.find(({ jid }) => jid === account.jid)
      await this.#connections.get(account.jid)?.stop()
      const connection = this.#connect(account)
      try {
        await connection.start()
        await writeAccounts(this.#options.file, [...others, account])
        this.#accounts = [...others, account]
      } catch (error) {
        await connection.stop()
        this.#connections.delete(account.jid)
        if (before)
          this.#connect(before)
            .start()
            .catch(() => {})
        throw error
      }
      this.#changed()
      return this.list()
    })
  }

  /** Logs out and forgets an account. Rejects with `local.no-account`. */
  remove(jid: string): Promise<AccountView[]> {
    return this.#inTurn(async () => {
      const left = this.#accounts.filter((account) => account.jid !== jid.toLowerCase())
      if (left.length === this.#accounts.length)
        throw new PartylineError('local.no-account', `${jid.slice(0, 80)} is no account of this host`)
      await writeAccounts(this.#options.file, left)
      this.#accounts = left
      await this.#connections.get(jid.toLowerCase())?.stop()
      this.#connections.delete(jid.toLowerCase())
      this.#changed()
      return this.list()
    })
  }

  /** STUN and TURN servers that the servers of the accounts know of, with credentials that are good now. */
  servers(): { readonly stun: readonly StunServer[]; readonly turn: readonly TurnServer[] } {
    if (!this.#options.usesServers()) return { stun: [], turn: [] }
    const services = [...this.#connections.values()].map((connection) => connection.services)
    return { stun: services.flatMap(({ stun }) => stun), turn: services.flatMap(({ turn }) => turn) }
  }

  networkChanged(interfaces: readonly NetworkInterface[]): void {
    for (const connection of this.#connections.values()) connection.networkChanged(interfaces)
  }

  /** Logs out everywhere. Safe to call twice. */
  async close(): Promise<void> {
    await this.#turn
    await Promise.all([...this.#connections.values()].map((connection) => connection.stop()))
  }

  #connect(account: Account): AccountConnection {
    const { self, clock, logger, random, lookUp = systemLookUp } = this.#options
    const connection: AccountConnection = new AccountConnection({
      account,
      resource: resourceOf(self),
      clock,
      logger,
      random,
      lookUp,
      onMessage: (message) => this.#signaller.take(account.jid, message),
      onChanged: () => this.#changed(),
    })
    this.#connections.set(account.jid, connection)
    return connection
  }

  #changed(): void {
    const { publish, onChanged } = this.#options
    const told = JSON.stringify([this.list(), this.servers()])
    if (told === this.#told) return
    this.#told = told
    publish('accounts.changed', {})
    onChanged()
  }

  #inTurn<T>(task: () => Promise<T>): Promise<T> {
    const turn = this.#turn.then(task)
    this.#turn = turn.catch(() => {})
    return turn
  }
}

/** Throws `usage.invalid-argument`; no message has the password in it. */
function checked({ jid, password, server = '', ca = '' }: NewAccount): Account {
  const address = jid.trim().toLowerCase()
  if (!isUserJid(address))
    throw new PartylineError(
      'usage.invalid-argument',
      `${jid.slice(0, 80)} is no XMPP address, such as anna@example.org`,
    )
  if (password === '' || password.length > MAX_PASSWORD)
    throw new PartylineError('usage.invalid-argument', 'a password has 1 to 1024 characters')
  if (server !== '') givenPlaces(server)
  if (ca !== '' && (ca.length > MAX_CA || !ca.includes('-----BEGIN CERTIFICATE-----')))
    throw new PartylineError('usage.invalid-argument', 'certificates of an authority are given as PEM, 64 KiB at most')
  return { jid: address, password, server, ca }
}
