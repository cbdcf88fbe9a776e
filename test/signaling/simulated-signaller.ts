import type { Signaller, SignallerName } from '../../daemon/signaling/signaller.ts'
import type { Milliseconds, PeerId } from '../../daemon/types.ts'
import type { VirtualClock } from '../virtual-clock.ts'

/** What goes wrong on the way: parts of all signals, and the longest they travel. */
interface Faults {
  readonly loss: number
  readonly doubles: number
  readonly delay: Milliseconds
}

/** Carries signals between simulated signallers in virtual time; keeps all that was ever sent, as an eavesdropper would. */
export class SimulatedCarrier {
  readonly recorded: { readonly to: PeerId; readonly sealed: Uint8Array }[] = []
  readonly faults: Faults
  readonly #clock: VirtualClock
  readonly #random: () => number
  readonly #ends = new Map<PeerId, SimulatedSignaller>()
  readonly #cut = new Set<PeerId>()

  constructor(clock: VirtualClock, random: () => number, faults: Partial<Faults> = {}) {
    this.#clock = clock
    this.#random = random
    this.faults = { loss: 0, doubles: 0, delay: 0, ...faults }
  }

  join(peer: PeerId, name: SignallerName = 'lan-stream'): SimulatedSignaller {
    const end = new SimulatedSignaller(this, peer, name)
    this.#ends.set(peer, end)
    return end
  }

  leave(peer: PeerId): void {
    this.#ends.delete(peer)
  }

  cut(peer: PeerId): void {
    this.#cut.add(peer)
  }

  mend(peer: PeerId): void {
    this.#cut.delete(peer)
  }

  connects(from: PeerId, to: PeerId): boolean {
    return from !== to && [from, to].every((peer) => this.#ends.has(peer) && !this.#cut.has(peer))
  }

  carry(from: PeerId, to: PeerId, sealed: Uint8Array): void {
    if (!this.connects(from, to)) return
    this.recorded.push({ to, sealed })
    const { loss, doubles, delay } = this.faults
    const copies = this.#random() < doubles ? 2 : 1
    for (let n = 0; n < copies; n++)
      if (this.#random() >= loss) this.#clock.after(this.#random() * delay, () => this.inject(to, sealed))
  }

  /** Brings bytes to a host that is not cut off, whoever made them. */
  inject(to: PeerId, sealed: Uint8Array): void {
    if (!this.#cut.has(to)) this.#ends.get(to)?.arrive(Uint8Array.from(sealed))
  }
}

/** One host's end of a `SimulatedCarrier`. */
export class SimulatedSignaller implements Signaller {
  readonly name: SignallerName
  readonly #carrier: SimulatedCarrier
  readonly #peer: PeerId
  readonly #listeners = new Set<{ readonly listener: (sealed: Uint8Array) => void }>()

  constructor(carrier: SimulatedCarrier, peer: PeerId, name: SignallerName) {
    this.name = name
    this.#carrier = carrier
    this.#peer = peer
  }

  reaches(peer: PeerId): boolean {
    return this.#carrier.connects(this.#peer, peer)
  }

  send(peer: PeerId, sealed: Uint8Array): void {
    this.#carrier.carry(this.#peer, peer, sealed)
  }

  onSignal(listener: (sealed: Uint8Array) => void): () => void {
    const entry = { listener }
    this.#listeners.add(entry)
    return () => void this.#listeners.delete(entry)
  }

  arrive(sealed: Uint8Array): void {
    for (const { listener } of [...this.#listeners]) listener(sealed)
  }
}
