import { EventEmitter } from 'node:events'
import { type Client, type ClientSocket, client, type Transport } from '@xmpp/client'
import type { Element } from 'ltx'
import { cleanReason } from '../clean-text.ts'
import { PartylineError } from '../errors.ts'
import { NS } from '../xmpp/namespaces.ts'
import { xml } from '../xmpp/stanzas.ts'
import type { Credential } from './credential.ts'

const NS_SASL = 'urn:ietf:params:xml:ns:xmpp-sasl'
const NS_BIND = 'urn:ietf:params:xml:ns:xmpp-bind'
/** The package's own patience, on the system's clock; ours is shorter. */
const PACKAGE_TIMEOUT = 60_000

interface LogInOptions {
  readonly domain: string
  readonly credential: () => Credential
  readonly write: (xml: string, done: (error?: Error | null) => void) => void
  /** The package waits for a new stream: what comes next has a header of its own. */
  readonly onStream: () => void
}

/**
 * Stream, SASL PLAIN and resource binding by `@xmpp/client`, on a connection that is there. It connects nowhere itself, and is shown nothing
 * but what these three take: so a hub can neither make it send the credential in another way, nor go elsewhere, nor keep queues.
 */
export class HubLogIn {
  /** Resolves to the full address that was bound. Rejects with `peer.not-authorized`, `peer.busy` or `peer.malformed`. */
  readonly done: Promise<string>
  readonly #client: Client
  #parser: EventEmitter | undefined

  constructor(options: LogInOptions) {
    this.#client = this.#createClient(options)
    const { promise, resolve, reject } = Promise.withResolvers<string>()
    this.done = promise
    // Whoever waits for `done` is told; without this the process would be, too, when nobody does any more.
    promise.catch(() => {})
    this.#client.on('online', () => resolve(String(this.#client.jid)))
    this.#client.on('error', (error: unknown) => reject(refusalOf(error)))
    this.#start(options.domain).catch((error: unknown) => reject(refusalOf(error)))
  }

  /** The stream's header has come. */
  streamOpened(attrs: Readonly<Record<string, string | undefined>>): void {
    this.#parser?.emit('start', xml('stream:stream', attrs))
  }

  /** What came on the stream before `done`. Throws where the package cannot read it. */
  take(element: Element): void {
    const isOffer = element.is('features', NS.stream)
    if (isOffer) prune(element)
    const isAnswer = element.is('iq', NS.client) && (element.attrs.type === 'result' || element.attrs.type === 'error')
    if (!isOffer && !isAnswer && element.getNS() !== NS_SASL) return
    // The package would read them as addresses, and throw where they are none.
    for (const name of ['from', 'to']) delete element.attrs[name]
    this.#parser?.emit('element', element)
  }

  /** Gives up. Safe when it is done. */
  abandon(reason: PartylineError): void {
    this.#client.emit('error', reason)
    for (const { reject } of this.#client.iqCaller.handlers.values()) reject(reason)
  }

  async #start(domain: string): Promise<void> {
    await this.#client.connect('xmpps://hub')
    await this.#client.open({ domain })
  }

  #createClient({ domain, credential, write, onStream }: LogInOptions): Client {
    const service = 'xmpps://hub'
    const one = client({
      service,
      domain,
      timeout: PACKAGE_TIMEOUT,
      credentials: async (authenticate, mechanisms) => {
        if (!mechanisms.includes('PLAIN'))
          throw new PartylineError('peer.malformed', 'the hub does not offer SASL PLAIN')
        await authenticate(credential(), 'PLAIN')
      },
    })
    one.reconnect.stop()
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

/** Leaves of what a hub offers (RFC 6120 section 4.3.2) what we take. */
function prune(features: Element): void {
  features.children = features.getChildElements().filter((one) => {
    if (one.is('mechanisms', NS_SASL)) {
      one.children = one.getChildElements().filter((mechanism) => mechanism.getText() === 'PLAIN')
      return true
    }
    return one.is('bind', NS_BIND)
  })
}

/** What the package failed with, as one of ours. */
function refusalOf(error: unknown): PartylineError {
  if (error instanceof PartylineError) return error
  const { name, condition, text, message } = error as Error & { condition?: string; text?: string }
  // Conditions are names (RFC 6120 section 6.5); the package makes sentences of what it cannot do.
  if (name !== 'SASLError' || !/^[a-z-]+$/.test(condition ?? ''))
    return new PartylineError('peer.malformed', `the hub cannot be logged in at: ${cleanReason(message)}`)
  const reason = cleanReason(text || condition || message)
  if (condition === 'temporary-auth-failure')
    return new PartylineError('peer.busy', `the hub takes nobody now: ${reason}`)
  return new PartylineError('peer.not-authorized', `the hub refused the log-in: ${reason}`)
}
