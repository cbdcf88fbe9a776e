import { randomUUID } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { Element } from 'ltx'
import { cleanReason } from '../clean-text.ts'
import type { Clock, Timer } from '../clock.ts'
import { PartylineError, toPartylineError } from '../errors.ts'
import { isOwnAddress } from '../network/addresses.ts'
import type { NetworkInterface } from '../network/network.ts'
import { TokenBucket } from '../token-bucket.ts'
import type { Milliseconds } from '../types.ts'
import { NS } from './namespaces.ts'
import { discoInfoAnswer, errorAnswer, resultAnswer, xml } from './stanzas.ts'
import type { Mechanism, StreamLogIn } from './stream-log-in.ts'
import type { StreamManagement } from './stream-management.ts'
import { XmlReader } from './xml-reader.ts'

/** How long a log-in may take. */
const LOG_IN_PATIENCE: Milliseconds = 10_000
/** A server that was silent for this long is asked whether it is there, and has so long to answer. */
const SILENCE: Milliseconds = 30_000
const ANSWER: Milliseconds = 15_000
/** The same, where there is reason to doubt it. */
const DOUBTED_ANSWER: Milliseconds = 4000
/** How long a server has to close its side once we have said goodbye. */
const GOODBYE: Milliseconds = 1000
/** Bytes taken from a server: everyone's presence at first, little after that. */
const INCOMING = { rate: 256 * 1024, burst: 16 * 1024 * 1024 }
/** Bytes that may wait for the server to read them; what is best effort stops at half of it. */
export const MAX_UNSENT = 512 * 1024
/** Answers to others at the server, which takes so much of us and no more: who asks without end shall not silence us. */
const ANSWERS = { rate: 5, burst: 40 }
/** Messages whose delivery is waited for. */
const MAX_AWAITED = 256

/** A TLS connection to a server, and how to log in on it. */
export interface Door {
  readonly socket: TLSSocket
  readonly domain: string
  /** SASL mechanisms that may be used, the best first. */
  readonly mechanisms: readonly Mechanism[]
  readonly credential: () => { readonly username: string; readonly password: string }
  readonly resource?: string
}

export interface ClientConnectionOptions {
  readonly clock: Clock
  /** What the server is called in messages, and where it is. */
  readonly who: 'the hub' | 'the server'
  readonly where: string
  /** How long connecting may take. */
  readonly patience: Milliseconds
  /** Connects, with TLS, and judges whose server it is. */
  readonly open: (signal: AbortSignal) => Promise<Door>
  /** Of a stream that is to outlive its connection. */
  readonly management?: StreamManagement
  /** True for the address that a log-in has to give us. */
  readonly isOwn: (jid: string, domain: string) => boolean
  /** Messages and presence, once logged in; requests that nobody else answers. */
  readonly onStanza: (stanza: Element) => void
  /** A request of the server; what answers it. Undefined for one that is answered as others are. */
  readonly onRequest?: (iq: Element) => Element | undefined
  /** Once, for a connection that had logged in. */
  readonly onClosed: (reason: PartylineError) => void
}

/** One connection to an XMPP server, logged in: with limits on what comes and what waits, and a watch on whether it still answers. */
export class ClientConnection {
  readonly #options: ClientConnectionOptions
  readonly #bucket: TokenBucket
  readonly #answers: TokenBucket
  readonly #abort = new AbortController()
  readonly #timers = new Set<Timer>()
  /** Messages and pings that wait for an answer, by id. */
  readonly #awaited = new Map<string, (outcome: 'delivered' | 'refused' | 'lost') => void>()
  /** Questions to the server. */
  readonly #asked = new Map<string, (answer: Element | undefined) => void>()
  #socket: TLSSocket | undefined
  #reader = new XmlReader()
  #logIn: StreamLogIn | undefined
  #domain = ''
  #jid = ''
  #heard: Milliseconds = 0
  /** What came together with the end of the log-in. */
  readonly #early: Element[] = []
  #reason: PartylineError | undefined

