import { createSocket } from 'node:dgram'
import { Bonjour, type Browser, type Service } from 'bonjour-service'
import type { Clock, Timer } from '../../clock.ts'
import type { ErrorCode } from '../../errors.ts'
import { plainAddress } from '../../network/addresses.ts'
import type { InterfaceAddress } from '../../network/network.ts'
import { TokenBucket, TokenBuckets } from '../../token-bucket.ts'
import type { Milliseconds } from '../../types.ts'
import { instanceLabel, type ServiceType, serviceName } from './service-name.ts'

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
const PER_ADDRESS = { rate: 50, burst: 200, keys: 4096 }
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

/** What this host tells of itself in one service. */
export interface Advertisement {
  /** The instance: one label of at most 63 bytes of UTF-8, without dots. */
  readonly instance: string
  readonly port: number
  /** In the order in which the keys are to stand. */
  readonly txt: Readonly<Record<string, string>>
  /** Its host name, with `.local`. The machine's own belongs to whoever answers for it, avahi say. */
  readonly host: string
}

/** A service of DNS-SD, as one part of the daemon uses it on every interface. */
export interface MdnsService {
  readonly type: ServiceType
  /** Whether others are looked for. */
  readonly browses: boolean
  /** What is advertised now; undefined for nothing. */
  advertisement(): Advertisement | undefined
  /** Full names of the instances that need not answer our questions. */
  known(interfaceName: string, family: 4 | 6): readonly string[]
  /** An instance was told of; `service` is the package's, with whatever a stranger wrote into it. */
  found(service: Service, from: Heard): void
  /** An instance said goodbye. */
  lost(fqdn: string, from: Pick<Heard, 'interface' | 'responder'>): void
  /** The instance and host name that nobody else may use; a service whose instance is unique by itself claims nothing. */
  claim?(): { readonly instance: string; readonly host: string } | undefined
  /** Somebody else, whose host name is `host`, uses the instance that is claimed (RFC 6762 section 9). */
  clashed?(instance: string, host: string): void
  /** An interface has gone, and all that was heard there. */
  interfaceGone(name: string): void
}

/** Where something was heard. */
export interface Heard {
  readonly interface: string
  /** The source of the packet, without a zone. */
  readonly address: string
  /** The addresses that the packet tells of the instance's host. */
  readonly addresses: readonly string[]
  readonly responder: MdnsResponder
}

