import { once } from 'node:events'
import { type AddressInfo, createServer, type Server, type Socket } from 'node:net'
import { TLSSocket } from 'node:tls'
import { type Element, parse } from 'ltx'
import { NS } from '../../daemon/xmpp/namespaces.ts'
import { XmlReader } from '../../daemon/xmpp/xml-reader.ts'
import type { Certified } from './authority.ts'

const SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'
const BIND = 'urn:ietf:params:xml:ns:xmpp-bind'

interface Script {
  readonly domain: string
  readonly certificate: Certified
  /** TLS from the first byte, or once it is asked for. */
  readonly start?: 'direct' | 'starttls'
  /** Passwords, by name. */
  readonly users?: Readonly<Record<string, string>>
  /** The children of `<services>` (XEP-0215). */
  readonly services?: () => string
  /** What is offered before TLS, and answered to the wish for it. */
  readonly offer?: string
  readonly proceed?: string
  /** The features before and after the log-in. */
  readonly mechanisms?: string
  /** Said to whoever connects, in the place of everything else. */
  readonly instead?: string
}

/** An XMPP server of one page on loopback: TLS both ways, PLAIN, resources, messages between full addresses, and what a script wants. */
export class XmppServer implements AsyncDisposable {
  readonly #script: Script
  readonly #server: Server
  readonly #connections = new Set<Connection>()
  readonly #sockets = new Set<Socket>()
  /** What everybody sent before there was TLS. */
  plain = ''
  /** Every stanza of everybody, as text. */
  readonly stanzas: string[] = []
  readonly #waiting = new Set<() => void>()
  /** Nothing is answered any more. */
  isMute = false
  /** What becomes of a message; it is delivered where there is no such function. */
  onMessage: ((message: Element, deliver: () => void) => void) | undefined

  private constructor(script: Script) {
    this.#script = script
    this.#server = createServer((socket) => this.#connected(socket))
  }

  static async start(script: Script): Promise<XmppServer> {
    const server = new XmppServer(script)
    await server.listen(0)
    return server
  }

