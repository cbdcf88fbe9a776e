import { EventEmitter } from 'node:events'
import { type Client, type ClientSocket, client, type Transport } from '@xmpp/client'
import type { Element } from 'ltx'
import { cleanReason } from '../clean-text.ts'
import { PartylineError } from '../errors.ts'
import { NS } from './namespaces.ts'
import { ScramMechanism } from './scram.ts'
import { xml } from './stanzas.ts'
import type { Resumption } from './stream-management.ts'

const NS_SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'
const NS_BIND = 'urn:ietf:params:xml:ns:xmpp-bind'
/** SASL mechanisms that are known here. */
export type Mechanism = 'SCRAM-SHA-256' | 'SCRAM-SHA-1' | 'PLAIN'

/** The package's own patience, on the system's clock; ours is shorter. */
const PACKAGE_TIMEOUT = 60_000

interface LogInOptions {
  /** What it is called in messages. */
  readonly who: 'the hub' | 'the server'
  readonly domain: string
  /** Those that may be used, the best first. */
  readonly mechanisms: readonly Mechanism[]
  readonly credential: () => { readonly username: string; readonly password: string }
  /** Wished for as the last part of the address; the server picks one where this is absent. */
  readonly resource?: string
  readonly write: (xml: string, done: (error?: Error | null) => void) => void
  /** A stream that is to go on (XEP-0198), if the server still has it. */
  readonly resume?: Resumption | undefined
  /** The package waits for a new stream: what comes next has a header of its own. */
  readonly onStream: () => void
}

/**
 * Stream, SASL and resource binding by `@xmpp/client`, on a connection that is there. It connects nowhere itself, and is shown nothing
 * but what these three take: so a server can neither make it send the credential in another way, nor go elsewhere, nor keep queues.
 */
export class StreamLogIn {
  /** The server counts stanzas (XEP-0198). */
  offersManagement = false
  /** `done` is settled, or about to be. */
  isDone = false
  /** How a stream went on, instead of a new one. */
  resumed: Element | undefined
  /** What was offered after the log-in, while a stream is asked to go on. */
  #held: Element | undefined
  readonly #settle: { readonly resolve: (jid: string) => void; readonly reject: (error: PartylineError) => void }
  /** Resolves to the full address that was bound. Rejects with `peer.not-authorized`, `peer.busy` or `peer.malformed`. */
  readonly done: Promise<string>
  readonly #client: Client
  readonly #options: LogInOptions
  #scram: ScramMechanism | undefined
  #parser: EventEmitter | undefined

  constructor(options: LogInOptions) {
    this.#options = options
    this.#client = this.#createClient(options)
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    this.done = promise
    this.#settle = { resolve, reject }
    // Whoever waits for `done` is told; without this the process would be, too, when nobody does any more.
    promise.catch(() => {})
    this.#client.on('online', () => {
      this.isDone = true
      resolve(String(this.#client.jid))
    })
    this.#client.on('error', (error: unknown) => reject(refusalOf(error, options.who)))
    this.#start(options.domain).catch((error: unknown) => reject(refusalOf(error, options.who)))
  }

  /** The stream's header has come. */
  streamOpened(attrs: Readonly<Record<string, string | undefined>>): void {
    this.#parser?.emit('start', xml('stream:stream', attrs))
  }

