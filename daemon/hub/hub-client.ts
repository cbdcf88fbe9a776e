import { randomUUID } from 'node:crypto'
import type { TLSSocket } from 'node:tls'
import type { Element } from 'ltx'
import { cleanReason } from '../clean-text.ts'
import type { Clock, Timer } from '../clock.ts'
import { PartylineError, toPartylineError } from '../errors.ts'
import type { Identity } from '../identity/key.ts'
import { isOwnAddress } from '../network/addresses.ts'
import { formatHostPort, type NetworkInterface } from '../network/network.ts'
import { TokenBucket } from '../token-bucket.ts'
import type { HostPort, Milliseconds, PeerId } from '../types.ts'
import { NS } from '../xmpp/namespaces.ts'
import { discoInfoAnswer, errorAnswer, resultAnswer, xml } from '../xmpp/stanzas.ts'
import { XmlReader } from '../xmpp/xml-reader.ts'
import { parseAddress } from './address.ts'
import { makeCredential } from './credential.ts'
import { dialHub } from './hub-dial.ts'
import type { HubLogIn } from './hub-log-in.ts'

/** How long TCP and TLS may take, and the log-in after them. */
const DIAL_PATIENCE: Milliseconds = 4000
const LOG_IN_PATIENCE: Milliseconds = 10_000
/** A hub that was silent for this long is asked whether it is there, and has so long to answer. */
const SILENCE: Milliseconds = 30_000
const ANSWER: Milliseconds = 15_000
/** The same, where there is reason to doubt it. */
const DOUBTED_ANSWER: Milliseconds = 4000
/** How long a hub has to close its side once we have said goodbye. */
const GOODBYE: Milliseconds = 1000
/** Bytes taken from a hub: everyone's presence at first, little after that. */
const INCOMING = { rate: 256 * 1024, burst: 16 * 1024 * 1024 }
/** Bytes that may wait for the hub to read them; what is best effort stops at half of it. */
export const MAX_UNSENT = 512 * 1024
/** Answers to others at the hub, which takes so much of us and no more: who asks without end shall not silence us. */
const ANSWERS = { rate: 5, burst: 40 }
/** Messages whose delivery is waited for. */
const MAX_AWAITED = 256

interface HubClientOptions {
  readonly identity: Identity
  readonly clock: Clock
  readonly target: HostPort
  /** Looks at whose key it is before anything is told; what it throws ends the connection. */
  readonly admit: (peer: PeerId, domain: string) => void
  /** Messages and presence, once logged in. */
  readonly onStanza: (stanza: Element) => void
  /** Once, for a connection that had logged in. */
  readonly onClosed: (reason: PartylineError) => void
}

/** One connection to one hub, logged in with this host's identity. */
export class HubClient {
  readonly target: HostPort
  readonly #options: HubClientOptions
  readonly #bucket: TokenBucket
  readonly #answers: TokenBucket
  readonly #abort = new AbortController()
  readonly #timers = new Set<Timer>()
  /** Messages and pings that wait for an answer, by id. */
  readonly #awaited = new Map<string, (outcome: 'delivered' | 'refused' | 'lost') => void>()
  #socket: TLSSocket | undefined
  #reader = new XmlReader()
  #logIn: HubLogIn | undefined
  #domain = ''
  #jid = ''
  #heard: Milliseconds = 0
  #reason: PartylineError | undefined

  constructor(options: HubClientOptions) {
    this.#options = options
    this.target = options.target
    this.#bucket = new TokenBucket(INCOMING, options.clock.now())
    this.#answers = new TokenBucket(ANSWERS, options.clock.now())
  }

  /** Our own full address, `''` before the log-in. */
  get jid(): string {
    return this.#jid
  }

  /** The hub's domain, as its certificate tells; `''` before the handshake. */
  get domain(): string {
    return this.#domain
  }

  /** True while stanzas can be sent. */
  get isOpen(): boolean {
    return this.#jid !== '' && this.#reason === undefined
  }

