import { createSocket } from 'node:dgram'
import { Bonjour, type Browser, type Service } from 'bonjour-service'
import type { Clock, Timer } from '../../clock.ts'
import type { ErrorCode } from '../../errors.ts'
import type { InterfaceAddress } from '../../network/network.ts'
import { TokenBucket } from '../../token-bucket.ts'
import type { Milliseconds } from '../../types.ts'
import { Answers, RECORD_TTL } from './answers.ts'
import { type DnsPacket, type DnsRecord, instancesIn, liveRecords, otherHostOf } from './dns-records.ts'
import type { Advertisement, Heard, MdnsService } from './mdns-service.ts'
import { PacketLimits } from './packet-limits.ts'
import { instanceLabel, serviceName } from './service-name.ts'

/** Pauses between questions; the last is kept (RFC 6762 section 5.2 wants them to grow threefold at most an hour). */
const QUESTIONS: readonly Milliseconds[] = [1000, 3000, 9000, 27_000, 60_000]
/** Known answers told in a question, as many as fit in one packet. */
const MAX_KNOWN_ANSWERS = 15
/** Services that the package's browser keeps; it looks through all of them for each that comes. */
const MAX_SERVICES = 1000
/** Questions for what came in pieces or fell silent: somebody else's packets must not make us send many of our own. */
const ASKING = { rate: 10, burst: 40 }
/** Questions whether a name is free, and the pause after each; before the first one of up to as long (RFC 6762 section 8.1). */
const PROBES = 3
const PROBE_PAUSE: Milliseconds = 250
/** An announcement is repeated after this, lest the first was lost (RFC 6762 section 8.3). */
const ANNOUNCE_AGAIN: Milliseconds = 1000
/** A goodbye may take this long. */
const GOODBYE_PATIENCE: Milliseconds = 500

interface PacketSource {
  readonly address: string
  readonly port: number
}

type Done = (error?: Error | null) => void