  /** What came on the stream before `done`. Throws where the package cannot read it. */
  take(element: Element): void {
    const isOffer = element.is('features', NS.stream)
    if (isOffer && this.#resumes(element)) return
    if (element.getNS() === NS.management) return this.#takeManagement(element)
    if (isOffer) prune(element, this.#options.mechanisms)
    const isAnswer = element.is('iq', NS.client) && (element.attrs.type === 'result' || element.attrs.type === 'error')
    if (!isOffer && !isAnswer && element.getNS() !== NS_SASL) return
    if (element.is('success', NS_SASL)) this.#checkProof(element)
    // The package would read them as addresses, and throw where they are none.
    for (const name of ['from', 'to']) delete element.attrs[name]
    this.#parser?.emit('element', element)
  }

  /** Asks for the stream to go on, where the server can do that; true while its answer is waited for. */
  #resumes(features: Element): boolean {
    if (features.getChild('mechanisms', NS_SASL)) return false
    this.offersManagement = features.getChild('sm', NS.management) !== undefined
    const { resume, write } = this.#options
    if (!resume || !this.offersManagement) return false
    this.#held = features
    write(
      xml('resume', { xmlns: NS.management, previd: resume.id, h: String(resume.received) }).toString(),
      (error) => error && this.#settle.reject(refusalOf(error, this.#options.who)),
    )
    return true
  }

  #takeManagement(answer: Element): void {
    const { resume } = this.#options
    const features = this.#held
    if (!features || !resume) return
    this.#held = undefined
    if (answer.is('resumed')) {
      this.resumed = answer
      this.isDone = true
      return this.#settle.resolve(resume.jid)
    }
    prune(features, this.#options.mechanisms)
    this.#parser?.emit('element', features)
  }

  /** Gives up. Safe when it is done. */
  abandon(reason: PartylineError): void {
    this.#client.emit('error', reason)
    for (const { reject } of this.#client.iqCaller.handlers.values()) reject(reason)
  }

  #replaceScram(one: Client): void {
    const keep = (scram: ScramMechanism): ScramMechanism => {
      this.#scram = scram
      return scram
    }
    const kept = one.saslFactory._mechs.filter(({ name }) => name === 'PLAIN')
    const own = (['SCRAM-SHA-256', 'SCRAM-SHA-1'] as const).map((name) => ({
      name,
      // Called with `new`: what a constructor returns takes the place of what it made.
      mech: function Scram() {
        return keep(new ScramMechanism(name))
      },
    }))
    one.saslFactory._mechs.splice(0, Number.POSITIVE_INFINITY, ...own, ...kept)
  }

  async #start(domain: string): Promise<void> {
    await this.#client.connect('xmpps://hub')
    await this.#client.open({ domain })
  }

  /** A server that took the proof of the password has to give its own (RFC 5802 section 3). */
  #checkProof(success: Element): void {
    const { who } = this.#options
    if (this.#scram && !this.#scram.isProof(Buffer.from(success.getText(), 'base64').toString()))
      throw new PartylineError('peer.bad-signature', `${who} did not prove that it knows the password`)
  }

  #createClient({ who, domain, mechanisms, credential, resource, write, onStream }: LogInOptions): Client {
    const service = 'xmpps://hub'
    const one = client({
      service,
      domain,
      timeout: PACKAGE_TIMEOUT,
      ...(resource !== undefined && { resource }),
      credentials: async (authenticate, offered) => {
        const mechanism = mechanisms.find((name) => offered.includes(name))
        if (!mechanism)
          throw new PartylineError('peer.malformed', `${who} offers no ${mechanisms.join(', ')} to log in with`)
        await authenticate(credential(), mechanism)
      },
    })
    one.reconnect.stop()
    this.#replaceScram(one)
    const Tls = one.transports.find((transport) => transport.prototype.socketParameters(service))
    if (!Tls) throw new TypeError('@xmpp/client cannot connect')
    class Adopted extends (Tls as new () => object) {}
    one.transports = [Adopted as unknown as Transport]
    const keepParser = (parser: EventEmitter): void => {
      this.#parser = parser
      onStream()
    }
    Object.assign(Adopted.prototype, {
      socketParameters: () => ({}),
      Parser: class extends EventEmitter {
        constructor() {
          super()
          keepParser(this)
        }
      },
      Socket: class extends EventEmitter implements ClientSocket {
        readonly secure = true
        connect(): void {
          process.nextTick(() => this.emit('connect'))
        }
        write(text: string, done: (error?: Error | null) => void): void {
          write(text, done)
        }
        end(): void {}
      },
    })
    return one
  }
}

/** Leaves of what a server offers (RFC 6120 section 4.3.2) what we take. */
function prune(features: Element, mechanisms: readonly string[]): void {
  features.children = features.getChildElements().filter((one) => {
    if (one.is('mechanisms', NS_SASL)) {
      one.children = one.getChildElements().filter((mechanism) => mechanisms.includes(mechanism.getText()))
      return true
    }
    return one.is('bind', NS_BIND)
  })
}

/** What the package failed with, as one of ours. */
function refusalOf(error: unknown, who: string): PartylineError {
  if (error instanceof PartylineError) return error
  const { name, condition, text, message } = error as Error & { condition?: string; text?: string }
  // Conditions are names (RFC 6120 section 6.5); the package makes sentences of what it cannot do.
  if (name !== 'SASLError' || !/^[a-z-]+$/.test(condition ?? ''))
    return new PartylineError('peer.malformed', `${who} cannot be logged in at: ${cleanReason(message)}`)
  const reason = cleanReason(text || condition || message)
  if (condition === 'temporary-auth-failure')
    return new PartylineError('peer.busy', `${who} takes nobody now: ${reason}`)
  const hint = who === 'the server' ? { hint: 'Check the address and the password of the account.' } : undefined
  return new PartylineError('peer.not-authorized', `${who} refused the log-in: ${reason}`, hint)
}
