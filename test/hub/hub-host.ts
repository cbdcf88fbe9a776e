import { generateKeyPairSync, randomBytes, randomInt } from 'node:crypto'
import { once } from 'node:events'
import { connect as connectTcp, type Socket } from 'node:net'
import { type ConnectionOptions, connect, type TLSSocket } from 'node:tls'
import type { Clock } from '../../daemon/clock.ts'
import { makeCredential } from '../../daemon/hub/credential.ts'
import { type HubLimits, HubServer } from '../../daemon/hub/hub-server.ts'
import { type Identity, identityOf } from '../../daemon/identity/key.ts'
import { silentLogger } from '../../daemon/logger.ts'
import { Refusals } from '../../daemon/refusals.ts'
import { VirtualClock } from '../virtual-clock.ts'

export const PIN = '271828'

export function newIdentity(): Identity {
  return identityOf(generateKeyPairSync('ed25519').privateKey)
}

interface HubHostOptions {
  readonly identity?: Identity
  readonly name?: string
  readonly limits?: Partial<HubLimits>
}

/** A hub on loopback, in virtual time, and clients that end with it. */
export class HubHost implements AsyncDisposable {
  readonly clock = new VirtualClock()
  readonly refusals = new Refusals()
  readonly identity: Identity
  readonly hub: HubServer
  /** How often the hub said that something changed. */
  changes = 0
  readonly #clients: { destroy(): void }[] = []

  private constructor({ name = 'lanparty', limits = {}, identity = newIdentity() }: HubHostOptions) {
    this.identity = identity
    this.hub = newHub({
      identity,
      clock: this.clock,
      refusals: this.refusals,
      limits: { clients: 500, perAddress: 500, ...limits },
      name,
      onChange: () => this.changes++,
    })
  }

  static async start(options: HubHostOptions = {}): Promise<HubHost> {
    const host = new HubHost(options)
    await host.hub.start({ port: 0 })
    host.hub.setPin(PIN)
    return host
  }

  /** A connection whose handshake is done, the hub's certificate and name checked as a user's client does. */
  async connect(options: ConnectionOptions = {}): Promise<XmppClient> {
    const { certificatePem, domain, port } = this.hub
    const socket = connect({ host: '127.0.0.1', port, ca: certificatePem, servername: domain, ...options })
    this.#clients.push(socket)
    await once(socket, 'secureConnect')
    return new XmppClient(socket, domain)
  }

  /** A TCP connection that says nothing. */
  async connectSilently(): Promise<Socket> {
    const socket = connectTcp({ host: '127.0.0.1', port: this.hub.port })
    this.#clients.push(socket)
    socket.on('error', () => {})
    await once(socket, 'connect')
    return socket
  }

  /** Somebody with the PIN, present. */
  async person(nickname: string): Promise<XmppClient> {
    const client = await this.connect()
    await client.logIn(nickname, PIN)
    await client.appear()
    return client
  }

  /** A connection on which the hub shows the certificate that hosts know it by. */
  connectAsHost(): Promise<XmppClient> {
    return this.connect({ sigalgs: 'ed25519', rejectUnauthorized: false })
  }

  /** A daemon with its key, present. */
  async daemon(identity: Identity = newIdentity()): Promise<XmppClient> {
    const client = await this.connectAsHost()
    const { username, password } = makeCredential(identity, client.socket)
    await client.logIn(username, password)
    await client.appear()
    return client
  }

  async [Symbol.asyncDispose](): Promise<void> {
    for (const client of this.#clients) client.destroy()
    await this.hub.stop()
  }
}

export function newHub(options: {
  readonly identity: Identity
  readonly clock: Clock
  readonly refusals: Refusals
  readonly limits: HubLimits
  readonly name: string
  readonly onChange?: () => void
}): HubServer {
  return new HubServer({
    onChange: () => {},
    logger: silentLogger,
    randomInt: (max) => randomInt(max),
    randomBytes,
    ...options,
  })
}

/** A scripted XMPP client: text out, and waiting for what comes in. */
export class XmppClient {
  readonly socket: TLSSocket
  readonly domain: string
  jid = ''
  /** All that came, except what was waited for and what stood before it. */
  received = ''
  readonly closed: Promise<void>
  #isClosed = false
  #look: () => void = () => {}

