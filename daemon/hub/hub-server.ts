import type { TLSSocket } from 'node:tls'
import type { Element } from 'ltx'
import type { HubPerson } from '../../ipc/methods.ts'
import type { Clock } from '../clock.ts'
import { cleanName } from '../identity/host-name.ts'
import type { Identity } from '../identity/key.ts'
import { isPeerId } from '../identity/peer-id.ts'
import type { Logger } from '../logger.ts'
import type { Refusals } from '../refusals.ts'
import { TokenBuckets } from '../token-bucket.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import { bareOf } from './address.ts'
import { CLIENT_LIMITS, type ClientLimits } from './client-stream.ts'
import { checkCredential } from './credential.ts'
import type { ExternalService } from './external-services.ts'
import { type HubCertificates, hubDomain, makeHubCertificates } from './hub-certificate.ts'
import { HubConnection, type LoggedIn } from './hub-connection.ts'
import { HubListener } from './hub-listener.ts'
import { checkPinForm, isPin, parseNickname, randomPin } from './login.ts'
import { LogInAttempts } from './login-attempts.ts'
import { type Effect, MAX_PRESENCE, Router } from './router.ts'
import { type LogInOutcome, XmppServer } from './xmpp-server.ts'

/** Connections beyond the clients: those that log in, and those that are about to be replaced. */
const SPARE_CONNECTIONS = 256
/** How long a nickname's owner has to answer when somebody else asks for the nickname. */
const STILL_THERE: Milliseconds = 5000
/** Log-ins of an address refill over so many seconds; most addresses remembered. */
const MINUTE = 60
const MAX_ADDRESSES = 1024
/** How long `stop` waits for clients to take their leave. */
const GOODBYE: Milliseconds = 1000

export interface HubLimits {
  /** Clients that are logged in. */
  readonly clients: number
  /** Connections from one address. */
  readonly perAddress: number
  /** Connections whose handshake or log-in is not done; others wait for them. */
  readonly halfOpen?: number
  /** Time for handshake and log-in together. */
  readonly logIn?: Milliseconds
  /** What one client may do. */
  readonly client?: ClientLimits
}

const DEFAULTS = { halfOpen: 64, logIn: 10_000, client: CLIENT_LIMITS } as const

interface HubServerOptions {
  readonly identity: Identity
  readonly clock: Clock
  readonly logger: Logger
  readonly refusals: Refusals
  readonly limits: HubLimits
  /** The hub's name, the host's say. */
  readonly name: string
  /** A number from 0 up to, not including, `max`, as `node:crypto` gives it. */
  readonly randomInt: (max: number) => number
  /** As `node:crypto` gives them. */
  readonly randomBytes: (size: number) => Buffer
  /** STUN and TURN servers that a host, or a person, is told of. */
  readonly services?: (host: PeerId | undefined) => readonly ExternalService[]
  /** Somebody came, went or changed presence, or the PIN changed. */
  readonly onChange: () => void
}

/**
 * The LAN's XMPP server: TLS 1.3 by this host's key, hosts log in by their identity and people by a PIN, and everyone who is there sees
 * and reaches everyone. Keeps nothing, on disk or of those who left.
 */
export class HubServer {
  readonly name: string
  readonly domain: string
  readonly #options: HubServerOptions
  readonly #limits: Required<HubLimits>
  readonly #router: Router
  readonly #xmpp: XmppServer
  readonly #attempts: LogInAttempts
  /** Log-ins of an address, successful ones too: each is told to everyone, and is told of everyone. */
  readonly #logIns: TokenBuckets
  readonly #connections = new Set<HubConnection>()
  /** Who is logged in, by local part. */
  readonly #members = new Map<string, HubConnection>()
  #certificates: HubCertificates | undefined
  #listener: HubListener | undefined
  #pin: string