  async listen(port: number): Promise<void> {
    this.#server.listen(port, '127.0.0.1')
    await once(this.#server, 'listening')
  }

  get port(): number {
    return (this.#server.address() as AddressInfo).port
  }

  /** `HOST:PORT`, as an owner gives it. */
  get place(): string {
    return `127.0.0.1:${this.port}`
  }

  /** Full addresses of those who are logged in. */
  get present(): readonly string[] {
    return [...this.#connections].flatMap(({ jid }) => (jid === '' ? [] : [jid]))
  }

  /** Resolves when so many are logged in. */
  async untilPresent(count: number): Promise<void> {
    while (this.present.length !== count) await new Promise<void>((resolve) => this.#waiting.add(resolve))
  }

  /** Sends something to everybody. */
  broadcast(xml: string): void {
    for (const connection of this.#connections) connection.send(xml)
  }

  /** Ends every connection without a word. */
  cut(): void {
    for (const socket of this.#sockets) socket.destroy()
  }

  /** Takes nobody any more. */
  async stop(): Promise<void> {
    if (!this.#server.listening) return
    this.#server.close()
    this.cut()
    await once(this.#server, 'close')
  }

  async [Symbol.asyncDispose](): Promise<void> {
    await this.stop()
  }

  #connected(socket: Socket): void {
    const { start = 'direct', certificate, instead } = this.#script
    socket.on('error', () => {})
    this.#sockets.add(socket)
    socket.once('close', () => this.#sockets.delete(socket))
    if (instead !== undefined) return void socket.write(instead)
    if (start === 'direct') return this.#secured(new TLSSocket(socket, { isServer: true, ...certificate }))
    const take = (bytes: Buffer): void => {
      const { offer = `<starttls xmlns='${NS.tls}'><required/></starttls>`, proceed = `<proceed xmlns='${NS.tls}'/>` } =
        this.#script
      const text = bytes.toString()
      this.plain += text
      if (text.includes('<stream:stream')) socket.write(`${this.#header()}<stream:features>${offer}</stream:features>`)
      if (!text.includes('<starttls')) return
      socket.off('data', take)
      socket.write(proceed)
      this.#secured(new TLSSocket(socket, { isServer: true, ...certificate }))
    }
    socket.on('data', take)
  }

  #secured(socket: TLSSocket): void {
    const connection = new Connection(socket)
    this.#connections.add(connection)
    socket.on('error', () => {})
    socket.once('close', () => {
      this.#connections.delete(connection)
      this.#changed()
    })
    socket.on('data', (bytes: Buffer) => {
      for (const event of connection.read(bytes)) {
        if (this.isMute) continue
        if (event.type === 'open') this.#opened(connection)
        else if (event.type === 'stanza') this.#take(connection, event.element)
        else socket.end('</stream:stream>')
      }
    })
  }

  #opened(connection: Connection): void {
    const { mechanisms = `<mechanisms xmlns='${SASL}'><mechanism>PLAIN</mechanism></mechanisms>` } = this.#script
    connection.send(this.#header())
    connection.send(`<stream:features>${connection.user ? `<bind xmlns='${BIND}'/>` : mechanisms}</stream:features>`)
  }

  #take(connection: Connection, element: Element): void {
    const { domain, users = {}, services } = this.#script
    this.stanzas.push(element.toString())
    if (element.is('auth')) {
      const [, user = '', password] = Buffer.from(element.getText(), 'base64').toString().split('\0')
      if (users[user] !== password)
        return connection.send(
          `<failure xmlns='${SASL}'><not-authorized/><text>wrong &lt;password&gt;</text></failure>`,
        )
      connection.user = user
      connection.restart()
      return connection.send(`<success xmlns='${SASL}'/>`)
    }
    const { id = '', to } = element.attrs
    const answer = (inner: string): void =>
      connection.send(`<iq type='result' id='${id}' from='${domain}'>${inner}</iq>`)
    const bind = element.getChild('bind', BIND)
    if (bind) {
      connection.jid = `${connection.user}@${domain}/${bind.getChildText('resource') ?? 'server-made'}`
      answer(`<bind xmlns='${BIND}'><jid>${connection.jid}</jid></bind>`)
      return this.#changed()
    }
    if (element.is('iq')) {
      const asksServices = element.getChild('services', NS.externalServices) !== undefined
      return answer(asksServices ? `<services xmlns='${NS.externalServices}'>${services?.() ?? ''}</services>` : '')
    }
    if (!element.is('message')) return
    element.attrs.from = connection.jid
    const deliver = (): void => {
      for (const other of this.#connections) if (other.jid === to) other.send(element.toString())
    }
    const { onMessage } = this
    if (onMessage) onMessage(element, deliver)
    else deliver()
  }

  #header(): string {
    const { domain } = this.#script
    return `<?xml version='1.0'?><stream:stream xmlns='${NS.client}' xmlns:stream='${NS.stream}' from='${domain}' id='s' version='1.0'>`
  }

  #changed(): void {
    for (const wake of this.#waiting) wake()
    this.#waiting.clear()
  }
}

/** Somebody's connection, encrypted. */
class Connection {
  readonly socket: TLSSocket
  #reader = new XmlReader()
  user = ''
  jid = ''

  constructor(socket: TLSSocket) {
    this.socket = socket
    socket.setNoDelay(true)
  }

  read(bytes: Uint8Array): ReturnType<XmlReader['push']> {
    return this.#reader.push(bytes)
  }

  /** A new stream comes next. */
  restart(): void {
    this.#reader = new XmlReader()
  }

  send(xml: string): void {
    if (!this.socket.destroyed) this.socket.write(xml)
  }
}

/** A stanza of a text. */
export const stanza = (text: string): Element => {
  const element = parse(text)
  if (!element) throw new Error(`no element: ${text}`)
  return element
}
