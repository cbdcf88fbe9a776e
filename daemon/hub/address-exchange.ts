import type { Clock, Timer } from '../clock.ts'
import type { Announcement, Prober } from '../discovery/discovery.ts'
import { interfaceOf } from '../network/addresses.ts'
import type { NetworkInterface } from '../network/network.ts'
import type { Refusals } from '../refusals.ts'
import type { SignalExchange } from '../signaling/signaller.ts'
import { type Allowance, TokenBucket } from '../token-bucket.ts'
import type { HostPort, Milliseconds, PeerId } from '../types.ts'
import { AddressWatch, type Found } from './address-watch.ts'
import {
  ADDRESSES_TOPIC,
  askableAddresses,
  decodeAddresses,
  encodeAddresses,
  type HostAddresses,
  tellableAddresses,
} from './host-addresses.ts'
import type { HubSightings } from './hub-sightings.ts'

/** Signals of ours in all: a hub has an allowance for each client, and chat wants some of it. */
const SENDING: Allowance = { rate: 10, burst: 40 }
/** Signals taken from one peer. */
const TAKING: Allowance = { rate: 0.2, burst: 6 }
/** A peer that told nothing of itself is asked again after these. */
const REMINDERS: readonly Milliseconds[] = [3000, 10_000, 60_000]

interface ExchangeOptions {
  readonly clock: Clock
  readonly refusals: Refusals
  readonly signals: SignalExchange
  readonly prober: Prober
  readonly dial: (target: HostPort) => Promise<Found | undefined>
  readonly isBlocked: (peer: PeerId) => boolean
  /** Of our addresses those that a peer may learn. */
  readonly tellable: (peer: PeerId, addresses: readonly string[]) => readonly string[]
  /** True where an address of a peer may be asked: what arrives there shows ours. */
  readonly mayAsk: (peer: PeerId, address: string) => boolean
  readonly onNote: (peer: PeerId, note: string) => void
}

/** A host that is at a hub with us. */
interface Correspondent {
  readonly taking: TokenBucket
  hub: { readonly name: string; readonly address: string }
  told: HostAddresses | undefined
  reminders: number
  timer: Timer | undefined
  note: string
}

/**
 * Hosts at a hub tell each other their addresses in sealed signals, and try them: so they find each other where multicast is dropped, and know
 * where clients are kept apart.
 */
export class AddressExchange {
  readonly #options: ExchangeOptions
  readonly #announcement: { peer: PeerId; name: string; port: number }
  readonly #sightings: HubSightings
  readonly #watch: AddressWatch
  readonly #peers = new Map<PeerId, Correspondent>()
  /** Peers to write to, and whether they are asked for theirs. */
  readonly #outbox = new Map<PeerId, boolean>()
  readonly #bucket: TokenBucket
  readonly #unhandle: () => void
  #interfaces: readonly NetworkInterface[]
  #sending: Timer | undefined

