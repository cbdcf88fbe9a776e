import { createSocket } from 'node:dgram'
import { Bonjour, type Browser, type Service } from 'bonjour-service'
import type { Clock, Timer } from '../../clock.ts'
import type { ErrorCode } from '../../errors.ts'
import { plainAddress } from '../../network/addresses.ts'
import type { InterfaceAddress } from '../../network/network.ts'
import type { Milliseconds, PeerId } from '../../types.ts'
import { TokenBucket, TokenBuckets } from '../beacon/token-bucket.ts'
import { instanceName, isInstance, SERVICE_NAME, SERVICE_TYPE, txtOf } from './record.ts'

/** Pauses between questions; the last is kept (RFC 6762 section 5.2 wants them to grow threefold at most an hour). */
const QUESTIONS: readonly Milliseconds[] = [1000, 3000, 9000, 27_000, 60_000]
/** The same records are not multicast again within this (RFC 6762 section 6). */
const ANSWER_PAUSE: Milliseconds = 1000
/** Answers to shared records wait for up to this, so that all hosts do not answer at once (RFC 6762 section 6). */
const ANSWER_SPREAD: Milliseconds = 100
/** Records live this long in others' caches, in seconds: long enough to survive lost packets, short enough to be gone with the host. */
const RECORD_TTL = 120
/** Known answers told in a question, as many as fit in one packet. */
const MAX_KNOWN_ANSWERS = 15
/** Services that the package's browser keeps; it looks through all of them for each that comes. */
const MAX_SERVICES = 1000
/** Questions and records of one packet; what holds more is no honest packet. */
const MAX_QUESTIONS = 64
const MAX_RECORDS = 256
/** Packets looked at, from one address and in all, a second and at once. */
const PER_ADDRESS = { rate: 50, burst: 200, addresses: 4096 }
const IN_ALL = { rate: 500, burst: 2000 }
/** Questions for what came in pieces or fell silent: somebody else's packets must not make us send many of our own. */
const ASKING = { rate: 10, burst: 40 }
/** A goodbye may take this long. */
const GOODBYE_PATIENCE: Milliseconds = 500

/** A resource record, as `multicast-dns` gives and takes it. */
export interface DnsRecord {
  readonly name: string
  readonly type: string
  ttl?: number
  readonly data: unknown
}

export interface DnsPacket {
  readonly questions?: readonly { readonly name: string; readonly type: string }[]
  readonly answers?: readonly DnsRecord[]
  readonly additionals?: readonly DnsRecord[]
}

export interface PacketSource {
  readonly address: string
  readonly port: number
}

type Done = (error?: Error | null) => void

/** What lies below `bonjour-service`; its types keep it private, and its answers need mending (RFC 6762 section 6 and 7). */
interface Internals {
  readonly server: {
    respondToQuery(packet: DnsPacket): void
    readonly mdns: {
      respond(response: DnsRecord[] | { answers: DnsRecord[]; additionals?: DnsRecord[] }, done?: Done): void
      query(question: DnsPacket | string, type?: string, done?: Done): void
      on(event: 'query' | 'response', listener: (packet: DnsPacket, from: PacketSource) => void): void
      on(event: 'warning' | 'error', listener: (error: Error) => void): void
      removeAllListeners(event: string): void
      emit(event: string, ...args: unknown[]): boolean
    }
  }
}

/** What the browser keeps of each service it ever saw. */
interface BrowserInternals {
  readonly _services: Service[]
  readonly serviceMap: Record<string, boolean>
}

interface ResponderOptions {
  readonly clock: Clock
  readonly interfaceName: string
  readonly family: 4 | 6
  /** The interface's own addresses. */
  readonly addresses: readonly InterfaceAddress[]
  readonly peer: PeerId
  readonly name: string
  readonly port: number
  /** True for a packet that came in on this interface: a socket hears what any of the machine's sockets joined. */
  readonly isMine: (from: PacketSource) => boolean
  /** Full names of the instances that need not answer our questions. */
  readonly known: () => readonly string[]
  readonly onResponse: (packet: DnsPacket, from: PacketSource) => void
  readonly onRefused: (code: ErrorCode) => void
  readonly onLost: (service: Service) => void
  readonly onError: (error: Error) => void
}

