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
  /** The best first. */
  readonly protocols: readonly MappingProtocol[]
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
    return this.#external ? Math.max(0, this.#until - now) : 0
  }

  /** Why there is none. */
  get detail(): string {
    return this.#detail
  }

  /** Asks; resolves when there is a mapping, or none for now. */
  async start(): Promise<void> {
    await this.#begin()
  }

  /** The router has forgotten it: asks at once. */
  reset(): void {
    if (this.#closing.signal.aborted || !this.#protocol) return
    this.#timer?.cancel()
    void this.#renew()
  }

  /** Gives it back; resolves when the router has answered, or `patience` is over. Safe to call twice. */
  async close(patience: Milliseconds): Promise<void> {
    if (this.#closing.signal.aborted) return
    this.#closing.abort()
    this.#timer?.cancel()
    const protocol = this.#protocol
    const wish = this.#wish()
    this.#protocol = undefined
    this.#external = undefined
    if (!protocol) return
    const late = new AbortController()
    const timer = this.#options.clock.after(patience, () => late.abort())
    await protocol.unmap(wish, late.signal).catch(() => {})
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
    const wish = this.#wish()
    const reasons: string[] = []
    const attempt = async (protocol: MappingProtocol, index: number): Promise<[MappingProtocol, Mapped]> => {
      try {
        await pause(clock, index * LEAD, signal)
        return [protocol, await protocol.map(wish, signal)]
      } catch (error) {
        if (!signal.aborted) reasons.push(`${protocol.name}: ${toPartylineError(error).message}`)
        throw error
      }
    }
    const attempts = protocols.map(attempt)
    try {
      const [protocol, mapped] = await Promise.any(attempts)
      done.abort()
      if (this.#closing.signal.aborted) return void protocol.unmap(wish, AbortSignal.timeout(1000)).catch(() => {})
      this.#protocol = protocol
      for (const other of attempts)
        other.then(
          ([late]) => late !== protocol && void late.unmap(wish, AbortSignal.timeout(1000)).catch(() => {}),
          () => {},
        )
      this.#granted(mapped)
    } catch {
      if (this.#closing.signal.aborted) return
      this.#enter('failed', reasons.join('; ') || 'the router understands no protocol for it')
      const retry = RETRIES[Math.min(this.#failures++, RETRIES.length - 1)] ?? LOOK
      this.#later(retry, () => void this.#begin())
    }
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
    this.#later(Math.max(LEAST, Math.min(LOOK, half)), () => void this.#renew())
  }

  async #renew(): Promise<void> {
    const { clock } = this.#options
    const protocol = this.#protocol
    if (!protocol) return
    try {
      const mapped = await protocol.map(this.#wish(), this.#closing.signal)
      if (!this.#closing.signal.aborted) this.#granted(mapped)
    } catch (error) {
      if (this.#closing.signal.aborted) return
      const left = this.#until - clock.now()
      // RFC 6887 section 11.2.1: again at half of what is left, as long as something is.
      if (left > 2 * LEAST && left !== Number.POSITIVE_INFINITY)
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