/** What lies below `bonjour-service`; its types keep it private, and its answers need mending (RFC 6762 section 6 and 7). */
interface Internals {
  readonly registry: { readonly services: Service[] }
  readonly server: {
    respondToQuery(packet: DnsPacket): void
    register(records: readonly DnsRecord[]): void
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
type KnownService = Service & { rawTxt?: unknown }

/** One service on this interface and family. */
interface Served {
  readonly service: MdnsService
  browser: Browser | undefined
  /** What is announced. */
  published: Service | undefined
  /** The full name and host that are announced, or will be as soon as the name is known to be free. */
  own: { readonly fqdn: string; readonly instance: string; readonly host: string } | undefined
  probing: Timer | undefined
}

/** mDNS on one interface and family: announces, answers, asks. */
export class MdnsResponder {
  readonly #options: ResponderOptions
  readonly #bonjour: Bonjour
  readonly #internals: Internals
  readonly #mdns: Internals['server']['mdns']
  readonly #limits: PacketLimits
  readonly #asking: TokenBucket
  readonly #answers: Answers
  readonly #timers = new Set<Timer>()
  readonly #served = new Map<MdnsService, Served>()
  #asked = 0
  #question: Timer | undefined
  /** While an answer is for one who asks whether a name is free. */
  #defends = false
  #closed = false

  constructor(options: ResponderOptions) {
    this.#options = options
    const { interfaceName, family, addresses, clock } = options
    this.#limits = new PacketLimits(clock)
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
      const pass = () => emit(event, event === 'query' ? packet : this.#completed(packet), from)
      return this.#admit(event, packet, from, pass)
    }
    const respond = this.#mdns.respond.bind(this.#mdns)
    this.#answers = new Answers({
      clock,
      addresses,
      send: ({ answers, additionals }, done) => respond({ answers: [...answers], additionals: [...additionals] }, done),
      isShared: (record) => this.#isShared(record),
    })
    this.#mdns.respond = (response, done = () => {}) => {
      const { answers, additionals = [] } = Array.isArray(response) ? { answers: response } : response
      if (this.#closed && !answers.some(({ ttl }) => ttl === 0)) done()
      else this.#answers.give(answers, additionals, this.#defends, done)
    }
    this.#mdns.removeAllListeners('query')
    this.#mdns.on('query', (packet) => {
      for (const question of this.#unanswered(packet)) {
        this.#defends = question.type === 'ANY' && this.#isOwn(question.name)
        server.respondToQuery({ questions: [question] })
        this.#defends = false
      }
    })
    const query = this.#mdns.query.bind(this.#mdns)
    this.#mdns.query = (question, type, done) => {
      const served = [...this.#served.values()].find(({ service }) => serviceName(service.type) === question)
      query(served ? this.#questionOf(served) : question, type, done)
    }
    this.#mdns.on('response', this.#heard)
    for (const service of options.services()) this.serve(service)
  }

  /** Begins to browse and advertise a service. */
  serve(service: MdnsService): void {
    if (this.#closed || this.#served.has(service)) return
    const name = serviceName(service.type)
    // The browser asks as it is made: by then the service has to be known, for its known answers.
    const served: Served = { service, browser: undefined, published: undefined, own: undefined, probing: undefined }
    this.#served.set(service, served)
    this.advertise(service)
    if (!service.browses) return
    served.browser = this.#bonjour.find({ type: service.type })
    served.browser.on('down', ({ fqdn }: Service) => {
      if (instanceLabel(fqdn, name) !== undefined) service.lost(fqdn, this.#here())
    })
    // Ours has to come after the browser's, which then knows the instance already.
    this.#mdns.removeListener('response', this.#heard)
    this.#mdns.on('response', this.#heard)
    this.#askAgain()
  }

  /** Ends a service with a goodbye. */
  async dismiss(service: MdnsService): Promise<void> {
    const served = this.#served.get(service)
    if (!served) return
    this.#served.delete(service)
    served.browser?.stop()
    served.probing?.cancel()
    await this.#withdraw(served)
  }

  /**
   * Announces what a service advertises now. What is new about an instance is announced in place of what was (RFC 6762 section 8.4); an
   * instance that is no longer advertised gets a goodbye. A new name that may be somebody else's is asked for first.
   */
  advertise(service: MdnsService): void {
    const served = this.#served.get(service)
    if (!served) return
    const next = service.advertisement()
    const { published, own, probing } = served
    const fqdn = next && `${next.instance}.${serviceName(service.type)}`
    served.own = next && fqdn ? { fqdn, instance: next.instance, host: next.host } : undefined
    // What is advertised by then is what will be announced.
    if (probing && own?.fqdn === fqdn) return
    probing?.cancel()
    served.probing = undefined
    if (next && published && published.fqdn === fqdn) {
      this.#forget(published)
      this.#publish(served, next)
      return
    }
    void this.#withdraw(served)
    if (next && service.clashed) served.probing = this.#after(Math.random() * PROBE_PAUSE, () => this.#probe(served))
    else if (next) this.#publish(served, next)
  }

  /** Asks whether the name is free, and announces it when nobody has said no (`clashed` is what happens then). */
  #probe(served: Served, asked = 0): void {
    const { service, own } = served
    served.probing = undefined
    if (!own) return
    if (asked < PROBES) {
      this.#mdns.query({ questions: [{ name: own.fqdn, type: 'ANY' }] })
      served.probing = this.#after(PROBE_PAUSE, () => this.#probe(served, asked + 1))
      return
    }
    const next = service.advertisement()
    if (next) this.#publish(served, next)
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

  /** Says goodbye, unless the interface is gone, and closes the socket. */
  async close(goodbye: boolean): Promise<void> {
    if (this.#closed) return
    this.#closed = true
    for (const timer of this.#timers) timer.cancel()
    this.#answers.close()
    for (const { browser } of this.#served.values()) browser?.stop()
    if (goodbye) await this.#patiently((done) => this.#bonjour.unpublishAll(done))
    this.#bonjour.destroy()
  }

  /** Lets a packet through, unless it is another interface's, one too many, or one that the package stumbles over. */
  #admit(kind: 'query' | 'response', packet: DnsPacket, from: PacketSource, pass: () => boolean): boolean {
    const { isMine, onRefused } = this.#options
    if (this.#closed || !isMine(from)) return false
    try {
      const browsed = [...this.#served.values()].flatMap(({ browser, service }) =>
        browser ? [serviceName(service.type)] : [],
      )
      const refusal = this.#limits.refusal(kind, packet, from.address, browsed)
      if (refusal === undefined) return pass()
      onRefused(refusal)
    } catch {
      onRefused('peer.malformed')
    }
    return false
  }

  /** Every response: who is new is found, who is known is fresh again, and what came in pieces is asked for. */
  readonly #heard = (packet: DnsPacket, from: PacketSource): void => {
    const records = liveRecords(packet)
    for (const served of this.#served.values()) {
      this.#lookForClash(served, records)
      if (!served.browser) continue
      const name = serviceName(served.service.type)
      for (const fqdn of instancesIn(records, name)) {
        const service = this.#known(served, fqdn)
        // The package takes texts of several lines, or with a key twice, for the same where they are not.
        const txt = records.findLast((record) => record.type === 'TXT' && record.name === service?.fqdn)
        if (service && txt) service.rawTxt = txt.data
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
    const live = liveRecords(packet)
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

  /** True for a name that nobody else may have; what is asked of others, of services say, is answered at leisure. */
  #isOwn(name: string): boolean {
    const asked = name.toLowerCase()
    return [...this.#served.values()].some(
      ({ own }) => own?.fqdn.toLowerCase() === asked || own?.host.toLowerCase() === asked,
    )
  }

  #lookForClash({ service, own, published }: Served, records: readonly DnsRecord[]): void {
    if (!own || !service.clashed) return
    const host = otherHostOf(own.fqdn, own.host, records)
    if (host !== undefined) service.clashed({ instance: own.instance, host, isAnnounced: published?.fqdn === own.fqdn })
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

  #publish(served: Served, { instance, port, txt, host }: Advertisement): void {
    const published = this.#bonjour.publish({
      name: instance,
      type: served.service.type,
      port,
      txt: { ...txt },
      host,
      // The package says of a name that is taken only that it is.
      probe: false,
      disableIPv6: this.#options.family === 4,
    })
    served.published = published
    this.#after(ANNOUNCE_AGAIN, () => {
      if (served.published === published) this.#mdns.respond(recordsOf(published))
    })
  }

  async #withdraw(served: Served): Promise<void> {
    const { published } = served
    if (!published) return
    served.published = undefined
    this.#answers.forget(published.fqdn)
    const gone = this.#patiently((done) => published.stop?.(done))
    // The package forgets by name and type: the host's addresses and the list of services are others' too.
    const { server } = this.#internals
    for (const other of this.#served.values()) if (other.published) server.register(recordsOf(other.published))
    await gone
  }

  /** Without a goodbye: its records are about to be replaced. */
  #forget(published: Service): void {
    const { registry, server } = this.#internals
    server.unregister(recordsOf(published))
    published.activated = false
    published.destroyed = true
    const index = registry.services.indexOf(published)
    if (index >= 0) registry.services.splice(index, 1)
    this.#answers.forget(published.fqdn)
  }

  /** True for an address of a host name under which another service is still announced. */
  #isShared({ type, name }: DnsRecord): boolean {
    if (this.#closed || (type !== 'A' && type !== 'AAAA')) return false
    return [...this.#served.values()].some(({ published }) => published?.host === name)
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

  #after(delay: Milliseconds, task: () => void): Timer {
    const timer = this.#options.clock.after(delay, () => {
      this.#timers.delete(timer)
      if (!this.#closed) task()
    })
    this.#timers.add(timer)
    return timer
  }
}

const recordsOf = (service: Service): DnsRecord[] => service.records() as unknown as DnsRecord[]
