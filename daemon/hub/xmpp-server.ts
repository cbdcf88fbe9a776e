import { Element } from 'ltx'
import TCPServer, { type LegacyElement, type LegacySocket, type Session } from 'node-xmpp-server/lib/C2S/TCP/Server.js'
import { NS } from '../xmpp/namespaces.ts'

const NS_SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'
const NS_SESSION = 'urn:ietf:params:xml:ns:xmpp-session'
const NS_BIND = 'urn:ietf:params:xml:ns:xmpp-bind'

/** Most log-ins that may fail on one connection. */
const MAX_FAILURES = 3

/** What a SASL log-in comes to: the local part of the address it is for, or a condition (RFC 6120 section 6.5) and a sentence. */
export type LogInOutcome =
  | { readonly local: string }
  | { readonly failure: 'not-authorized' | 'temporary-auth-failure'; readonly text: string }

/** What a session tells whoever accepted it. */
export interface SessionHandlers {
  /** Somebody wants to log in (SASL PLAIN). Nothing more should come until `answered`. */
  logIn(username: string, password: string): Promise<LogInOutcome>
  answered(): void
  /** The log-in succeeded: a new stream follows (RFC 6120 section 6.4.6). */
  restart(): void
  /** The resource to bind (RFC 6120 section 7) for the one that is asked for, `''` where the client leaves the choice. */
  resource(wish: string): string
  /** The resource is bound, and the client knows. */
  bound(): void
  /** A stanza of a client that is logged in and has a resource. */
  stanza(element: Element): void
  /** The session ends the stream with this stream error. */
  failed(condition: string): void
  /** What came is no XML after all; the session ends the stream. */
  malformed(): void
}

/** One client's XMPP stream. */
export interface XmppSession {
  /** `local@domain/resource` once a resource is bound, `''` before. */
  readonly jid: string
  send(xml: string): void
  /** Ends the stream with a stream error (RFC 6120 section 4.9). */
  fail(condition: string, text: string): void
}

interface XmppServerOptions {
  readonly domain: string
  /** An id that nobody can guess, for streams and resources. */
  readonly newId: () => string
}

/**
 * XMPP streams, SASL PLAIN and resource binding by `node-xmpp-server`, of which nothing else is loaded and nothing listens: connections
 * come from us, TLS done and bytes checked. What follows keeps its weak spots out of reach: identifiers from `Math.random`, STARTTLS and
 * `new Buffer`, in-band registration, stanzas without a log-in, mechanisms it does not have.
 */
export class XmppServer {
  readonly #server: TCPServer

  constructor({ domain, newId }: XmppServerOptions) {
    this.#server = new TCPServer({ autostart: false, domain, newId })
    this.#server.Session = HubSession
    this.#server.clearSaslMechanism()
    this.#server.registerSaslMechanism(PlainMechanism)
  }

  /** Serves a connected client. */
  accept(socket: LegacySocket, handlers: SessionHandlers): XmppSession {
    this.#server.acceptConnection(socket)
    const { session } = socket
    if (!(session instanceof HubSession)) throw new TypeError('the server made another kind of session')
    session.serve(handlers)
    return session.view
  }
}

class HubSession extends TCPServer.prototype.Session {
  #handlers: SessionHandlers | undefined
  /** Stream headers taken since the stream began or began anew. */
  #headers = 0
  #failures = 0
  #isLoggingIn = false
  #isFailing = false
  #bound = ''

  /** The package would take them from `Math.random`; it sets this in its constructor. */
  override get generateId(): () => string {
    return this.server.options.newId
  }
  override set generateId(_own: () => string) {}

  get view(): XmppSession {
    const session = this
    return {
      get jid() {
        return session.#bound
      },
      send: (xml) => session.send(xml),
      fail: (condition, text) => session.#fail(condition, text),
    }
  }

