import type { Clock, Timer } from '../clock.ts'
import { PartylineError } from '../errors.ts'
import type { Logger } from '../logger.ts'
import { interfaceOf } from '../network/addresses.ts'
import { parseHostPort } from '../network/host-port.ts'
import type { NetworkChange, NetworkInterface } from '../network/network.ts'
import type { HostPort, Milliseconds, PeerId, Sighting } from '../types.ts'
import type { Announcement, DiscoveryEvents, DiscoveryMethod, DiscoveryState, Prober } from './discovery.ts'

/** The port of a hint that names none. */
const DEFAULT_PORT = 47800
/** Time between two probes, so that a long list is no burst. */
const PACE: Milliseconds = 50
/** A hint that answered is asked again after this, to keep it fresh; twice without an answer it is gone. */
const REFRESH: Milliseconds = 10_000
const MISSES = 2
/** A user's hint that was silent is asked again after this, and after twice as long each time. */
const FIRST_RETRY: Milliseconds = 30_000
const LAST_RETRY: Milliseconds = 300_000

interface HintOptions {
  readonly clock: Clock
  readonly logger: Logger
  /** What the user gave: `IP`, `IP:PORT`, `[IPv6]:PORT`. */
  readonly hints: readonly string[]
  /** Where known peers were last time. */
  readonly remembered: () => readonly { readonly peer: PeerId; readonly address: string; readonly port: number }[]
  readonly prober: Prober
  /** A link's handshake, where UDP is silent. */
  readonly dial: (
    target: HostPort,
  ) => Promise<{ readonly peer: PeerId; readonly name: string; readonly port: number } | undefined>
}

interface Hint {
  readonly target: HostPort
  /** Given by the user, so asked again for as long as it is silent. */
  readonly lasting: boolean
  seen: Sighting | undefined
  misses: number
  retry: Milliseconds
  timer: Timer | undefined
}

/** An address as users write it. Throws `usage.invalid-setting`. */
function parseHint(text: string): HostPort {
  const target = parseHostPort(text, DEFAULT_PORT)
  if (!target)
    throw new PartylineError('usage.invalid-setting', `discovery.hints: "${text}" is no IP, IP:PORT or [IPv6]:PORT`)
  return target
}

/** Looks where the user said, and where known peers were last time: at start and after every change of the network. */
export class HintDiscovery implements DiscoveryMethod {
  readonly name = 'hint'
  readonly #options: HintOptions
  readonly #given: readonly HostPort[]
  readonly #hints = new Map<string, Hint>()
  #interfaces: readonly NetworkInterface[] = []
  #events: DiscoveryEvents | undefined
  #self: PeerId | undefined

  /** Throws `usage.invalid-setting` for a hint that is no address. */
  constructor(options: HintOptions) {
    this.#options = options
    this.#given = options.hints.map(parseHint)
  }

  async start(
    announcement: Announcement,
    interfaces: readonly NetworkInterface[],
    events: DiscoveryEvents,
  ): Promise<void> {
    this.#self = announcement.peer
    this.#interfaces = interfaces
    this.#events = events
    this.#lookEverywhere()
  }

  async stop(): Promise<void> {
    this.#events = undefined
    for (const { timer } of this.#hints.values()) timer?.cancel()
    this.#hints.clear()
  }

  networkChanged(change: NetworkChange): void {
    if (!this.#events) return
    this.#interfaces = change.interfaces
    this.#lookEverywhere()
  }

  renamed(): void {}

  doubt(peer: PeerId): void {
    for (const hint of this.#hints.values()) if (hint.seen?.peer === peer) this.#lookAfter(hint, 0)
  }

  states(): readonly DiscoveryState[] {
    const hints = [...this.#hints.values()]
    const answered = hints.filter(({ seen }) => seen).length
    const detail = hints.length === 0 ? 'no address to look at' : `${answered} of ${hints.length} addresses answer`
    return [{ method: 'hint', interface: '', state: 'active', detail }]
  }

  #lookEverywhere(): void {
    const lasting = new Set(this.#given.map(keyOf))
    const targets = [...this.#given, ...this.#options.remembered()]
    let delay = 0
    for (const { address, port } of targets) {
      const key = keyOf({ address, port })
      const hint = this.#hints.get(key) ?? {
        target: { address, port },
        lasting: lasting.has(key),
        seen: undefined,
        misses: 0,
        retry: FIRST_RETRY,
        timer: undefined,
      }
      this.#hints.set(key, hint)
      hint.retry = FIRST_RETRY
      this.#lookAfter(hint, delay)
      delay += PACE
    }
  }

  #lookAfter(hint: Hint, delay: Milliseconds): void {
    hint.timer?.cancel()
    hint.timer = this.#options.clock.after(delay, () => {
      this.#look(hint).catch((error: Error) =>
        this.#options.logger.warn('a hint could not be looked at', { error: error.message }),
      )
    })
  }

  async #look(hint: Hint): Promise<void> {
    const on = interfaceOf(hint.target.address, this.#interfaces)?.name ?? ''
    const found = (await this.#options.prober.probe(hint.target, on)) ?? (await this.#dial(hint.target, on))
    if (!this.#events || this.#hints.get(keyOf(hint.target)) !== hint) return
    if (found && found.peer !== this.#self) return this.#found(hint, { ...found, method: 'hint', interface: on })
    this.#missed(hint)
  }

  async #dial(target: HostPort, on: string): Promise<Sighting | undefined> {
    const found = await this.#options.dial(target)
    return found && { ...found, method: 'hint', interface: on, address: target.address, proven: true }
  }

  #found(hint: Hint, sighting: Sighting): void {
    if (hint.seen && hint.seen.peer !== sighting.peer) this.#lose(hint)
    hint.seen = sighting
    hint.misses = 0
    this.#events?.seen(sighting)
    this.#lookAfter(hint, REFRESH)
  }

  #missed(hint: Hint): void {
    hint.misses++
    if (hint.seen && hint.misses < MISSES) return this.#lookAfter(hint, 0)
    this.#lose(hint)
    if (!hint.lasting) return void this.#hints.delete(keyOf(hint.target))
    this.#lookAfter(hint, hint.retry)
    hint.retry = Math.min(hint.retry * 2, LAST_RETRY)
  }

  #lose(hint: Hint): void {
    const { seen } = hint
    hint.seen = undefined
    if (seen) this.#events?.gone(seen.peer, 'hint', seen.interface, seen.address)
  }
}

const keyOf = ({ address, port }: HostPort): string => `${address} ${port}`
