import type { Clock, Timer } from '../../clock.ts'
import { toPartylineError } from '../../errors.ts'
import type { Logger } from '../../logger.ts'
import { formatHostPort } from '../../network/network.ts'
import type { HostPort, Milliseconds } from '../../types.ts'
import type { Gateway, Mapped, MappedTransport, MappingProtocol, MappingProtocolName, MappingWish } from './protocol.ts'

/** How long a mapping is asked for. */
const LIFETIME: Milliseconds = 2 * 3_600_000
/** The least pause before it is renewed, whatever a router says. */
const LEAST: Milliseconds = 4000
/** A mapping that the router keeps for ever is looked at all the same: the router may have been restarted. */
const LOOK: Milliseconds = 1_800_000
/** How long protocols have a lead on the next: on most routers the first answers within milliseconds, and two would map twice. */
const LEAD: Milliseconds = 700
/**
 * After a router seems to have forgotten everything, hosts shall not all ask together. A router whose epochs make no sense seems so again and
 * again: each pause is twice the one before, until one renewal comes by itself.
 */
const RESET_SPREAD: Milliseconds = 1000
const MAX_RESET_PAUSE: Milliseconds = 1_024_000
/** What came too late is given back within so long. */
const GIVING_BACK: Milliseconds = 1000
/** Pauses after all protocols failed; the last one stays. */
const RETRIES: readonly Milliseconds[] = [60_000, 300_000, 900_000, 3_600_000]

interface PortMappingOptions {
  readonly clock: Clock
  readonly logger: Logger
  readonly gateway: Gateway
  readonly transport: MappedTransport
  readonly internalPort: number
  /** 0 to 1, exclusive. */
  readonly random: () => number
  /** The best first, as far as is known now. */
  readonly protocols: () => readonly MappingProtocol[]
  /** The external port that is wished for now. */
  readonly wish: () => number
  readonly changed: () => void
}

/** `failed`: no protocol worked; tried again later. */
type PortMappingState = 'asking' | 'mapped' | 'failed'

/** Keeps one port of a router mapped: asked for by whatever it understands, renewed at half its life, and asked for anew when it is forgotten. */
export class PortMapping {
  readonly #options: PortMappingOptions
  readonly #closing = new AbortController()
  #state: PortMappingState = 'asking'
  #protocol: MappingProtocol | undefined
  #external: HostPort | undefined
  #until: Milliseconds = 0
  #detail = ''
  #failures = 0
  #timer: Timer | undefined
  /** When it was last asked for, and how often since because the router seems to have forgotten it. */
  #asked: Milliseconds = Number.NEGATIVE_INFINITY
  #resets = 0
  /** Those whose answer is waited for: the router may grant what nobody hears of. */
  readonly #inFlight = new Set<MappingProtocol>()

  constructor(options: PortMappingOptions) {
    this.#options = options
  }

  get gateway(): Gateway {
    return this.#options.gateway
  }

  get transport(): MappedTransport {
    return this.#options.transport
  }

  get state(): PortMappingState {
    return this.#state
  }

  /** What protocol it was made by. */
  get protocol(): MappingProtocolName | undefined {
    return this.#protocol?.name
  }

  /** As the router says; undefined while there is none. */
  get external(): HostPort | undefined {
    return this.#external
  }

  /** Until it has to be renewed; 0 while there is none. */
  lifetime(now: Milliseconds): Milliseconds {
    return this.#external ? Math.max(0, Math.round(this.#until - now)) : 0
  }

  /** Why there is none. */
  get detail(): string {
    return this.#detail
  }