  constructor(socket: TLSSocket, domain: string) {
    this.socket = socket
    this.domain = domain
    socket.setNoDelay(true)
    socket.setEncoding('utf8')
    socket.on('data', (text: string) => {
      this.received += text
      this.#look()
    })
    socket.on('error', () => {})
    this.closed = new Promise((resolve) => {
      socket.once('close', () => {
        this.#isClosed = true
        this.#look()
        resolve()
      })
    })
  }

  send(xml: string): this {
    this.socket.write(xml)
    return this
  }

  /** Waits for text; gives what came up to its end. Throws when the connection closes without it. */
  async until(pattern: RegExp | string): Promise<string> {
    const end = (): number => {
      if (typeof pattern === 'string') {
        const at = this.received.indexOf(pattern)
        return at < 0 ? -1 : at + pattern.length
      }
      const match = pattern.exec(this.received)
      return match ? match.index + match[0].length : -1
    }
    while (end() < 0) {
      if (this.#isClosed) throw new Error(`closed without ${pattern}, after: ${this.received.slice(-500)}`)
      await new Promise<void>((resolve) => {
        this.#look = resolve
      })
    }
    const came = this.received.slice(0, end())
    this.received = this.received.slice(came.length)
    return came
  }

  /** Opens a stream and waits for what the hub offers. */
  open(to: string = this.domain): Promise<string> {
    return this.openOnly(to).until('</stream:features>')
  }

  openOnly(to: string = this.domain): this {
    return this.send(
      `<?xml version='1.0'?><stream:stream to='${to}' version='1.0' xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams'>`,
    )
  }

  /** Sends a SASL PLAIN log-in, and waits for the outcome: `<success …` or `<failure …`. */
  async authenticate(username: string, password: string): Promise<string> {
    this.sendAuth(username, password)
    return await this.until(/<success[^>]*>|<failure.*?<\/failure>/s)
  }

  sendAuth(username: string, password: string): this {
    const plain = Buffer.from(`\0${username}\0${password}`).toString('base64')
    return this.send(`<auth xmlns='urn:ietf:params:xml:ns:xmpp-sasl' mechanism='PLAIN'>${plain}</auth>`)
  }

  async logIn(username: string, password: string): Promise<void> {
    await this.open()
    const outcome = await this.authenticate(username, password)
    if (!outcome.includes('<success')) throw new Error(outcome)
    await this.bind()
  }

  async bind(): Promise<void> {
    await this.open()
    this.send(`<iq type='set' id='b'><bind xmlns='urn:ietf:params:xml:ns:xmpp-bind'><resource>r</resource></bind></iq>`)
    const [, jid = ''] = /<jid>(.*)<\/jid>/.exec(await this.until('</bind></iq>')) ?? []
    this.jid = jid
  }

  /** Asks for the list, tells of being there, and waits until the hub has taken both. */
  async appear(): Promise<void> {
    this.send(`<iq type='get' id='list'><query xmlns='jabber:iq:roster'/></iq><presence/>`)
    await this.until(new RegExp(`<presence from="${this.jid}" to="${this.jid}"(/>|>.*?</presence>)`))
  }

  /** Waits until the hub has taken all that was sent; gives what came meanwhile. */
  async settle(): Promise<string> {
    const id = `settle${randomInt(1e9)}`
    this.send(`<iq type='get' id='${id}' to='${this.domain}'><ping xmlns='urn:xmpp:ping'/></iq>`)
    return await this.until(`id="${id}"/>`)
  }
}
