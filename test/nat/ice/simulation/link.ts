import type { Milliseconds } from '../../../../daemon/types.ts'
import { type Packet, sizeOf } from './packet.ts'
import type { Timeline } from './timeline.ts'

/** How a cable, or the air, treats packets; the same in both directions. */
export interface LinkQuality {
  readonly latency: Milliseconds
  /** Up to so much more latency; the order stays. */
  readonly jitter: Milliseconds
  /** Part of the packets, 0 to 1, that is lost, comes twice, or comes after later ones. */
  readonly loss: number
  readonly duplicate: number
  readonly reorder: number
  /** Bytes of the longest IP packet; longer ones vanish. */
  readonly mtu: number
}

export const PERFECT: LinkQuality = { latency: 1, jitter: 0, loss: 0, duplicate: 0, reorder: 0, mtu: 1500 }

/** What joins a host, or a router, to a network. */
export class Link {
  quality: LinkQuality
  isUp = true
  readonly #timeline: Timeline
  readonly #random: () => number
  readonly #last = { out: 0, in: 0 }

  constructor(timeline: Timeline, random: () => number, quality: LinkQuality) {
    this.#timeline = timeline
    this.#random = random
    this.quality = quality
  }

  carry(packet: Packet, direction: 'out' | 'in', arrive: (packet: Packet) => void): void {
    const { loss, duplicate, mtu } = this.quality
    if (!this.isUp || sizeOf(packet) > mtu || this.#happens(loss)) return
    this.#arriveLater(packet, direction, arrive)
    if (this.#happens(duplicate)) this.#arriveLater(packet, direction, arrive)
  }

  #arriveLater(packet: Packet, direction: 'out' | 'in', arrive: (packet: Packet) => void): void {
    const { latency, jitter, reorder } = this.quality
    const { now } = this.#timeline
    let at = now + latency + (jitter > 0 ? this.#random() * jitter : 0)
    if (this.#happens(reorder)) at += latency + jitter + 5
    else {
      at = Math.max(at, this.#last[direction])
      this.#last[direction] = at
    }
    this.#timeline.after(at - now, () => this.isUp && arrive(packet))
  }

  #happens(chance: number): boolean {
    return chance > 0 && this.#random() < chance
  }
}
