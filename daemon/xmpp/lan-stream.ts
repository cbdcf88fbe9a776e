import type { Element } from 'ltx'
import { type ErrorCode, PartylineError, toPartylineError } from '../errors.ts'
import type { Identity } from '../identity/key.ts'
import { TokenBucket } from '../token-bucket.ts'
import type { Milliseconds, PeerId } from '../types.ts'
import { NS } from './namespaces.ts'
import { asHtml, bodyOf, chatStateOf, discoInfoAnswer, errorAnswer, isChatText, resultAnswer, xml } from './stanzas.ts'
import { isStreamProof, type StreamFacts, type StreamRole, streamProof } from './stream-proof.ts'
import { NO_FEATURES, STREAM_END, type StreamCondition, streamError, streamHeader } from './stream-xml.ts'
import { XmlError } from './xml-error.ts'
import { type XmlEvent, XmlReader } from './xml-reader.ts'

/** Time until the other side has sent its header, and a Partyline host its proof. */
export const HANDSHAKE: Milliseconds = 5000
/** A stream without a byte either way for this long is ended. */
export const IDLE: Milliseconds = 10 * 60_000
/** Time the other side has to close its stream once ours is. */
export const GOODBYE: Milliseconds = 2000
/** Largest sealed signal on a stream, in bytes. */
export const MAX_STREAM_SIGNAL = 16 * 1024
/** Messages of the other side, a second and at once. */
const MESSAGES = { rate: 20, burst: 200 }
/** Longest instance: a DNS label is shorter, but escapes are not counted in characters. */
const MAX_INSTANCE = 255
/** Bytes that may wait while the owner makes up its mind about who opens a stream. */
const MAX_BACKLOG = 128 * 1024
const ID_SIZE = 16
const BASE64 = /^(?:[A-Za-z0-9+/]{4})*(?:[A-Za-z0-9+/]{2}==|[A-Za-z0-9+/]{3}=)?$/

/** Who is at the other end. */
export interface StreamRemote {
  readonly instance: string
  /** The peer id that it claims, and has to prove. */
  readonly peer: PeerId | undefined
}

/** What a stream tells its owner. */
export interface LanStreamEvents {
  /** Bytes for the other side. */
  write(xml: string): void
  /** Somebody opens a stream to us: the owner answers with `admit` or `refuse`, now or later; what follows waits. */
  asked(from: string): void
  /** Both headers are there. */
  opened(): void
  /** The other side holds the key of the peer that it claims to be. */
  proven(peer: PeerId): void
  chat(text: string, id: string | undefined): void
  composing(composing: boolean): void
  /** The other side has the message of this id (XEP-0184), */
  receipt(id: string): void
  /** or sends it back with an error. */
  undelivered(id: string): void
  signal(sealed: Uint8Array): void
  refused(code: ErrorCode): void
  /** Once: the stream is over, and the connection may be closed behind what was written. No error where both sides agreed. */
  closed(error: PartylineError | undefined): void
}

export interface LanStreamOptions {
  readonly role: StreamRole
  /** Our own instance, `''` while we have none. */
  readonly self: string
  /** Whom we dialled; undefined for a responder. */
  readonly remote?: StreamRemote
  readonly identity: Pick<Identity, 'peer' | 'sign'>
  readonly randomBytes: (size: number) => Uint8Array
}

/**
 * One serverless stream (XEP-0174), free of I/O: bytes and a time in; bytes, events and the next deadline out. It begins when the connection
 * is there.
 */
export class LanStream {
  readonly #options: LanStreamOptions
  readonly #events: LanStreamEvents
  readonly #reader = new XmlReader()
  readonly #messages: TokenBucket
  readonly #ownId: string
  readonly #began: Milliseconds
  #state: 'header' | 'asked' | 'open' | 'ending' | 'closed' = 'header'
  #remote: StreamRemote | undefined
  #remoteId = ''
  #remoteVersion: '1.0' | undefined
  #headerSent = false
  #proofSeen = false
  #proven = false
  #knowsChatStates = false
  #moved: Milliseconds
  #input: Uint8Array[] = []
  #reading: Generator<XmlEvent, void, void> | undefined
  #isPumping = false