/** mDNS on one interface and family: announces, answers, asks. */
export class MdnsResponder {
  readonly #options: ResponderOptions
  readonly #bonjour: Bonjour
  readonly #mdns: Internals['server']['mdns']
  readonly #browser: Browser
  readonly #perAddress = new TokenBuckets(PER_ADDRESS)
  readonly #inAll: TokenBucket
  readonly #asking: TokenBucket
  readonly #lastAnswers = new Map<string, Milliseconds>()
  readonly #timers = new Set<Timer>()
  readonly #respond: Internals['server']['mdns']['respond']
  #service: Service
  #asked = 0
  #closed = false

  constructor(options: ResponderOptions) {
    this.#options = options
    const { interfaceName, family, addresses, clock } = options
    this.#inAll = new TokenBucket(IN_ALL.rate, IN_ALL.burst, clock.now())
    this.#asking = new TokenBucket(ASKING.rate, ASKING.burst, clock.now())
    const own = addresses.find((address) => address.family === 4)?.address
    const sockets =
      family === 4
        ? { interface: own ?? '', bind: '0.0.0.0' }
        : {
            // Our own socket: the package's would take IPv4 too.
            socket: createSocket({ type: 'udp6', reuseAddr: true, ipv6Only: true }),
            type: 'udp6',
            ip: 'ff02::fb',
            interface: `::%${interfaceName}`,
            bind: '::',
          }
    this.#bonjour = new Bonjour(sockets as ConstructorParameters<typeof Bonjour>[0], options.onError)
    const { server } = this.#bonjour as unknown as Internals
    this.#mdns = server.mdns
    this.#mdns.on('error', options.onError)
    this.#mdns.on('warning', (error) => {
      // The system's errors have a code (a membership that failed, say); without one it was a packet that cannot be read.
      if ('code' in error) options.onError(error)
      else options.onRefused('peer.malformed')
    })
    const emit = this.#mdns.emit.bind(this.#mdns)
    this.#mdns.emit = (event, ...args) =>
      event === 'query' || event === 'response'
        ? this.#admit(args[0] as DnsPacket, args[1] as PacketSource, () => emit(event, ...args))
        : emit(event, ...args)
    this.#respond = this.#mdns.respond.bind(this.#mdns)
    this.#mdns.respond = (response, done) => this.#answer(response, done)
    this.#mdns.removeAllListeners('query')
    this.#mdns.on('query', (packet) => {
      if (!this.#isKnownTo(packet)) server.respondToQuery(packet)
    })
    this.#service = this.#publish(options.name)
    const query = this.#mdns.query.bind(this.#mdns)
    this.#mdns.query = (question, type, done) =>
      query(question === SERVICE_NAME ? this.#question() : question, type, done)
    this.#browser = this.#bonjour.find({ type: SERVICE_TYPE })
    this.#browser.on('down', options.onLost)
    // After the browser, so that it knows the service already.
    this.#mdns.on('response', (packet, from) => {
      options.onResponse(packet, from)
      this.#trim()
    })
    this.#askAgain()
  }

  /** What the records of an instance said last. */
  service(fqdn: string): Service | undefined {
    return this.#browser.services.find((service) => service.fqdn === fqdn)
  }

  /** Lets a packet through, unless it is another interface's, one too many, or one that the package stumbles over. */
  #admit(packet: DnsPacket, from: PacketSource, pass: () => boolean): boolean {
    const { clock, isMine, onRefused } = this.#options
    if (this.#closed || !isMine(from)) return false
    const now = clock.now()
    const { questions = [], answers = [], additionals = [] } = packet
    if (!this.#perAddress.take(from.address, now) || !this.#inAll.take(now)) onRefused('peer.rate-limited')
    else if (questions.length > MAX_QUESTIONS || answers.length + additionals.length > MAX_RECORDS)
      onRefused('peer.oversized')
    else
      try {
        return pass()
      } catch {
        onRefused('peer.malformed')
      }
    return false
  }

  /** The browser forgets nobody by itself: what is too many goes, oldest first. */
  #trim(): void {
    const { _services, serviceMap } = this.#browser as unknown as BrowserInternals
    const excess = Math.max(0, _services.length - MAX_SERVICES)
    for (const { fqdn } of _services.splice(0, excess)) delete serviceMap[fqdn]
  }

  /** Asks for records that should have come with others and did not (another responder may split its answers). */
  askFor(fqdn: string): void {
    if (!isInstance(fqdn) || !this.#asking.take(this.#options.clock.now())) return
    this.#mdns.query({
      questions: [
        { name: fqdn, type: 'SRV' },
        { name: fqdn, type: 'TXT' },
        { name: SERVICE_NAME, type: 'PTR' },
      ],
    })
  }

  rename(name: string): void {
    const before = this.#service
    before.stop?.(() => {})
    this.#service = this.#publish(name)
  }

  /** Says goodbye, unless the interface is gone, and closes the socket. */
  async close(goodbye: boolean): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const timer of this.#timers) timer.cancel()
    this.#browser.stop()
    const { clock } = this.#options
    if (goodbye)
      await new Promise<void>((resolve) => {
        const patience = clock.after(GOODBYE_PATIENCE, resolve)
        this.#bonjour.unpublishAll(() => {
          patience.cancel()
          resolve()
        })
      })
    this.#bonjour.destroy()
  }

  #publish(name: string): Service {
    const { peer, port, family } = this.#options
    return this.#bonjour.publish({
      name: instanceName(peer, name),
      type: SERVICE_TYPE,
      port,
      txt: txtOf(peer, name),
      // A host name of our own: the machine's belongs to whoever answers for it, avahi say.
      host: `partyline-${peer.slice(0, 16)}.local`,
      // Unique by its peer id, so there is nothing to probe for, and others see it at once.
      probe: false,
      disableIPv6: family === 4,
    })
  }

  /** Who is there? With what is known already (RFC 6762 section 7.1), so that only newcomers answer; oneself, who hears it too, does not. */
  #question(): DnsPacket {
    const known = [this.#service.fqdn, ...this.#options.known()].slice(0, MAX_KNOWN_ANSWERS)
    return {
      questions: [{ name: SERVICE_NAME, type: 'PTR' }],
      answers: known.map((fqdn) => ({ name: SERVICE_NAME, type: 'PTR', ttl: RECORD_TTL, data: fqdn })),
    }
  }

  /** Questions that slow down. */
  #askAgain(): void {
    const pause = QUESTIONS[Math.min(this.#asked++, QUESTIONS.length - 1)] ?? 0
    this.#after(pause, () => {
      this.#browser.update()
      this.#askAgain()
    })
  }

  /** True when the asker told that it knows us. */
  #isKnownTo({ questions = [], answers = [] }: DnsPacket): boolean {
    const { fqdn } = this.#service
    if (questions.some(({ type }) => type !== 'PTR')) return false
    return answers.some(({ type, data, ttl = 0 }) => type === 'PTR' && data === fqdn && ttl >= RECORD_TTL / 2)
  }

  /** Mends an answer: this interface's addresses only, modest lifetimes, not the same again within a second. */
  #answer(response: Parameters<Internals['server']['mdns']['respond']>[0], done: Done = () => {}): void {
    const { answers, additionals = [] } = Array.isArray(response) ? { answers: response } : response
    const mended = { answers: this.#mend(answers), additionals: this.#mend(additionals) }
    const isGoodbye = answers.some(({ ttl }) => ttl === 0)
    if (isGoodbye || this.#closed) return this.#respond(mended, done)
    const key = mended.answers.map(({ name, type }) => `${name} ${type}`).join(' ')
    const { clock } = this.#options
    const now = clock.now()
    const last = this.#lastAnswers.get(key)
    const wait = last === undefined ? 0 : Math.max(0, last + ANSWER_PAUSE - now) + Math.random() * ANSWER_SPREAD
    // One is waiting already: it will do for this asker too.
    if (last !== undefined && last > now) return done()
    this.#lastAnswers.set(key, now + wait)
    if (wait === 0) return this.#respond(mended, done)
    this.#after(wait, () => this.#respond(mended, done))
  }

  #mend(records: readonly DnsRecord[]): DnsRecord[] {
    const own = new Set(this.#options.addresses.map(({ address }) => address))
    return records
      .filter(({ type, data }) => (type !== 'A' && type !== 'AAAA') || own.has(plainAddress(String(data))))
      .map((record) => ({ ...record, ttl: record.ttl === 0 ? 0 : RECORD_TTL }))
  }

  #after(delay: Milliseconds, task: () => void): void {
    const timer = this.#options.clock.after(delay, () => {
      this.#timers.delete(timer)
      if (!this.#closed) task()
    })
    this.#timers.add(timer)
  }
}