  /** Asks; resolves when there is a mapping, or none for now. */
  async start(): Promise<void> {
    if (!this.#closing.signal.aborted) await this.#begin()
  }

  /** The router seems to have forgotten it, or to have become another: asks soon, whatever was planned. */
  reset(): void {
    if (this.#inFlight.size > 0) return
    const { clock, random } = this.#options
    const pause = Math.min(MAX_RESET_PAUSE, LEAST * 2 ** this.#resets)
    const earliest = Math.max(clock.now(), this.#asked + pause)
    this.#later(earliest - clock.now() + RESET_SPREAD * random(), () => {
      this.#resets++
      void (this.#protocol ? this.#renew(true) : this.#begin())
    })
  }

  /** Gives it back; resolves when the router has answered, or `patience` is over. Safe to call twice. */
  async close(patience: Milliseconds): Promise<void> {
    if (this.#closing.signal.aborted) return
    const holders = new Set(this.#inFlight)
    if (this.#protocol) holders.add(this.#protocol)
    this.#closing.abort()
    this.#timer?.cancel()
    const wish = this.#wish()
    this.#protocol = undefined
    this.#external = undefined
    const late = new AbortController()
    const timer = this.#options.clock.after(patience, () => late.abort())
    await Promise.all([...holders].map((protocol) => protocol.unmap(wish, late.signal).catch(() => {})))
    timer.cancel()
  }

  #wish(): MappingWish {
    const { gateway, transport, internalPort, wish } = this.#options
    return { gateway, transport, internalPort, externalPort: this.#external?.port ?? wish(), lifetime: LIFETIME }
  }

  /** The protocols side by side, each with a lead on the next; what comes too late is given back. */
  async #begin(): Promise<void> {
    const { clock, protocols } = this.#options
    this.#enter('asking', '')
    const done = new AbortController()
    const signal = AbortSignal.any([done.signal, this.#closing.signal])
    const reasons: string[] = []
    const attempt = async (protocol: MappingProtocol, index: number): Promise<[MappingProtocol, Mapped]> => {
      try {
        await pause(clock, index * LEAD, signal)
        return [protocol, await this.#map(protocol, signal)]
      } catch (error) {
        if (!signal.aborted) reasons.push(`${protocol.name}: ${toPartylineError(error).message}`)
        throw error
      }
    }
    const attempts = protocols().map(attempt)
    try {
      const [protocol, mapped] = await Promise.any(attempts)
      done.abort()
      for (const other of attempts)
        other.then(
          ([late, its]) => late !== protocol && void this.#giveBack(late, its),
          () => {},
        )
      if (this.#closing.signal.aborted) return void this.#giveBack(protocol, mapped)
      this.#protocol = protocol
      this.#granted(mapped)
    } catch {
      if (this.#closing.signal.aborted) return
      this.#enter('failed', reasons.join('; ') || 'the router understands no protocol for it')
      const retry = RETRIES[Math.min(this.#failures++, RETRIES.length - 1)] ?? LOOK
      this.#later(retry, () => void this.#begin())
    }
  }

  async #map(protocol: MappingProtocol, signal: AbortSignal): Promise<Mapped> {
    this.#asked = this.#options.clock.now()
    this.#inFlight.add(protocol)
    try {
      return await protocol.map(this.#wish(), signal)
    } finally {
      this.#inFlight.delete(protocol)
    }
  }

  /** What came too late; routers keep one table for all protocols, so what is held is asked for once more. */
  async #giveBack(protocol: MappingProtocol, { external }: Mapped): Promise<void> {
    const late = new AbortController()
    const timer = this.#options.clock.after(GIVING_BACK, () => late.abort())
    await protocol.unmap({ ...this.#wish(), externalPort: external.port }, late.signal).catch(() => {})
    timer.cancel()
    this.reset()
  }

  #granted({ external, lifetime }: Mapped): void {
    const { clock, logger, transport, random } = this.#options
    const isNews = this.#external?.address !== external.address || this.#external.port !== external.port
    this.#external = external
    this.#failures = 0
    this.#until = clock.now() + lifetime
    if (isNews)
      logger.info('a port is mapped', { transport, external: formatHostPort(external), by: this.#protocol?.name })
    this.#enter('mapped', '', isNews)
    // Half of its life, and some: hosts that a power cut started together shall not all ask together.
    const half = lifetime === Number.POSITIVE_INFINITY ? LOOK : lifetime * (0.5 + 0.1 * random())
    this.#later(Math.max(LEAST, Math.min(LOOK, half)), () => {
      this.#resets = 0
      void this.#renew()
    })
  }

  /** `isLost`: the router knows nothing of it any more, as it seems. */
  async #renew(isLost = false): Promise<void> {
    const { clock } = this.#options
    const protocol = this.#protocol
    if (!protocol) return
    try {
      const mapped = await this.#map(protocol, this.#closing.signal)
      if (!this.#closing.signal.aborted) this.#granted(mapped)
    } catch (error) {
      if (this.#closing.signal.aborted) return
      const left = this.#until - clock.now()
      // RFC 6887 section 11.2.1: again at half of what is left, as long as something is.
      if (!isLost && left > 2 * LEAST && left !== Number.POSITIVE_INFINITY)
        return this.#later(Math.max(LEAST, left / 2), () => void this.#renew())
      this.#protocol = undefined
      this.#external = undefined
      this.#options.logger.info('a mapped port is gone', {
        transport: this.#options.transport,
        reason: toPartylineError(error).message,
      })
      await this.#begin()
    }
  }

  #later(delay: Milliseconds, task: () => void): void {
    this.#timer?.cancel()
    if (!this.#closing.signal.aborted) this.#timer = this.#options.clock.after(delay, task)
  }

  #enter(state: PortMappingState, detail: string, isNews = true): void {
    const isOther = state !== this.#state || detail !== this.#detail
    this.#state = state
    this.#detail = detail
    if (isOther || isNews) this.#options.changed()
  }
}

/** Rejects when `signal` is aborted meanwhile. */
function pause(clock: Clock, delay: Milliseconds, signal: AbortSignal): Promise<void> {
  if (delay === 0) return Promise.resolve()
  return new Promise((resolve, reject) => {
    const timer = clock.after(delay, () => {
      signal.removeEventListener('abort', abort)
      resolve()
    })
    const abort = (): void => {
      timer.cancel()
      reject(signal.reason)
    }
    if (signal.aborted) abort()
    else signal.addEventListener('abort', abort, { once: true })
  })
}