  constructor(options: ClientConnectionOptions) {
    this.#options = options
    this.#bucket = new TokenBucket(INCOMING, options.clock.now())
    this.#answers = new TokenBucket(ANSWERS, options.clock.now())
  }

  /** Our own full address, `''` before the log-in. */
  get jid(): string {
    return this.#jid
  }

  /** The server's domain; `''` before the handshake. */
  get domain(): string {
    return this.#domain
  }

  /** True while stanzas can be sent. */
  get isOpen(): boolean {
    return this.#jid !== '' && this.#reason === undefined
  }

  /** Connects and logs in. Rejects with why it cannot, and then `onClosed` is not called. */
  async connect(): Promise<void> {
    const { who, patience, open, isOwn, management } = this.#options
    const unanswered = this.#after(patience, () => this.#abort.abort())
    try {
      // Loaded by those who log in somewhere: the package is a fifth of the daemon's memory.
      const loading = import('./stream-log-in.ts')
      const { socket, domain, ...log } = await open(this.#abort.signal)
      const { StreamLogIn: LogIn } = await loading
      unanswered.cancel()
      this.#socket = socket
      this.#domain = domain
      if (this.#reason) throw this.#reason
      this.#after(LOG_IN_PATIENCE, () => {
        if (!this.isOpen) this.#end(new PartylineError('network.timeout', `${who} did not finish the log-in`))
      })
      this.#logIn = new LogIn({
        ...log,
        who,
        resume: management?.resumption,
        domain,
        write: (text, done) => void socket.write(text, done),
        onStream: () => {
          this.#reader = new XmlReader()
        },
      })
      this.#listen(socket)
      const jid = await this.#logIn.done
      if (this.#reason) throw this.#reason
      if (!isOwn(jid, domain)) throw new PartylineError('peer.malformed', `${who} gave us the address of somebody else`)
      this.#jid = jid
      this.#manage(this.#logIn)
      for (const element of this.#early.splice(0)) this.#take(element)
      this.#watch(SILENCE)
    } catch (error) {
      this.#end(toPartylineError(error))
      throw this.#reason ?? error
    }
  }