  serve(handlers: SessionHandlers): void {
    this.#handlers = handlers
    this.connection.streamAttrs.from = this.server.options.domain
    // Otherwise <proceed/> of a client would have the package begin a handshake, with calls that Node has removed.
    this.connection.allowTLS = false
    // The package raises whatever it ends a stream with as an error: what we asked for, and what its parser finds.
    this.on('error', () => {
      if (!this.#isFailing) handlers.malformed()
    })
    this.on('authenticate', (user: PlainUser, answer: Answer) => {
      this.#logIn(handlers, user, answer).catch(() => this.#fail('internal-server-error', 'The hub has a fault.'))
    })
    this.on('auth-success', () => {
      this.#headers = 0
      handlers.restart()
    })
    this.on('bind', (wish: string | null, answer: (error: null, resource: string) => void) => {
      const resource = handlers.resource(wish ?? '')
      this.#bound = `${this.jid}/${resource}`
      answer(null, resource)
      handlers.bound()
    })
  }

  override startStream(): void {
    const { domain } = this.server.options
    this.connection.streamAttrs.from = domain
    if (++this.#headers > 1) return this.#fail('bad-format', 'A stream begins once.')
    if (this.serverdomain?.toLowerCase() !== domain) return this.#fail('host-unknown', `This is ${domain}.`)
    this.connection.streamAttrs.id = this.generateId()
    super.startStream()
  }

  override onStanza(stanza: LegacyElement): void {
    // The package goes on with what came in the same piece as the end.
    if (this.#isFailing) return
    if (!this.authenticated) return this.#beforeLogIn(stanza)
    const namespace = stanza.getNS() ?? NS.client
    if (namespace !== NS.client || !['message', 'presence', 'iq'].includes(stanza.name))
      return this.#fail('unsupported-stanza-type', 'Only message, presence and iq may follow.')
    const isSet = stanza.name === 'iq' && stanza.attrs.type === 'set'
    const binds = isSet && stanza.getChild('bind', NS_BIND) !== undefined
    if (binds && this.#bound === '') return this.onAuthStanza(stanza)
    if (this.#bound === '') return this.#fail('not-authorized', 'Bind a resource first.')
    if (isSet && stanza.getChild('session', NS_SESSION)) return this.onAuthStanza(stanza)
    this.#handlers?.stanza(adopt(stanza))
  }

  async #logIn(handlers: SessionHandlers, user: PlainUser, answer: Answer): Promise<void> {
    this.#isLoggingIn = true
    const outcome = await handlers.logIn(user.username, user.password)
    this.#isLoggingIn = false
    if ('local' in outcome) {
      user.jid.setLocal(outcome.local)
      answer(null, user)
    } else {
      answer(Object.assign(new Error(outcome.text), { type: outcome.failure }))
      this.#countFailure()
    }
    handlers.answered()
  }

  #beforeLogIn(stanza: LegacyElement): void {
    const isAuth = stanza.is('auth', NS_SASL)
    if ((!isAuth && !stanza.is('response', NS_SASL)) || this.#isLoggingIn)
      return this.#fail('not-authorized', 'Log in first.')
    if (isAuth && stanza.attrs.mechanism !== PlainMechanism.NAME) return this.#sendFailure('invalid-mechanism')
    // PLAIN without an initial response: the client waits for an empty challenge (RFC 6120 section 6.4.2).
    if (isAuth && stanza.getText() === '') return this.send(`<challenge xmlns='${NS_SASL}'/>`)
    if (!decodePlain(stanza.getText())) return this.#sendFailure('malformed-request')
    stanza.attrs.mechanism = PlainMechanism.NAME
    this.onAuth(stanza)
  }

  #sendFailure(condition: string): void {
    this.send(`<failure xmlns='${NS_SASL}'><${condition}/></failure>`)
    this.#countFailure()
  }

  #countFailure(): void {
    if (++this.#failures >= MAX_FAILURES) this.#fail('policy-violation', 'Too many failed log-ins.')
  }

  #fail(condition: string, text: string): void {
    this.#isFailing = true
    this.#handlers?.failed(condition)
    this.connection.error(condition, text)
  }
}

/** SASL PLAIN (RFC 4616). The package's own decodes with a constructor of Buffer that Node warns of. */
class PlainMechanism {
  static readonly NAME = 'PLAIN'
  /** These three are the session's, which sets them. */
  declare readonly authenticate: (asked: AskedUser, callback: Answer) => void
  declare readonly success: (user: PlainUser) => void
  declare readonly failure: (error: Error | null) => void

  get name(): string {
    return PlainMechanism.NAME
  }

  manageAuth(stanza: LegacyElement, session: Session): void {
    const plain = decodePlain(stanza.getText())
    if (!plain) return
    // Whose address it is comes with the outcome of the log-in; the session turns the text into an address.
    this.authenticate({ ...plain, jid: session.server.options.domain }, (error, user) => {
      if (error || !user) this.failure(error)
      else this.success(user)
    })
  }
}

interface AskedUser {
  readonly username: string
  readonly password: string
  readonly jid: string
}

interface PlainUser {
  readonly username: string
  readonly password: string
  readonly jid: { setLocal(local: string): void }
}

type Answer = (error: Error | null, user?: PlainUser) => void

/** `authzid NUL authcid NUL passwd` in base64; undefined where it is no such thing. */
function decodePlain(text: string): { readonly username: string; readonly password: string } | undefined {
  const [, username, password, ...more] = Buffer.from(text, 'base64').toString('utf8').split('\0')
  if (!username || password === undefined || more.length > 0) return undefined
  return { username, password }
}

/** A stanza as an element of ours, without what the stream's header already says. */
function adopt(stanza: LegacyElement): Element {
  const element = copy(stanza)
  for (const name of ['xmlns', 'xmlns:stream']) delete element.attrs[name]
  return element
}

function copy(legacy: LegacyElement): Element {
  const element = new Element(legacy.name, { ...legacy.attrs })
  for (const child of legacy.children) {
    if (typeof child === 'string') element.t(child)
    else element.cnode(copy(child))
  }
  return element
}