  constructor(options: LanStreamOptions, events: LanStreamEvents, now: Milliseconds) {
    this.#options = options
    this.#events = events
    this.#remote = options.remote
    this.#began = now
    this.#moved = now
    this.#messages = new TokenBucket(MESSAGES, now)
    this.#ownId = Buffer.from(options.randomBytes(ID_SIZE)).toString('hex')
  }

  /** Sends the initiator's header. */
  start(): void {
    if (this.#options.role === 'initiator') this.#sendHeader('1.0')
  }

  get remote(): StreamRemote | undefined {
    return this.#remote
  }

  /** True when both headers are there, and the proof of a Partyline host. */
  get isReady(): boolean {
    return this.#state === 'open' && (this.#remote?.peer === undefined || this.#proven)
  }

  get isProven(): boolean {
    return this.#state === 'open' && this.#proven
  }

  /** When `tick` wants to be called next; undefined when it is over. */
  get deadline(): Milliseconds | undefined {
    if (this.#state === 'closed') return undefined
    if (this.#state === 'ending') return this.#moved + GOODBYE
    return this.isReady ? this.#moved + IDLE : this.#began + HANDSHAKE
  }

  /** Bytes off the connection. Whatever they are, this does not throw: what is illegal ends the stream. */
  receive(bytes: Uint8Array, now: Milliseconds): void {
    if (this.#state === 'closed') return
    if (this.#state !== 'ending') this.#moved = now
    if (this.#input.reduce((sum, { length }) => sum + length, bytes.length) > MAX_BACKLOG)
      return this.#fail('policy-violation', new PartylineError('peer.oversized', 'too much before an answer'))
    this.#input.push(bytes)
    this.#pump(now)
  }

  /** Takes the stream that somebody asked for. */
  admit(remote: StreamRemote, now: Milliseconds): void {
    if (this.#state !== 'asked') return
    this.#remote = remote
    this.#sendHeader(this.#remoteVersion)
    if (this.#remoteVersion) this.#write(NO_FEATURES)
    this.#opened()
    this.#pump(now)
  }

  /** Ends a stream opened in the name of somebody who is not there. */
  refuse(): void {
    if (this.#state === 'asked') this.#impersonated('a stream in the name of somebody who is not there')
  }

  /** Sends a message with an id, asking for a receipt (XEP-0184). */
  sendChat(text: string, id: string, now: Milliseconds): void {
    const children = [
      xml('body', {}, text),
      asHtml(text),
      xml('active', { xmlns: NS.chatStates }),
      xml('request', { xmlns: NS.receipts }),
    ]
    this.#send(this.#message({ type: 'chat', id }, ...children), now)
  }

  /** Tells whether the user is writing, where the other side is known to care (XEP-0085 section 5.1). */
  sendChatState(composing: boolean, now: Milliseconds): void {
    if (!this.#knowsChatStates) return
    const state = xml(composing ? 'composing' : 'active', { xmlns: NS.chatStates })
    this.#send(this.#message({ type: 'chat' }, state), now)
  }

  /** Sends a sealed signal; only on a proven stream. */
  sendSignal(sealed: Uint8Array, now: Milliseconds): void {
    if (!this.#proven) return
    this.#send(this.#message({}, xml('signal', { xmlns: NS.signal }, Buffer.from(sealed).toString('base64'))), now)
  }

  /** Closes our side; the other has a moment to close its own. */
  end(now: Milliseconds): void {
    if (this.#state === 'ending' || this.#state === 'closed') return
    const isOpen = this.#state === 'open'
    if (this.#headerSent) this.#write(STREAM_END)
    if (!isOpen) return this.#close(new PartylineError('network.lost', 'the stream was given up'))
    this.#state = 'ending'
    this.#moved = now
  }

  /** The connection is gone. */
  lost(): void {
    const ended = this.#state === 'ending'
    this.#close(ended ? undefined : new PartylineError('network.lost', 'the connection of the stream was lost'))
  }

  tick(now: Milliseconds): void {
    if (this.deadline === undefined || now < this.deadline) return
    if (this.#state === 'ending') this.#close(undefined)
    else if (this.isReady) this.end(now)
    else this.#fail('connection-timeout', new PartylineError('peer.handshake-timeout'))
  }

  /** Reads what has come, as far as it may be read now. */
  #pump(now: Milliseconds): void {
    if (this.#isPumping) return
    this.#isPumping = true
    try {
      while (this.#state !== 'asked' && this.#state !== 'closed') {
        const bytes = this.#reading ? undefined : this.#input.shift()
        if (bytes) this.#reading = this.#reader.push(bytes)
        if (!this.#reading) break
        const { done, value } = this.#reading.next()
        if (done) this.#reading = undefined
        else this.#take(value, now)
      }
    } catch (error) {
      const condition = error instanceof XmlError ? error.condition : 'internal-server-error'
      this.#fail(condition, toPartylineError(error))
    } finally {
      this.#isPumping = false
    }
  }

  #take(event: XmlEvent, now: Milliseconds): void {
    switch (event.type) {
      case 'open':
        return this.#header(event.attrs)
      case 'stanza':
        return this.#stanza(event.element, now)
      case 'close':
        if (this.#state === 'open') this.#write(STREAM_END)
        return this.#close(undefined)
    }
  }

  #header({ from, to, id, version }: Readonly<Record<string, string | undefined>>): void {
    this.#remoteId = id ?? ''
    // A later minor version is spoken to as 1.0 (RFC 6120 section 4.7.5).
    this.#remoteVersion = version?.startsWith('1.') ? '1.0' : undefined
    if (this.#remote) {
      if (from !== undefined && from !== this.#remote.instance)
        return this.#impersonated(`${this.#remote.instance} was dialled, and somebody else answers`)
      return this.#opened()
    }
    const { self } = this.#options
    if (self === '' || (to !== undefined && to !== self))
      return this.#fail('host-unknown', new PartylineError('peer.not-found', 'a stream to somebody else'))
    if (from === undefined || from === '' || from.length > MAX_INSTANCE)
      return this.#fail('improper-addressing', new PartylineError('peer.bad-xml', 'a stream from nobody'))
    if (from === self) return this.#impersonated('a stream in our own name')
    this.#state = 'asked'
    this.#events.asked(from)
  }

  #sendHeader(version: '1.0' | undefined): void {
    const { self, role } = this.#options
    // An initiator's id means something to Partyline hosts only (RFC 6120 section 4.7.3).
    const id = role === 'responder' || this.#remote?.peer !== undefined ? this.#ownId : undefined
    this.#headerSent = true
    this.#write(streamHeader({ from: self, to: this.#remote?.instance, id, version }))
  }

  #opened(): void {
    this.#state = 'open'
    const facts = this.#facts()
    if (facts) {
      const { identity, role } = this.#options
      const sig = streamProof(facts, role, identity)
      this.#write(xml('proof', { xmlns: NS.identity, peer: identity.peer, sig }).toString())
    }
    this.#events.opened()
  }

  /** What is to be proven; undefined where the other side is no Partyline host, or told no id. */
  #facts(): StreamFacts | undefined {
    const { role, self, identity } = this.#options
    if (this.#remote?.peer === undefined || this.#remoteId === '') return undefined
    const { instance, peer } = this.#remote
    const pair = <T>(own: T, other: T): Record<StreamRole, T> =>
      role === 'initiator' ? { initiator: own, responder: other } : { initiator: other, responder: own }
    return {
      ids: pair(this.#ownId, this.#remoteId),
      instances: pair(self, instance),
      peers: pair(identity.peer, peer),
    }
  }

  #stanza(stanza: Element, now: Milliseconds): void {
    const { from } = stanza.attrs
    if (from !== undefined && from !== this.#remote?.instance) return this.#impersonated('a stanza from somebody else')
    if (stanza.is('message', NS.client)) return this.#received(stanza, now)
    if (stanza.is('iq', NS.client)) return this.#asked(stanza)
    if (stanza.is('proof', NS.identity)) return this.#checkProof(stanza)
    if (stanza.is('error', NS.stream)) {
      const condition = stanza.getChildElements()[0]?.getName() ?? ''
      // Conditions are names (RFC 6120 section 4.9.3); whatever else stands there is for no log and no screen.
      const told = /^[a-z-]{1,40}$/.test(condition) ? condition : 'an unknown condition'
      this.#write(STREAM_END)
      return this.#close(new PartylineError('network.lost', `the other side ended the stream: ${told}`))
    }
    if (stanza.is('presence', NS.client) || stanza.is('features', NS.stream)) return
    this.#fail('unsupported-stanza-type', new PartylineError('peer.bad-xml', 'a stanza of no known kind'))
  }

  #received(message: Element, now: Milliseconds): void {
    const { id, type = 'normal' } = message.attrs
    if (type === 'error') {
      if (id !== undefined) this.#events.undelivered(id)
      return
    }
    if (type !== 'chat' && type !== 'normal') return
    const signal = message.getChild('signal', NS.signal)
    if (signal) return this.#signalled(signal.getText())
    const state = chatStateOf(message)
    if (state) this.#knowsChatStates = true
    const received = message.getChild('received', NS.receipts)?.attrs.id
    if (received !== undefined) this.#events.receipt(received)
    const text = bodyOf(message)
    if (text !== undefined && text.trim() !== '') this.#chat(message, text, now)
    else if (state) this.#events.composing(state === 'composing')
  }

  #chat(message: Element, text: string, now: Milliseconds): void {
    const { id } = message.attrs
    const refused = isChatText(text) ? (this.#messages.take(now) ? undefined : 'peer.rate-limited') : 'peer.oversized'
    if (refused) {
      this.#events.refused(refused)
      const condition = refused === 'peer.oversized' ? 'not-acceptable' : 'resource-constraint'
      return this.#write(errorAnswer(message, this.#options.self, condition).toString())
    }
    this.#events.chat(text, id)
    if (id !== undefined && message.getChild('request', NS.receipts))
      this.#write(this.#message({}, xml('received', { xmlns: NS.receipts, id })).toString())
  }

  #signalled(text: string): void {
    if (!this.#proven) return this.#impersonated('a signal before a proof', 'not-authorized')
    if (text.length > Math.ceil(MAX_STREAM_SIGNAL / 3) * 4) return this.#events.refused('peer.oversized')
    if (text === '' || !BASE64.test(text)) return this.#events.refused('peer.bad-signal')
    this.#events.signal(Buffer.from(text, 'base64'))
  }

  /** Answers a question; results and errors must not be answered (RFC 6120 section 8.2.3). */
  #asked(iq: Element): void {
    const { type, id } = iq.attrs
    if (id === undefined || (type !== 'get' && type !== 'set')) return
    const { self } = this.#options
    const query = iq.getChild('query', NS.discoInfo)
    if (type === 'get' && query) return this.#write(discoInfoAnswer(iq, query, self).toString())
    const isPing = type === 'get' && iq.getChild('ping', NS.ping) !== undefined
    this.#write((isPing ? resultAnswer(iq, self) : errorAnswer(iq, self, 'service-unavailable')).toString())
  }

  #checkProof(proof: Element): void {
    const facts = this.#facts()
    const { peer = '', sig = '' } = proof.attrs
    // Each stream has one proof; checking more would let anybody make us work.
    if (!facts || this.#proofSeen) return
    this.#proofSeen = true
    const role = this.#options.role === 'initiator' ? 'responder' : 'initiator'
    if (peer !== facts.peers[role]) return this.#impersonated('a proof of another key', 'not-authorized')
    if (!isStreamProof(facts, role, sig))
      return this.#fail('not-authorized', new PartylineError('peer.bad-signature', 'a proof that proves nothing'))
    this.#proven = true
    this.#knowsChatStates = true
    this.#events.proven(facts.peers[role])
  }

  #message(attrs: Record<string, string | undefined>, ...children: readonly Element[]): Element {
    return xml('message', { ...attrs, from: this.#options.self, to: this.#remote?.instance }, ...children)
  }

  #send(stanza: Element, now: Milliseconds): void {
    if (this.#state !== 'open') return
    this.#moved = now
    this.#write(stanza.toString())
  }

  #impersonated(message: string, condition: StreamCondition = 'invalid-from'): void {
    this.#fail(condition, new PartylineError('peer.impersonation', message))
  }

  #fail(condition: StreamCondition, error: PartylineError): void {
    if (this.#state === 'closed') return
    // A stream error comes inside of a stream (RFC 6120 section 4.9.1.2).
    if (!this.#headerSent) this.#sendHeader(this.#remoteVersion)
    this.#write(`${streamError(condition)}${STREAM_END}`)
    this.#events.refused(error.code)
    this.#close(error)
  }

  #close(error: PartylineError | undefined): void {
    if (this.#state === 'closed') return
    this.#state = 'closed'
    this.#input = []
    this.#reading = undefined
    this.#events.closed(error)
  }

  #write(text: string): void {
    if (this.#state !== 'ending' && this.#state !== 'closed') this.#events.write(text)
  }
}