/** What lies below `bonjour-service`; its types keep it private, and its answers need mending (RFC 6762 section 6 and 7). */
interface Internals {
  readonly registry: { readonly services: Service[] }
  readonly server: {
    respondToQuery(packet: DnsPacket): void
    unregister(records: readonly DnsRecord[]): void
    readonly mdns: {
      respond(response: DnsRecord[] | { answers: DnsRecord[]; additionals?: DnsRecord[] }, done?: Done): void
      query(question: DnsPacket | string, type?: string, done?: Done): void
      on(event: 'query' | 'response', listener: (packet: DnsPacket, from: PacketSource) => void): void
      on(event: 'warning' | 'error', listener: (error: Error) => void): void
      removeListener(event: 'response', listener: (packet: DnsPacket, from: PacketSource) => void): void
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
  readonly services: () => Iterable<MdnsService>
  /** True for a packet that came in on this interface: a socket hears what any of the machine's sockets joined. */
  readonly isMine: (from: PacketSource) => boolean
  readonly onRefused: (code: ErrorCode) => void
  readonly onError: (error: Error) => void
}

/** What the browser keeps of an instance. */
type KnownService = Service & { readonly rawTxt?: unknown }

/** One service on this interface and family. */
interface Served {
  readonly service: MdnsService
  readonly browser: Browser | undefined
  published: Service | undefined
}

/** mDNS on one interface and family: announces, answers, asks. */
export class MdnsResponder {
  readonly #options: ResponderOptions
  readonly #bonjour: Bonjour
  readonly #internals: Internals
  readonly #mdns: Internals['server']['mdns']
  readonly #perAddress = new TokenBuckets(PER_ADDRESS)
  readonly #inAll: TokenBucket
  readonly #asking: TokenBucket
  readonly #lastAnswers = new Map<string, Milliseconds>()
  readonly #timers = new Set<Timer>()
  readonly #respond: Internals['server']['mdns']['respond']
  readonly #served = new Map<MdnsService, Served>()
  #asked = 0
  #question: Timer | undefined
  #closed = false

  constructor(options: ResponderOptions) {
    this.#options = options
    const { interfaceName, family, addresses, clock } = options
    this.#inAll = new TokenBucket(IN_ALL, clock.now())
    this.#asking = new TokenBucket(ASKING, clock.now())
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
    this.#internals = this.#bonjour as unknown as Internals
    const { server } = this.#internals
    this.#mdns = server.mdns
    this.#mdns.on('error', options.onError)
    this.#mdns.on('warning', (error) => {
      // The system's errors have a code (a membership that failed, say); without one it was a packet that cannot be read.
      if ('code' in error) options.onError(error)
      else options.onRefused('peer.malformed')
    })
    const emit = this.#mdns.emit.bind(this.#mdns)
    this.#mdns.emit = (event, ...args) => {
      if (event !== 'query' && event !== 'response') return emit(event, ...args)
      const [packet, from] = args as [DnsPacket, PacketSource]
      return this.#admit(packet, from, () => emit(event, event === 'query' ? packet : this.#completed(packet), from))
    }
    this.#respond = this.#mdns.respond.bind(this.#mdns)
    this.#mdns.respond = (response, done) => this.#answer(response, done)
    this.#mdns.removeAllListeners('query')
    this.#mdns.on('query', (packet) => {
      const questions = this.#unanswered(packet)
      if (questions.length > 0) server.respondToQuery({ ...packet, questions })
    })
    const query = this.#mdns.query.bind(this.#mdns)
    this.#mdns.query = (question, type, done) => {
      const served = [...this.#served.values()].find(({ service }) => serviceName(service.type) === question)
      query(served ? this.#questionOf(served) : question, type, done)
    }
    for (const service of options.services()) this.serve(service)
    // After the browsers, so that they know the services already.
    this.#mdns.on('response', (packet, from) => this.#heard(packet, from))
  }

  /** Begins to browse and advertise a service. */
  serve(service: MdnsService): void {
    if (this.#closed || this.#served.has(service)) return
    const name = serviceName(service.type)
    // The browser asks as it is made: by then the service has to be known, for its known answers.
    const served: { -readonly [K in keyof Served]: Served[K] } = { service, browser: undefined, published: undefined }
    this.#served.set(service, served)
    this.advertise(service)
    if (!service.browses) return
    served.browser = this.#bonjour.find({ type: service.type })
    served.browser.on('down', ({ fqdn }: Service) => {
      if (isInstanceOf(fqdn, name)) service.lost(fqdn, this.#here())
    })
    // Its listener was added after ours: ours has to be the last.
    const heard = this.#heard
    this.#mdns.removeListener('response', heard)
    this.#mdns.on('response', heard)
    this.#askAgain()
  }

  /** Ends a service with a goodbye. */
  async dismiss(service: MdnsService): Promise<void> {
    const served = this.#served.get(service)
    if (!served) return
    this.#served.delete(service)
    served.browser?.stop()
    await this.#withdraw(served)
  }

  /**
   * Announces what a service advertises now. What is new about an instance is announced in place of what was (RFC 6762 section 8.4); an
   * instance that is no longer advertised gets a goodbye.
   */
  advertise(service: MdnsService): void {
    const served = this.#served.get(service)
    if (!served) return
    const next = service.advertisement()
    const { published } = served
    if (published && next && published.fqdn === `${next.instance}.${serviceName(service.type)}`) this.#forget(published)
    else void this.#withdraw(served)
    served.published = next && this.#publish(service.type, next)
  }

  /** Asks for records that should have come with others and did not (another responder may split its answers). */
  askFor(service: MdnsService, fqdn: string): void {
    if (!this.#asking.take(this.#options.clock.now())) return
    const name = serviceName(service.type)
    const label = instanceLabel(fqdn, name)
    // The package takes a dot for the end of a label: an instance that has one cannot be asked for by name.
    const direct = label !== undefined && !label.includes('.') ? ['SRV', 'TXT'] : []
    this.#mdns.query({
      questions: [...direct.map((type) => ({ name: fqdn, type })), { name, type: 'PTR' }],
    })
  }

  /** Asks whether anybody uses an instance name (RFC 6762 section 8.1). */
  probe(fqdn: string): void {
    this.#mdns.query({ questions: [{ name: fqdn, type: 'ANY' }] })
  }

  /** Says goodbye, unless the interface is gone, and closes the socket. */
  async close(goodbye: boolean): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const timer of this.#timers) timer.cancel()
    for (const { browser } of this.#served.values()) browser?.stop()
    if (goodbye) await this.#patiently((done) => this.#bonjour.unpublishAll(done))
    this.#bonjour.destroy()
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

  /** Every response: who is new is found, who is known is fresh again, and what came in pieces is asked for. */
  readonly #heard = (packet: DnsPacket, from: PacketSource): void => {
    const records = [...(packet.answers ?? []), ...(packet.additionals ?? [])].filter(({ ttl = 0 }) => ttl > 0)
    for (const served of this.#served.values()) {
      this.#lookForClash(served, records)
      if (!served.browser) continue
      const name = serviceName(served.service.type)
      for (const fqdn of instancesIn(records, name)) {
        const service = this.#known(served, fqdn)
        const addresses = records.flatMap((record) =>
          (record.type === 'A' || record.type === 'AAAA') && record.name === service?.host ? [String(record.data)] : [],
        )
        if (service?.txt) served.service.found(service, { ...this.#here(), address: from.address, addresses })
        else this.askFor(served.service, fqdn)
      }
      this.#trim(served.browser)
    }
  }

  /**
   * The package looks at an instance only where PTR, SRV and TXT come together. A change of presence is a TXT alone: what is known of an instance
   * that a response tells of is added to it.
   */
  #completed(packet: DnsPacket): DnsPacket {
    const records = [...(packet.answers ?? []), ...(packet.additionals ?? [])]
    const live = records.filter(({ ttl = 0 }) => ttl > 0)
    const added: DnsRecord[] = []
    for (const served of this.#served.values()) {
      if (!served.browser) continue
      const name = serviceName(served.service.type)
      for (const fqdn of instancesIn(live, name)) {
        const has = (type: string): boolean =>
          live.some((record) =>
            type === 'PTR'
              ? record.type === type && record.data === fqdn
              : record.type === type && record.name === fqdn,
          )
        const known = this.#known(served, fqdn)
        if (!has('PTR')) added.push({ name, type: 'PTR', ttl: RECORD_TTL, data: fqdn })
        if (!known) continue
        if (!has('SRV'))
          added.push({ name: fqdn, type: 'SRV', ttl: RECORD_TTL, data: { port: known.port, target: known.host } })
        if (!has('TXT') && known.rawTxt) added.push({ name: fqdn, type: 'TXT', ttl: RECORD_TTL, data: known.rawTxt })
      }
    }
    return { ...packet, answers: packet.answers ?? [], additionals: [...(packet.additionals ?? []), ...added] }
  }

  #known({ browser }: Served, fqdn: string): KnownService | undefined {
    return browser?.services.find((service) => service.fqdn === fqdn)
  }

  /** Somebody else's SRV for our instance: its host is another's (RFC 6762 section 9). */
  #lookForClash({ service }: Served, records: readonly DnsRecord[]): void {
    const claim = service.claim?.()
    if (!claim) return
    const fqdn = `${claim.instance}.${serviceName(service.type)}`.toLowerCase()
    for (const { type, name, data } of records) {
      const target = (data as { target?: unknown } | undefined)?.target
      if (type !== 'SRV' || name.toLowerCase() !== fqdn || typeof target !== 'string' || target === claim.host) continue
      return service.clashed?.(claim.instance, target)
    }
  }

  /** The browser forgets nobody by itself: what is too many goes, oldest first. */
  #trim(browser: Browser): void {
    const { _services, serviceMap } = browser as unknown as BrowserInternals
    const excess = Math.max(0, _services.length - MAX_SERVICES)
    for (const { fqdn } of _services.splice(0, excess)) delete serviceMap[fqdn]
  }

  #here(): Pick<Heard, 'interface' | 'responder'> {
    return { interface: this.#options.interfaceName, responder: this }
  }

  #publish(type: ServiceType, { instance, port, txt, host }: Advertisement): Service {
    return this.#bonjour.publish({
      name: instance,
      type,
      port,
      txt: { ...txt },
      host,
      // Whether a name is free is found out before, where it has to be.
      probe: false,
      disableIPv6: this.#options.family === 4,
    })
  }

  async #withdraw(served: Served): Promise<void> {
    const { published } = served
    served.published = undefined
    if (published) await this.#patiently((done) => published.stop?.(done))
  }

  /** Without a goodbye: its records are about to be replaced. */
  #forget(published: Service): void {
    const { registry, server } = this.#internals
    server.unregister(published.records() as unknown as DnsRecord[])
    published.activated = false
    published.destroyed = true
    const index = registry.services.indexOf(published)
    if (index >= 0) registry.services.splice(index, 1)
    // The same answer within a second is held back, and this one is not the same.
    this.#lastAnswers.clear()
  }

  #patiently(task: (done: () => void) => void): Promise<void> {
    return new Promise((resolve) => {
      const patience = this.#options.clock.after(GOODBYE_PATIENCE, resolve)
      task(() => {
        patience.cancel()
        resolve()
      })
    })
  }

  /** Who is there? With what is known already (RFC 6762 section 7.1), so that only newcomers answer; oneself, who hears it too, does not. */
  #questionOf({ service, published }: Served): DnsPacket {
    const { interfaceName, family } = this.#options
    const name = serviceName(service.type)
    const known = [...(published ? [published.fqdn] : []), ...service.known(interfaceName, family)]
    return {
      questions: [{ name, type: 'PTR' }],
      answers: known.slice(0, MAX_KNOWN_ANSWERS).map((fqdn) => ({ name, type: 'PTR', ttl: RECORD_TTL, data: fqdn })),
    }
  }

  /** Questions that slow down. A service that is new has them begin again. */
  #askAgain(): void {
    this.#asked = 0
    this.#question?.cancel()
    const next = (): void => {
      const pause = QUESTIONS[Math.min(this.#asked++, QUESTIONS.length - 1)] ?? 0
      this.#question = this.#after(pause, () => {
        for (const { browser } of this.#served.values()) browser?.update()
        next()
      })
    }
    next()
  }

  /** The questions of a packet, without those for a service whose asker told that it knows us. */
  #unanswered({ questions = [], answers = [] }: DnsPacket): NonNullable<DnsPacket['questions']> {
    return questions.filter(({ name, type }) => {
      if (type !== 'PTR') return true
      const served = [...this.#served.values()].find(({ service }) => serviceName(service.type) === name.toLowerCase())
      return !answers.some(
        (known) => known.type === 'PTR' && known.data === served?.published?.fqdn && (known.ttl ?? 0) >= RECORD_TTL / 2,
      )
    })
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

  /** Records of which there is one are to replace what others have cached (RFC 6762 section 10.2). */
  #mend(records: readonly DnsRecord[]): DnsRecord[] {
    const { addresses } = this.#options
    // Resolvers give one address to programs, and Finch refuses whoever calls from another: not the link-local one where we call from a better.
    const better = addresses.some(({ family, scope }) => family === 6 && scope !== 'link-local')
    const told = addresses.filter(({ family, scope }) => family === 4 || scope !== 'link-local' || !better)
    const own = new Set(told.map(({ address }) => address))
    return records
      .filter(({ type, data }) => (type !== 'A' && type !== 'AAAA') || own.has(plainAddress(String(data))))
      .map((record) => ({ ...record, flush: record.type !== 'PTR', ttl: record.ttl === 0 ? 0 : RECORD_TTL }))
  }

  #after(delay: Milliseconds, task: () => void): Timer {
    const timer = this.#options.clock.after(delay, () => {
      this.#timers.delete(timer)
      if (!this.#closed) task()
    })
    this.#timers.add(timer)
    return timer
  }
}

/** The instances of a service that records tell of. */
function instancesIn(records: readonly DnsRecord[], name: string): Set<string> {
  const told = records.flatMap((record) => {
    if (record.type === 'PTR') return record.name.toLowerCase() === name ? [String(record.data)] : []
    return record.type === 'SRV' || record.type === 'TXT' ? [record.name] : []
  })
  return new Set(told.filter((fqdn) => isInstanceOf(fqdn, name)))
}

function isInstanceOf(fqdn: string, name: string): boolean {
  return instanceLabel(fqdn, name) !== undefined
}