  constructor(
    options: ExchangeOptions,
    announcement: Announcement,
    interfaces: readonly NetworkInterface[],
    sightings: HubSightings,
  ) {
    this.#options = options
    this.#announcement = { ...announcement }
    this.#interfaces = interfaces
    this.#sightings = sightings
    const { clock, signals, prober, dial } = options
    this.#bucket = new TokenBucket(SENDING, clock.now())
    this.#watch = new AddressWatch({
      clock,
      prober,
      dial,
      interfaceOf: (address) => this.#interfaceOf(address),
      onAnswer: (peer, target, found) => this.#answered(peer, target, found),
      onSilence: (peer, target) => sightings.gone(sourceOf(target), peer),
      onAsked: (peer, answering) => this.#asked(peer, answering),
    })
    this.#unhandle = signals.handle(ADDRESSES_TOPIC, (peer, content) => this.#take(peer, content))
  }

  /** A host is at a hub with us; again when it is at another one, which is named from now on. */
  appeared(peer: PeerId, hub: { readonly name: string; readonly address: string }): void {
    const { clock, isBlocked } = this.#options
    const known = this.#peers.get(peer)
    if (known) known.hub = hub
    if (known || isBlocked(peer)) return
    const taking = new TokenBucket(TAKING, clock.now())
    const one: Correspondent = { taking, hub, told: undefined, reminders: 0, timer: undefined, note: '' }
    this.#peers.set(peer, one)
    this.#tell(peer, true)
    this.#remind(peer, one)
  }

  /** It is at no hub with us any more; what is known to answer stays while it does. */
  left(peer: PeerId): void {
    const one = this.#peers.get(peer)
    if (!one) return
    one.timer?.cancel()
    this.#peers.delete(peer)
    this.#outbox.delete(peer)
    if (one.note !== '') this.#options.onNote(peer, '')
    this.#watch.leave(peer)
  }

  networkChanged(interfaces: readonly NetworkInterface[]): void {
    this.#interfaces = interfaces
    for (const [peer, one] of this.#peers) {
      this.#tell(peer, false)
      if (one.told) this.#ask(peer, one, one.told)
    }
    this.#watch.again()
  }

  renamed(name: string): void {
    this.#announcement.name = name
    for (const peer of this.#peers.keys()) this.#tell(peer, false)
  }

  stop(): void {
    this.#unhandle()
    this.#sending?.cancel()
    this.#watch.stop()
    for (const { timer } of this.#peers.values()) timer?.cancel()
    this.#peers.clear()
    this.#outbox.clear()
  }

  #tell(peer: PeerId, ask: boolean): void {
    this.#outbox.set(peer, ask || this.#outbox.get(peer) === true)
    if (!this.#sending) this.#sendWaiting()
  }

  #sendWaiting(): void {
    const { clock, signals, tellable } = this.#options
    this.#sending = undefined
    const { name, port } = this.#announcement
    const addresses = tellableAddresses(this.#interfaces)
    for (const [peer, ask] of this.#outbox) {
      const wait = this.#bucket.wait(clock.now())
      if (wait > 0) {
        this.#sending = clock.after(wait, () => this.#sendWaiting())
        return
      }
      this.#outbox.delete(peer)
      this.#bucket.use(1, clock.now())
      signals.send(peer, ADDRESSES_TOPIC, encodeAddresses({ name, port, addresses: tellable(peer, addresses), ask }))
    }
  }

  /** Signals get lost: who told nothing is asked again. */
  #remind(peer: PeerId, one: Correspondent): void {
    const pause = REMINDERS[one.reminders++]
    if (pause === undefined) return
    one.timer = this.#options.clock.after(pause, () => {
      if (one.told || this.#peers.get(peer) !== one) return
      this.#tell(peer, true)
      this.#remind(peer, one)
    })
  }

  #take(peer: PeerId, content: Uint8Array): void {
    const { clock, refusals } = this.#options
    const one = this.#peers.get(peer)
    // Who is not at a hub with us, as far as we know, has no business here.
    if (!one) return
    const now = clock.now()
    if (one.taking.wait(now) > 0) return refusals.count('peer.rate-limited')
    one.taking.use(1, now)
    const told = decodeAddresses(content)
    if (!told) return refusals.count('peer.malformed')
    one.told = told
    one.timer?.cancel()
    this.#ask(peer, one, told)
    if (told.ask) this.#tell(peer, false)
  }

  #ask(peer: PeerId, { hub }: Correspondent, told: HostAddresses): void {
    const askable = askableAddresses(told, this.#interfaces, hub.address)
    this.#watch.set(
      peer,
      askable.filter(({ address }) => this.#options.mayAsk(peer, address)),
    )
  }

  #answered(peer: PeerId, target: HostPort, { name, port }: Found): void {
    const { address } = target
    const on = this.#interfaceOf(address)
    this.#sightings.seen(sourceOf(target), {
      peer,
      method: 'hub',
      interface: on,
      address,
      port,
      name: name || this.#peers.get(peer)?.told?.name || '',
      proven: true,
    })
  }

  #asked(peer: PeerId, answering: number): void {
    const one = this.#peers.get(peer)
    if (!one) return
    const note = answering > 0 ? '' : isolationNote(one.hub.name)
    if (note === one.note) return
    one.note = note
    this.#options.onNote(peer, note)
  }

  #interfaceOf(address: string): string {
    return interfaceOf(address, this.#interfaces)?.name ?? ''
  }
}

const sourceOf = ({ address, port }: HostPort): string => `direct ${address} ${port}`

function isolationNote(hub: string): string {
  return (
    `Seen only through the hub ${hub}: its addresses do not answer from here. ` +
    'The network may keep its clients apart (client isolation). Chat goes through the hub, sealed.'
  )
}
