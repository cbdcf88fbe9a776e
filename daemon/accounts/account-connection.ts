import { isIP } from 'node:net'
import type { TLSSocket } from 'node:tls'
import type { Element } from 'ltx'
import type { Clock, Timer } from '../clock.ts'
import { type ErrorCode, PartylineError, toPartylineError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { scopeOf } from '../network/addresses.ts'
import { formatHostPort, type NetworkInterface } from '../network/network.ts'
import type { Milliseconds, UnixMilliseconds } from '../types.ts'
import { ClientConnection, type Door } from '../xmpp/client-connection.ts'
import { NS } from '../xmpp/namespaces.ts'
import { resultAnswer, xml } from '../xmpp/stanzas.ts'
import { StreamManagement } from '../xmpp/stream-management.ts'
import type { Account } from './account-file.ts'
import { type ExternalServices, readServices } from './external-services.ts'
import { Retry } from './retry.ts'
import { dialServer } from './server-dial.ts'
import { givenPlaces, type LookUp, placesOf, type ServerPlace } from './server-places.ts'

/** How long finding and reaching a server may take, all its places together; and one of them. */
const PATIENCE: Milliseconds = 15_000
const PLACE_PATIENCE: Milliseconds = 5000
const ANSWER: Milliseconds = 10_000
const NO_SERVICES: ExternalServices = { stun: [], turn: [], renewIn: 0 }

export interface AccountConnectionOptions {
  readonly account: Account
  /** Wished for as the last part of the address. */
  readonly resource: string
  readonly clock: Clock
  readonly logger: Logger
  /** 0 to 1, exclusive. */
  readonly random: () => number
  readonly lookUp: LookUp
  /** Messages of others. */
  readonly onMessage: (message: Element) => void
  /** Its state is another, or the services that it knows of. */
  readonly onChanged: () => void
}

/** `failed`: the server refuses it, so nothing is tried any more. */
export type AccountState = 'connecting' | 'online' | 'waiting' | 'failed' | 'off'

/** Keeps one account logged in: again after every loss, sooner or later, until the server refuses it. */
export class AccountConnection {
  readonly #options: AccountConnectionOptions
  readonly #management = new StreamManagement()
  readonly #retry: Retry
  #state: AccountState = 'off'
  #detail = ''
  #failure: ErrorCode | undefined
  #server = ''
  #roundTrip: Milliseconds | undefined
  #services: ExternalServices = NO_SERVICES
  #client: ClientConnection | undefined
  #isNear = false
  #timer: Timer | undefined
  #renewal: Timer | undefined
  #isStopped = false

  constructor(options: AccountConnectionOptions) {
    this.#options = options
    this.#retry = new Retry(options.random, options.clock.now())
  }

  get jid(): string {
    return this.#options.account.jid
  }

  get state(): AccountState {
    return this.#state
  }

  /** Why it is not online; empty while it is. */
  get detail(): string {
    return this.#detail
  }

  /** The same for programs, of the last attempt that failed; undefined while it is online. */
  get failure(): ErrorCode | undefined {
    return this.#state === 'online' ? undefined : this.#failure
  }

  /** Where it is logged in, or was last. */
  get server(): string {
    return this.#server
  }

  /** Of a question to the server, after the last log-in. */
  get roundTrip(): Milliseconds | undefined {
    return this.#roundTrip
  }

  /** STUN and TURN servers that its server knows of. */
  get services(): ExternalServices {
    return this.#services
  }

  /** Logs in, and goes on trying. Resolves once it is online; rejects with why the first attempt failed. */
  async start(): Promise<void> {
    await this.#connect()
  }

  /** Sends if it is online and there is room. False where it was dropped. */
  send(message: Element): boolean {
    return this.#client?.send(message) ?? false
  }

  /**
   * Asks the server what time it is there (XEP-0202), and how long a question takes; undefined where it is not online, or does not answer in time.
   * One that is online and keeps no time answers too, without `time`.
   */
  async askTime(
    patience: Milliseconds,
  ): Promise<{ time: UnixMilliseconds | undefined; roundTrip: Milliseconds } | undefined> {
    const { clock } = this.#options
    const asked = clock.now()
    const answer = await this.#client?.ask(xml('time', { xmlns: NS.time }), patience)
    if (!answer) return undefined
    const roundTrip = clock.now() - asked
    const time = Date.parse(answer.getChild('time', NS.time)?.getChildText('utc') ?? '')
    return { time: Number.isNaN(time) ? undefined : time, roundTrip }
  }

  /** The network is another: a connection that may be dead is looked at, and a pause is over. */
  networkChanged(interfaces: readonly NetworkInterface[]): void {
    this.#client?.check(interfaces)
    if (this.#state === 'waiting') this.#later(0)
  }

  /** Logs out. Safe to call twice. */
  async stop(): Promise<void> {
    this.#isStopped = true
    this.#timer?.cancel()
    this.#renewal?.cancel()
    const client = this.#client
    this.#client = undefined
    this.#enter('off', '')
    await client?.leave()
  }

  async #connect(): Promise<void> {
    const { account, clock, onMessage } = this.#options
    this.#enter('connecting', this.#detail)
    const client = new ClientConnection({
      clock,
      who: 'the server',
      where: account.jid,
      patience: PATIENCE,
      open: (signal) => this.#open(signal),
      management: this.#management,
      isOwn: (jid) => jid === account.jid || jid.startsWith(`${account.jid}/`),
      onStanza: (stanza) => {
        if (stanza.is('message', NS.client)) onMessage(stanza)
      },
      onRequest: (iq) => this.#pushed(iq),
      onClosed: (reason) => this.#lost(client, reason),
    })
    this.#client = client
    try {
      await client.connect()
    } catch (error) {
      await client.leave()
      if (this.#client === client) this.#failed(toPartylineError(error))
      throw error
    }
    if (this.#isStopped) return client.leave()
    this.#retry.lost(clock.now())
    this.#enter('online', '')
    await this.#askServices()
  }

  async #open(signal: AbortSignal): Promise<Door> {
    const { account, resource, lookUp } = this.#options
    const [username = '', domain = ''] = account.jid.split('@')
    const places = account.server === '' ? await placesOf(domain, lookUp) : givenPlaces(account.server)
    const socket = await this.#dial(places, domain, signal)
    return {
      socket,
      domain,
      mechanisms: ['SCRAM-SHA-256', 'SCRAM-SHA-1', 'PLAIN'],
      credential: () => ({ username, password: account.password }),
      resource,
    }
  }

  /** One place after the other; a certificate that is wrong says more than a port that is closed. */
  async #dial(places: readonly ServerPlace[], domain: string, signal: AbortSignal): Promise<TLSSocket> {
    const { account, clock } = this.#options
    const failures: PartylineError[] = []
    for (const place of places) {
      const late = new AbortController()
      const timer = clock.after(PLACE_PATIENCE, () => late.abort())
      try {
        const socket = await dialServer(place, {
          domain,
          ca: account.ca,
          signal: AbortSignal.any([signal, late.signal]),
        })
        const address = socket.remoteAddress ?? ''
        this.#server = formatHostPort({ address: isIP(place.host) ? address : place.host, port: place.port })
        this.#isNear = scopeOf(address) !== 'global'
        return socket
      } catch (error) {
        failures.push(toPartylineError(error))
        if (signal.aborted) break
      } finally {
        timer.cancel()
      }
    }
    throw (
      failures.find(({ code }) => code === 'peer.bad-certificate') ??
      failures[0] ??
      new PartylineError('network.unreachable', `${domain} says that it has no XMPP server`)
    )
  }

  #failed(error: PartylineError): void {
    const { clock, logger, account } = this.#options
    logger.debug('an account is not logged in', { account: account.jid, code: error.code, message: error.message })
    this.#failure = error.code
    if (error.code === 'peer.not-authorized') return this.#enter('failed', error.message)
    this.#enter('waiting', error.message)
    this.#later(this.#retry.pause(clock.now()))
  }

  #lost(client: ClientConnection, reason: PartylineError): void {
    const { clock } = this.#options
    if (this.#client !== client || this.#isStopped) return
    this.#retry.lost(clock.now())
    this.#failed(reason)
  }

  #later(pause: Milliseconds): void {
    this.#timer?.cancel()
    if (this.#isStopped) return
    this.#timer = this.#options.clock.after(pause, () => {
      this.#connect().catch(() => {})
    })
  }

  async #askServices(): Promise<void> {
    const { clock, account } = this.#options
    const asked = clock.now()
    const client = this.#client
    const answer = await client?.ask(xml('services', { xmlns: NS.externalServices }), ANSWER)
    if (!answer || client !== this.#client) return
    this.#roundTrip = clock.now() - asked
    this.#services = readServices(answer.getChild('services', NS.externalServices), clock.wall(), this.#isNear)
    this.#options.logger.debug('services of a server', {
      account: account.jid,
      stun: this.#services.stun.length,
      turn: this.#services.turn.length,
    })
    this.#options.onChanged()
    this.#renewal?.cancel()
    if (!this.#isStopped) this.#renewal = clock.after(this.#services.renewIn, () => void this.#askServices())
  }

  /** The server says that its services are others (XEP-0215 section 3.4). */
  #pushed(iq: Element): Element | undefined {
    if (iq.attrs.type !== 'set' || !iq.getChild('services', NS.externalServices)) return undefined
    void this.#askServices()
    return resultAnswer(iq, '')
  }

  #enter(state: AccountState, detail: string): void {
    if (state === this.#state && detail === this.#detail) return
    this.#state = state
    this.#detail = detail
    this.#options.onChanged()
  }
}