  /** Connects and logs in. Rejects with why it cannot, and then `onClosed` is not called. */
  async connect(): Promise<void> {
    const { target, admit, identity } = this.#options
    const unanswered = this.#after(DIAL_PATIENCE, () => this.#abort.abort())
    try {
      // Loaded by those who log in somewhere: the package is a fifth of the daemon's memory.
      const loading = import('./hub-log-in.ts')
      const { socket, peer, domain, certificate } = await dialHub(target, this.#abort.signal)
      const { HubLogIn: LogIn } = await loading
      unanswered.cancel()
      this.#socket = socket
      this.#domain = domain
      admit(peer, domain)
      this.#after(LOG_IN_PATIENCE, () => {
        if (!this.isOpen) this.#end(new PartylineError('network.timeout', 'the hub did not finish the log-in'))
      })
      this.#logIn = new LogIn({
        domain,
        credential: () => makeCredential(identity, socket, certificate),
        write: (text, done) => void socket.write(text, done),
        onStream: () => {
          this.#reader = new XmlReader()
        },
      })
      this.#listen(socket)
      const jid = await this.#logIn.done
      if (this.#reason) throw this.#reason
      const own = parseAddress(jid)
      if (own?.local !== identity.peer || own.domain !== domain)
        throw new PartylineError('peer.malformed', 'the hub gave us the address of somebody else')
      this.#jid = jid
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
    this.#socket.write(stanza.toString())
    return true
  }

  /** Sends what somebody at the hub asked for. False where it was dropped, also because there were too many of these. */
  answer(stanza: Element): boolean {
    return this.#answers.take(this.#options.clock.now()) && this.send(stanza)
  }

  /**
   * Sends a message and waits until the hub has routed it, or said that it cannot: whatever follows a message is answered after it.
   * Resolves as well when the hub says neither within `patience`. Rejects with `network.unreachable`, `network.lost` or `peer.busy`.
   */
  async deliver(message: Element, patience: Milliseconds): Promise<void> {
    if (!this.isOpen || !this.#socket) throw this.#lost()
    if (this.#awaited.size >= MAX_AWAITED || this.#socket.writableLength > MAX_UNSENT)
      throw new PartylineError('peer.busy', 'the hub does not keep up')
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
      this.#socket?.write(message.toString())
      this.#ping(`${id}-done`)
    })
    if (outcome === 'refused')
      throw new PartylineError(
        'network.unreachable',
        'the hub could not deliver it: nobody is there under this address',
      )
    if (outcome === 'lost') throw this.#lost()
  }

  /** There is reason to doubt the connection: it ends where its own address is none of ours any more, and else the hub has to answer soon. */
  check(interfaces: readonly NetworkInterface[]): void {
    const from = this.#socket?.localAddress
    if (from !== undefined && !isOwnAddress(from, interfaces))
      return this.#end(new PartylineError('network.lost', 'the network that the hub was reached through is gone'))
    if (!this.isOpen) return
    const since = this.#options.clock.now()
    this.#ping(randomUUID())
    this.#after(DOUBTED_ANSWER, () => {
      if (this.#heard <= since) this.#end(new PartylineError('network.timeout', 'the hub does not answer'))
    })
  }

  /** Says goodbye and closes; `onClosed` is not called. Safe to call twice. */
  async leave(): Promise<void> {
    const socket = this.#socket
    const wasOpen = this.isOpen
    this.#finish(new PartylineError('network.lost', 'the hub was left'))
    if (!wasOpen || !socket || socket.destroyed) return void socket?.destroy()
    const closed = new Promise<void>((resolve) => socket.once('close', () => resolve()))
    const patience = this.#options.clock.after(GOODBYE, () => socket.destroy())
    // Nothing is looked at any more, but the hub's side is read to its end.
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
    socket.once('close', () => this.#end(new PartylineError('network.lost', 'the hub closed the connection')))
  }

  #read(bytes: Uint8Array): void {
    for (const event of this.#reader.push(bytes)) {
      if (this.#reason) return
      if (event.type === 'open') this.#logIn?.streamOpened(event.attrs)
      else if (event.type === 'close') this.#end(new PartylineError('network.lost', 'the hub closed the stream'))
      else this.#take(event.element)
    }
  }

  #take(element: Element): void {
    if (element.is('error', NS.stream)) this.#end(streamError(element))
    else if (!this.isOpen) this.#logIn?.take(element)
    else if (element.is('iq', NS.client)) this.#takeIq(element)
    else if (element.is('message', NS.client) && element.attrs.type === 'error')
      this.#awaited.get(element.attrs.id ?? '')?.('refused')
    else if (element.is('message', NS.client) || element.is('presence', NS.client)) this.#options.onStanza(element)
  }

  #takeIq(iq: Element): void {
    const { type, id = '', from = this.#domain } = iq.attrs
    if (type === 'result' || type === 'error') this.#awaited.get(id)?.('delivered')
    else if (from === this.#domain) this.send(answerTo(iq, this.#jid))
    else this.answer(answerTo(iq, this.#jid))
  }

  #ping(id: string): void {
    this.#socket?.write(xml('iq', { type: 'get', id, to: this.#domain }, xml('ping', { xmlns: NS.ping })).toString())
  }

  /** Asks a silent hub whether it is there. */
  #watch(delay: Milliseconds): void {
    this.#after(delay, () => {
      const silent = this.#options.clock.now() - this.#heard
      if (silent < SILENCE) return this.#watch(SILENCE - silent)
      if (silent >= SILENCE + ANSWER) return this.#end(new PartylineError('network.timeout', 'the hub does not answer'))
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
    for (const timer of this.#timers) timer.cancel()
    this.#timers.clear()
    this.#logIn?.abandon(reason)
    for (const settle of [...this.#awaited.values()]) settle('lost')
  }

  #lost(): PartylineError {
    return new PartylineError('network.lost', `not logged in at the hub at ${formatHostPort(this.target)}`)
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

/** Why the hub ended the stream (RFC 6120 section 4.9). */
function streamError(element: Element): PartylineError {
  const conditions = element.getChildElements().filter((child) => child.getNS() === NS.streams)
  const condition = conditions.find((child) => child.getName() !== 'text')?.getName() ?? 'undefined-condition'
  const text = conditions.find((child) => child.getName() === 'text')?.getText() ?? ''
  const code = condition === 'conflict' || condition === 'not-authorized' ? 'peer.not-authorized' : 'network.lost'
  return new PartylineError(code, `the hub ended the stream: ${cleanReason(`${condition} ${text}`)}`)
}