  constructor(options: HubServerOptions) {
    const { identity, name, randomInt, randomBytes, clock, limits, services } = options
    this.#options = options
    this.#limits = { ...DEFAULTS, ...limits }
    this.name = cleanName(name) || 'hub'
    this.domain = hubDomain(this.name, identity.peer)
    const newId = (): string => randomBytes(16).toString('hex')
    this.#router = new Router({ domain: this.domain, name: this.name, newId, ...(services && { services }) })
    this.#xmpp = new XmppServer({ domain: this.domain, newId })
    this.#attempts = new LogInAttempts(clock)
    const { perAddress } = this.#limits
    this.#logIns = new TokenBuckets({ rate: perAddress / MINUTE, burst: 2 * perAddress, keys: MAX_ADDRESSES })
    this.#pin = randomPin(randomInt)
  }

  /** Makes the certificate and listens; another port is taken where this one is in use. Throws `local.port-taken` when none is free. */
  async start({ port }: { readonly port: number }): Promise<void> {
    if (this.#listener) return
    const { identity, clock, refusals, logger } = this.#options
    const { clients, perAddress, halfOpen, logIn } = this.#limits
    this.#certificates = await makeHubCertificates(identity, this.domain)
    const listener = new HubListener({
      certificates: [this.#certificates.people, this.#certificates.host],
      limits: { total: clients + SPARE_CONNECTIONS, perAddress, halfOpen, logIn },
      clock,
      refusals,
      logger,
      onClient: (socket, address, settled) => this.#accept(socket, address, settled),
    })
    await listener.listen(port)
    this.#listener = listener
    logger.info('the hub is open', { name: this.name, domain: this.domain, port: this.port })
  }

  /** Says goodbye to everyone and closes the port. Safe to call twice. */
  async stop(): Promise<void> {
    const listener = this.#listener
    if (!listener) return
    this.#listener = undefined
    listener.close()
    const left = new Promise<void>((resolve) => {
      const timer = this.#options.clock.after(GOODBYE, resolve)
      this.#whenEmpty = () => {
        timer.cancel()
        resolve()
      }
    })
    for (const connection of this.#connections) connection.fail('system-shutdown', 'The hub closes.')
    if (this.#connections.size > 0) await left
    await listener.stop()
    this.#options.logger.info('the hub is closed', { name: this.name })
  }

  #whenEmpty: () => void = () => {}

  /** The port it listens on, 0 while it does not. */
  get port(): number {
    return this.#listener?.port ?? 0
  }

  /** What people's clients check the hub by; `''` before `start`. */
  get certificatePem(): string {
    return this.#certificates?.people.certPem ?? ''
  }

  /** SHA-256 of that certificate, in hexadecimal with colons; `''` before `start`. */
  get fingerprint(): string {
    return this.#certificates?.people.fingerprint ?? ''
  }

  get counts(): { clients: number; halfOpen: number; open: number } {
    const { open, halfOpen, waiting } = this.#listener?.counts ?? { open: 0, halfOpen: 0, waiting: 0 }
    return { clients: this.#members.size, halfOpen: halfOpen + waiting, open }
  }

  /** Everyone who is present. */
  people(): HubPerson[] {
    return this.#router.people()
  }

  /** What people log in with. */
  get pin(): string {
    return this.#pin
  }

  /** Changes the PIN, to a random one unless one is given; whoever is logged in stays. Throws `usage.invalid-argument`. */
  setPin(pin: string = randomPin(this.#options.randomInt)): string {
    this.#pin = checkPinForm(pin)
    this.#options.onChange()
    return this.#pin
  }

  #accept(socket: TLSSocket, address: string, settled: () => void): void {
    const { clock, refusals, logger, randomBytes } = this.#options
    const connection = new HubConnection({
      socket,
      address,
      settled,
      server: this.#xmpp,
      domain: this.domain,
      newId: () => randomBytes(16).toString('hex'),
      clock,
      limits: this.#limits.client,
      // A newcomer is sent the presence of everyone at once.
      maxUnsent: () => this.#limits.client.unsent + this.#members.size * MAX_PRESENCE,
      refusals,
      logger,
      owner: {
        logIn: (one, username, password) => this.#logIn(one, username, password),
        bound: (one) => this.#bound(one),
        stanza: (one, stanza) => this.#route(one, stanza),
        closed: (one) => this.#closed(one),
      },
    })
    this.#connections.add(connection)
  }

  async #logIn(connection: HubConnection, username: string, password: string): Promise<LogInOutcome> {
    const { refusals, logger, clock } = this.#options
    const guessable = !isPeerId(username)
    if (!this.#attempts.allows(connection.address, guessable)) {
      refusals.count('peer.rate-limited')
      return { failure: 'temporary-auth-failure', text: 'Too many wrong log-ins. Wait a minute.' }
    }
    if (!this.#logIns.take(connection.address, clock.now())) {
      refusals.count('peer.rate-limited')
      return { failure: 'temporary-auth-failure', text: 'Too many log-ins. Wait a minute.' }
    }
    const who = isPeerId(username) ? this.#host(connection, username, password) : this.#person(username, password)
    if (!who) {
      this.#attempts.failed(connection.address, guessable)
      refusals.count('peer.not-authorized')
      logger.info('a log-in was refused', { address: connection.address, kind: guessable ? 'chat' : 'host' })
      return {
        failure: 'not-authorized',
        text: guessable ? 'The nickname or the PIN is wrong.' : 'The proof is wrong.',
      }
    }
    const before = this.#members.get(who.local)
    if (!before && this.#members.size >= this.#limits.clients) {
      refusals.count('peer.too-many-links')
      return { failure: 'temporary-auth-failure', text: 'The hub is full.' }
    }
    // A key is its owner's, so the newer connection is the right one. A nickname belongs to whoever has it and is there.
    const taken = before && who.kind === 'chat' && (before.jid === '' || (await before.isThere(STILL_THERE)))
    if (taken || (before && this.#members.get(who.local) !== before && this.#members.has(who.local))) {
      refusals.count('peer.not-authorized')
      return { failure: 'not-authorized', text: 'Somebody else has this nickname. Take another.' }
    }
    if (connection.isClosed) return { failure: 'temporary-auth-failure', text: 'The connection is closed.' }
    if (before) this.#replace(before)
    connection.who = who
    this.#members.set(who.local, connection)
    return { local: who.local }
  }

  #host(connection: HubConnection, peer: PeerId, password: string): LoggedIn | undefined {
    const der = this.#certificates?.host.der
    if (!der || !checkCredential(peer, password, der, connection.socket)) return undefined
    return { local: peer, name: `host-${peer.slice(0, 4)}`, kind: 'host' }
  }

  #person(username: string, password: string): LoggedIn | undefined {
    const nickname = parseNickname(username)
    return isPin(password, this.#pin) && nickname ? { ...nickname, kind: 'chat' } : undefined
  }

  #replace(connection: HubConnection): void {
    this.#logOut(connection)
    connection.fail('conflict', 'Another connection has taken this address.')
  }

  #bound(connection: HubConnection): void {
    const { who, jid, address } = connection
    if (!who) return
    this.#router.login(jid, who.name, who.kind)
    this.#options.logger.info('logged in at the hub', { jid, address })
  }

  #route(connection: HubConnection, stanza: Element): number {
    // A connection that was replaced may still have stanzas in flight: the router knows them as nobody's.
    const sent = this.#deliver(this.#router.stanza(connection.jid, stanza))
    if (stanza.name === 'presence' && stanza.attrs.to === undefined) this.#options.onChange()
    return sent
  }

  #deliver(effects: readonly Effect[]): number {
    let sent = 0
    for (const { to, element } of effects) {
      const receiver = this.#members.get(bareOf(to).slice(0, -this.domain.length - 1))
      if (receiver?.jid !== to) continue
      const xml = element.toString()
      sent += xml.length
      receiver.send(xml)
    }
    return sent
  }

  #logOut(connection: HubConnection): void {
    const { who, jid } = connection
    if (!who || this.#members.get(who.local) !== connection) return
    this.#members.delete(who.local)
    if (jid === '') return
    this.#deliver(this.#router.logout(jid))
    this.#options.logger.info('logged out of the hub', { jid })
    this.#options.onChange()
  }

  #closed(connection: HubConnection): void {
    this.#connections.delete(connection)
    this.#logOut(connection)
    if (this.#connections.size === 0) this.#whenEmpty()
  }
}
