import type { TLSSocket } from 'node:tls'
import { Element } from 'ltx'
import type { Clock } from '../clock.ts'
import { type ErrorCode, PartylineError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import type { Refusals } from '../refusals.ts'
import type { Milliseconds } from '../types.ts'
import { NS } from '../xmpp/namespaces.ts'
import { XmlError } from '../xmpp/xml-error.ts'
import { XmlGuard } from '../xmpp/xml-reader.ts'
import { type ClientLimits, ClientStream } from './client-stream.ts'
import type { MemberKind } from './router.ts'
import type { LogInOutcome, XmppServer, XmppSession } from './xmpp-server.ts'

/** Longest resource that a client may choose, in characters. */
const MAX_RESOURCE = 128

/** Whom a connection was proven to be. */
export interface LoggedIn {
  readonly local: string
  readonly name: string
  readonly kind: MemberKind
}

/** What a connection tells the hub. */
interface ConnectionOwner {
  /** Whether this is who it says; a sentence where not. `connection.who` is to be set before it resolves. */
  logIn(connection: HubConnection, username: string, password: string): Promise<LogInOutcome>
  bound(connection: HubConnection): void
  /** Gives how many characters were sent because of the stanza. Throws what `Router.stanza` throws. */
  stanza(connection: HubConnection, stanza: Element): number
  closed(connection: HubConnection): void
}

interface HubConnectionOptions {
  readonly socket: TLSSocket
  readonly address: string
  /** The connection is no longer half-open. */
  readonly settled: () => void
  readonly server: XmppServer
  readonly domain: string
  readonly newId: () => string
  readonly clock: Clock
  readonly limits: ClientLimits
  readonly maxUnsent: () => number
  readonly refusals: Refusals
  readonly logger: Logger
  readonly owner: ConnectionOwner
}

/** One client of the hub, from its TLS handshake to its end. */
export class HubConnection {
  readonly socket: TLSSocket
  readonly address: string
  /** Who it is, once logged in. */
  who: LoggedIn | undefined
  readonly #options: HubConnectionOptions
  readonly #stream: ClientStream
  readonly #session: XmppSession
  #isClosed = false

  constructor(options: HubConnectionOptions) {
    const { socket, address, clock, limits, maxUnsent, server, owner, newId, settled } = options
    this.#options = options
    this.socket = socket
    this.address = address
    const stream = new ClientStream({
      socket,
      clock,
      limits,
      maxUnsent,
      guard: () => new XmlGuard(),
      onViolation: (error) => this.#violated(error),
      onSlow: () => this.#refused('peer.slow-reader'),
      onIdle: () => this.ping(),
    })
    this.#stream = stream
    stream.once('close', () => {
      this.#isClosed = true
      owner.closed(this)
    })
    this.#session = server.accept(stream, {
      logIn: (username, password) => {
        stream.hold()
        return owner.logIn(this, username, password)
      },
      answered: () => stream.release(),
      restart: () => stream.restart(),
      resource: (wish) => (isResource(wish) ? wish : newId()),
      bound: () => {
        settled()
        owner.bound(this)
      },
      stanza: (stanza) => stream.charge(owner.stanza(this, stanza)),
      malformed: () => this.#refused('peer.bad-xml'),
      failed: (condition) => options.logger.debug('a stream is ended', { condition, address }),
    })
  }

  /** The full address, `''` before a resource is bound. */
  get jid(): string {
    return this.#session.jid
  }

  get isClosed(): boolean {
    return this.#isClosed
  }

  send(xml: string): void {
    this.#session.send(xml)
  }

  /** Ends the stream with a stream error. */
  fail(condition: string, text: string): void {
    this.#session.fail(condition, text)
  }

  /** Asks whether it is there (XEP-0199). */
  ping(): void {
    const { domain, newId } = this.#options
    if (this.jid === '') return
    const ping = new Element('iq', { type: 'get', id: newId(), from: domain, to: this.jid })
    ping.c('ping', { xmlns: NS.ping })
    this.send(ping.toString())
  }

  /** True when anything comes within that time, and not its end. */
  isThere(within: Milliseconds): Promise<boolean> {
    if (this.#isClosed) return Promise.resolve(false)
    return new Promise((resolve) => {
      const settle = (there: boolean): void => {
        timer.cancel()
        this.#stream.off('heard', heard).off('close', gone)
        resolve(there)
      }
      const heard = (): void => settle(true)
      const gone = (): void => settle(false)
      const timer = this.#options.clock.after(within, gone)
      this.#stream.once('heard', heard).once('close', gone)
      this.ping()
    })
  }

  #violated(error: unknown): void {
    const [code, condition] = violation(error)
    const { message } = error as Error
    if (code) this.#refused(code)
    else this.#options.logger.warn('a client caused a fault', { error: message, address: this.address })
    this.fail(condition, code ? message : 'The hub has a fault.')
  }

  #refused(code: ErrorCode): void {
    this.#options.refusals.count(code)
    this.#options.logger.debug('a client of the hub is ended', { code, address: this.address, jid: this.jid })
  }
}

/** What is counted for an error of a stream, and the stream error it is told as; nothing is counted for a fault of ours. */
function violation(error: unknown): [ErrorCode | undefined, string] {
  if (error instanceof XmlError) return [error.code, error.condition]
  if (error instanceof PartylineError && error.code === 'peer.impersonation') return [error.code, 'invalid-from']
  return [undefined, 'internal-server-error']
}

function isResource(wish: string): boolean {
  return wish !== '' && [...wish].length <= MAX_RESOURCE && !/\p{C}/u.test(wish)
}