  /** Sends if there is room. False where it was dropped. */
  send(stanza: Element): boolean {
    const { isOpen } = this
    if (!isOpen || !this.#socket || this.#socket.writableLength > MAX_UNSENT / 2) return false
    this.#write(stanza)
    return true
  }

  /** Sends what somebody at the server asked for. False where it was dropped, also because there were too many of these. */
  answer(stanza: Element): boolean {
    return this.#answers.take(this.#options.clock.now()) && this.send(stanza)
  }

  /**
   * Sends a message and waits until the server has routed it, or said that it cannot: whatever follows a message is answered after it.
   * Resolves as well when the server says neither within `patience`. Rejects with `network.unreachable`, `network.lost` or `peer.busy`.
   */
  async deliver(message: Element, patience: Milliseconds): Promise<void> {
    if (!this.isOpen || !this.#socket) throw this.#lost()
    if (this.#awaited.size >= MAX_AWAITED || this.#socket.writableLength > MAX_UNSENT)
      throw new PartylineError('peer.busy', `${this.#options.who} does not keep up`)
    const id = randomUUID()
    message.attrs.id = id
    const outcome = await new Promise<'delivered' | 'refused' | 'lost'>((resolve) => {
      const settle = (how: 'delivered' | 'refused' | 'lost'): void => {
        this.#awaited.delete(id)
        this.#awaited.delete(`${id}-done`)
        timer.cancel()
        resolve(how)
      }
      const timer = this.#after(patience, () => settle('delivered'))
      this.#awaited.set(id, settle)
      this.#awaited.set(`${id}-done`, (how) => settle(how === 'lost' ? 'lost' : 'delivered'))
      this.#write(message)
      this.#ping(`${id}-done`)
    })
    if (outcome === 'refused')
      throw new PartylineError(
        'network.unreachable',
        `${this.#options.who} could not deliver it: nobody is there under this address`,
      )
    if (outcome === 'lost') throw this.#lost()
  }

  /** Asks the server something; undefined where it does not answer within `patience`, or is gone. */
  ask(question: Element, patience: Milliseconds): Promise<Element | undefined> {
    if (!this.isOpen || this.#asked.size >= MAX_AWAITED) return Promise.resolve(undefined)
    const id = randomUUID()
    return new Promise((resolve) => {
      const settle = (answer: Element | undefined): void => {
        this.#asked.delete(id)
        timer.cancel()
        resolve(answer)
      }
      const timer = this.#after(patience, () => settle(undefined))
      this.#asked.set(id, settle)
      this.#write(xml('iq', { type: 'get', id, to: this.#domain }, question))
    })
  }

  /** There is reason to doubt the connection: it ends where its own address is none of ours any more, and else the server has to answer soon. */
  check(interfaces: readonly NetworkInterface[]): void {
    const from = this.#socket?.localAddress
    if (from !== undefined && !isOwnAddress(from, interfaces))
      return this.#end(
        new PartylineError('network.lost', `the network that ${this.#options.who} was reached through is gone`),
      )
    if (!this.isOpen) return
    const since = this.#options.clock.now()
    this.#ping(randomUUID())
    this.#after(DOUBTED_ANSWER, () => {
      if (this.#heard <= since) this.#end(new PartylineError('network.timeout', `${this.#options.who} does not answer`))
    })
  }

  /** Says goodbye and closes; `onClosed` is not called. Safe to call twice. */
  async leave(): Promise<void> {
    const socket = this.#socket
    const wasOpen = this.isOpen
    this.#finish(new PartylineError('network.lost', `${this.#options.who} was left`))
    if (!wasOpen || !socket || socket.destroyed) return void socket?.destroy()
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    const patience = this.#options.clock.after(GOODBYE, () => socket.destroy())
    // Nothing is looked at any more, but the server's side is read to its end.
    socket.removeAllListeners('data').resume()
    socket.end(`${xml('presence', { type: 'unavailable' })}</stream:stream>`)
    await closed
    patience.cancel()
  }

  #listen(socket: TLSSocket): void {
    const { clock } = this.#options
    this.#heard = clock.now()
    socket.on('data', (bytes: Buffer) => {
      this.#heard = clock.now()
      this.#bucket.use(bytes.length, this.#heard)
      const wait = this.#bucket.wait(this.#heard)
      if (wait > 0) {
        socket.pause()
        this.#after(wait, () => socket.resume())
      }
      try {
        this.#read(bytes)
      } catch (error) {
        this.#end(
          error instanceof PartylineError ? error : new PartylineError('peer.malformed', undefined, { cause: error }),
        )
      }
    })
    socket.on('error', (error) => this.#end(new PartylineError('network.lost', error.message, { cause: error })))
    socket.once('close', () =>
      this.#end(new PartylineError('network.lost', `${this.#options.who} closed the connection`)),
    )
  }

  #read(bytes: Uint8Array): void {
    for (const event of this.#reader.push(bytes)) {
      if (this.#reason) return
      if (event.type === 'open') this.#logIn?.streamOpened(event.attrs)
      else if (event.type === 'close')
        this.#end(new PartylineError('network.lost', `${this.#options.who} closed the stream`))
      else this.#take(event.element)
    }
  }

  #take(element: Element): void {
    if (element.is('error', NS.stream)) this.#end(streamError(element, this.#options.who))
    else if (!this.isOpen && this.#logIn?.isDone) this.#early.push(element)
    else if (!this.isOpen) this.#logIn?.take(element)
    else if (element.getNS() === NS.management) this.#takeManagement(element)
    else this.#takeStanza(element)
  }

  #takeStanza(element: Element): void {
    this.#options.management?.came()
    if (element.is('iq', NS.client)) this.#takeIq(element)
    else if (element.is('message', NS.client) && element.attrs.type === 'error')
      this.#awaited.get(element.attrs.id ?? '')?.('refused')
    else if (element.is('message', NS.client) || element.is('presence', NS.client)) this.#options.onStanza(element)
  }

