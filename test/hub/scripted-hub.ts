import { once } from 'node:events'
import type { AddressInfo } from 'node:net'
import { createServer, type TLSSocket, type TlsOptions } from 'node:tls'
import { makeHubCertificates } from '../../daemon/hub/hub-certificate.ts'
import type { Identity } from '../../daemon/identity/key.ts'
import type { HostPort } from '../../daemon/types.ts'
import { newIdentity } from './hub-host.ts'

const SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'
const BIND = 'urn:ietf:params:xml:ns:xmpp-bind'

export const PLAIN = `<mechanisms xmlns='${SASL}'><mechanism>PLAIN</mechanism></mechanisms>`

/** What a scripted hub says at each step; the honest words unless told. */
interface Script {
  readonly domain?: string
  /** The certificate's domain, where it is another. */
  readonly certified?: string
  readonly header?: string
  readonly offer?: string
  /** Answers `<auth>`. */
  readonly outcome?: string
  readonly jid?: (peer: string) => string
  readonly tls?: TlsOptions
}

/** A hub of a few lines that says what a test wants, and keeps what it is told. */
export class ScriptedHub implements AsyncDisposable {
  readonly identity: Identity
  readonly domain: string
  readonly #server: ReturnType<typeof createServer>
  readonly #clients: ScriptedClient[] = []
  #arrived: () => void = () => {}

  private constructor(identity: Identity, script: Script, server: ReturnType<typeof createServer>) {
    this.identity = identity
    this.#server = server
    this.domain = script.domain ?? 'hub-scripted.local'
  }

  static async start(script: Script = {}, identity: Identity = newIdentity()): Promise<ScriptedHub> {
    const { host } = await makeHubCertificates(identity, script.certified ?? script.domain ?? 'hub-scripted.local')
    const { certPem, keyPem } = host
    const server = createServer({ cert: certPem, key: keyPem, ALPNProtocols: ['xmpp-client'], ...script.tls })
    const hub = new ScriptedHub(identity, script, server)
    server.on('secureConnection', (socket) => {
      hub.#clients.push(new ScriptedClient(socket, hub.domain, script))
      hub.#arrived()
    })
    server.on('tlsClientError', () => {})
    server.listen(0, '127.0.0.1')
    await once(server, 'listening')
    return hub
  }

  get target(): HostPort {
    return { address: '127.0.0.1', port: (this.#server.address() as AddressInfo).port }
  }

  /** Connections so far. */
  get connections(): number {
    return this.#clients.length
  }

  /** The credentials it was given so far. */
  get credentials(): readonly string[] {
    return this.#clients.flatMap(({ credential }) => (credential ? [credential] : []))
  }

  /** The connection of that number, come or still to come. */
  async client(number = 0): Promise<ScriptedClient> {
    for (;;) {
      const client = this.#clients[number]
      if (client) return client
      await new Promise<void>((resolve) => {
        this.#arrived = resolve
      })
    }
  }

  /** Ends every connection, and takes no other. */
  async stop(): Promise<void> {
    for (const client of this.#clients) client.socket.destroy()
    if (!this.#server.listening) return
    this.#server.close()
    await once(this.#server, 'close')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }
}

/** A connection to a scripted hub. */
export class ScriptedClient {
  readonly socket: TLSSocket
  /** All that came. */
  received = ''
  /** The SASL PLAIN message, as it was sent: `NUL username NUL password`. */
  credential = ''
  jid = ''
  isClosed = false
  readonly #script: Script
  readonly #domain: string
  #taken = 0
  #look: () => void = () => {}

  constructor(socket: TLSSocket, domain: string, script: Script) {
    this.socket = socket
    socket.setNoDelay(true)
    this.#domain = domain
    this.#script = script
    socket.setEncoding('utf8')
    socket.on('error', () => {})
    socket.on('data', (text: string) => {
      this.received += text
      this.#negotiate()
      this.#look()
    })
    socket.once('close', () => {
      this.isClosed = true
      this.#look()
    })
  }

  send(xml: string): this {
    if (!this.socket.destroyed) this.socket.write(xml)
    return this
  }

  /** A presence stanza of somebody at this hub. */
  present(local: string, inner = '', attrs = ''): this {
    return this.send(`<presence from='${local}@${this.#domain}/r' ${attrs}>${inner}</presence>`)
  }

  /** Waits until this has come. */
  async until(text: string): Promise<void> {
    while (!this.received.includes(text)) {
      if (this.isClosed) throw new Error(`closed without ${text}, after: ${this.received.slice(-500)}`)
      await this.#next()
    }
  }

  /** Waits until the client is logged in and tells that it is there. */
  async there(): Promise<this> {
    await this.until('<presence')
    return this
  }

  async closed(): Promise<void> {
    while (!this.isClosed) await this.#next()
  }

  #next(): Promise<void> {
    return new Promise((resolve) => {
      this.#look = resolve
    })
  }

  #negotiate(): void {
    const { header, offer = PLAIN, outcome = `<success xmlns='${SASL}'/>`, jid } = this.#script
    const rest = this.received.slice(this.#taken)
    const [step] = /<stream:stream [^>]*>|<auth [^>]*>[^<]*<\/auth>|<bind [^>]*>/.exec(rest) ?? []
    if (!step) return
    this.#taken = this.received.length
    if (step.startsWith('<stream:stream')) {
      this.send(
        header ??
          `<?xml version='1.0'?><stream:stream xmlns='jabber:client' xmlns:stream='http://etherx.jabber.org/streams' from='${this.#domain}' id='s' version='1.0'>`,
      )
      this.send(`<stream:features>${this.credential ? `<bind xmlns='${BIND}'/>` : offer}</stream:features>`)
    } else if (step.startsWith('<auth')) {
      this.credential = Buffer.from(/>([^<]*)</.exec(step)?.[1] ?? '', 'base64').toString()
      this.send(outcome)
    } else {
      const [, id = ''] = /<iq [^>]*id="([^"]*)"/.exec(rest) ?? []
      const [, peer = ''] = this.credential.split('\0')
      this.jid = jid?.(peer) ?? `${peer}@${this.#domain}/r`
      this.send(`<iq type='result' id='${id}'><bind xmlns='${BIND}'><jid>${this.jid}</jid></bind></iq>`)
    }
  }
}