  #write(stanza: Element): void {
    const text = stanza.toString()
    this.#options.management?.sent(text)
    this.#socket?.write(text)
  }

  /** Begins to count stanzas, or goes on with a stream that was cut. */
  #manage({ resumed, offersManagement }: StreamLogIn): void {
    const { management } = this.#options
    if (!management) return
    if (resumed) for (const stanza of management.resumed(resumed)) this.#socket?.write(stanza)
    else if (offersManagement) this.#socket?.write(management.begin(this.#jid).toString())
    else management.end()
  }

  #takeManagement(element: Element): void {
    const answer = this.#options.management?.take(element)
    if (answer) this.#socket?.write(answer.toString())
  }

  #takeIq(iq: Element): void {
    const { type, id = '', from = this.#domain } = iq.attrs
    if (type === 'result' || type === 'error') {
      if (from === this.#domain) this.#asked.get(id)?.(iq)
      this.#awaited.get(id)?.('delivered')
      return
    }
    if (from === this.#domain) this.send(this.#options.onRequest?.(iq) ?? answerTo(iq, this.#jid))
    else this.answer(answerTo(iq, this.#jid))
  }

  #ping(id: string): void {
    this.#write(xml('iq', { type: 'get', id, to: this.#domain }, xml('ping', { xmlns: NS.ping })))
  }

  /** Asks a silent server whether it is there. */
  #watch(delay: Milliseconds): void {
    this.#after(delay, () => {
      const silent = this.#options.clock.now() - this.#heard
      if (silent < SILENCE) return this.#watch(SILENCE - silent)
      if (silent >= SILENCE + ANSWER)
        return this.#end(new PartylineError('network.timeout', `${this.#options.who} does not answer`))
      this.#ping(randomUUID())
      this.#watch(SILENCE + ANSWER - silent)
    })
  }

  #end(reason: PartylineError): void {
    if (this.#reason) return
    const wasOpen = this.isOpen
    this.#finish(reason)
    this.#socket?.destroy()
    if (wasOpen) this.#options.onClosed(reason)
  }

  #finish(reason: PartylineError): void {
    if (this.#reason) return
    this.#reason = reason
    this.#abort.abort()
    this.#options.management?.pause()
    for (const timer of this.#timers) timer.cancel()
    this.#timers.clear()
    this.#logIn?.abandon(reason)
    for (const settle of [...this.#awaited.values()]) settle('lost')
    for (const settle of [...this.#asked.values()]) settle(undefined)
  }

  #lost(): PartylineError {
    return new PartylineError('network.lost', `not logged in at ${this.#options.who} at ${this.#options.where}`)
  }

  #after(delay: Milliseconds, task: () => void): Timer {
    const timer = this.#options.clock.after(delay, () => {
      this.#timers.delete(timer)
      if (!this.#reason) task()
    })
    this.#timers.add(timer)
    return {
      cancel: () => {
        timer.cancel()
        this.#timers.delete(timer)
      },
    }
  }
}

/** What we answer the requests of others (RFC 6120 section 8.2.3). */
function answerTo(iq: Element, self: string): Element {
  const children = iq.getChildElements()
  const [query] = children
  if (!query || children.length > 1) return errorAnswer(iq, self, 'bad-request')
  if (iq.attrs.type === 'get' && query.is('ping', NS.ping)) return resultAnswer(iq, self)
  if (iq.attrs.type === 'get' && query.is('query', NS.discoInfo)) return discoInfoAnswer(iq, query, self)
  return errorAnswer(iq, self, 'service-unavailable')
}

/** Why a server ended the stream (RFC 6120 section 4.9). */
function streamError(element: Element, who: string): PartylineError {
  const conditions = element.getChildElements().filter((child) => child.getNS() === NS.streams)
  const condition = conditions.find((child) => child.getName() !== 'text')?.getName() ?? 'undefined-condition'
  const text = conditions.find((child) => child.getName() === 'text')?.getText() ?? ''
  const code = condition === 'conflict' || condition === 'not-authorized' ? 'peer.not-authorized' : 'network.lost'
  return new PartylineError(code, `${who} ended the stream: ${cleanReason(`${condition} ${text}`)}`)
}
