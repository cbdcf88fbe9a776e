/** Finds the largest UDP payload that arrives: Datagram PLPMTUD (RFC 8899). Sizes are bytes of UDP payload. */
import type { Milliseconds } from '../types.ts'

/** BASE_PLPMTU: what every path of today carries (RFC 8899 section 5.1.2, as in RFC 9000 section 14). */
export const BASE_PAYLOAD = 1200
/** Below this no path is used: what IPv4 hosts must take (576 bytes with headers, RFC 1122 section 3.3.2). */
const MIN_PAYLOAD = 548
/** MAX_PROBES: so often a size is tried before it counts as too large. */
const MAX_PROBES = 3
/** PROBE_TIMER; RFC 8899 section 5.1.1 allows no less. */
const PROBE_TIMER: Milliseconds = 1000
/** PMTU_RAISE_TIMER: a path that was narrow may have become wider. */
const RAISE_TIMER: Milliseconds = 600_000
/** A search ends when it is this close. */
const GRAIN = 16
/** Payloads of common links: IPv6's least, tunnels, PPPoE, Ethernet over IPv6 and IPv4, jumbo frames. */
const COMMON = [1232, 1312, 1352, 1372, 1392, 1412, 1432, 1444, 1452, 1464, 1472, 1972, 3972, 8152, 8952, 8972]

/** A search on one path. The owner sends the probes that are due and tells what was acknowledged. */
export class MtuSearch {
  #max: number
  #size: number
  /** The smallest size that is known, or taken, not to arrive. */
  #ceiling: number
  #probe: number | undefined
  #tries = 0
  #at: Milliseconds

  constructor(max: number, now: Milliseconds) {
    this.#max = Math.max(MIN_PAYLOAD, max)
    this.#size = Math.min(BASE_PAYLOAD, this.#max)
    this.#ceiling = this.#max + 1
    this.#at = now
    this.#aim(now)
  }

  /** Largest size that is known to arrive, or the base. */
  get size(): number {
    return this.#size
  }

  /** What packets to unproven addresses are padded to. */
  get base(): number {
    return Math.min(BASE_PAYLOAD, this.#max)
  }

  get deadline(): Milliseconds {
    return this.#at
  }

  /** Begins again from the base: another path, or another interface of which `max` is the largest payload. */
  restart(now: Milliseconds, max = this.#max): void {
    this.#max = Math.max(MIN_PAYLOAD, max)
    this.#size = Math.min(BASE_PAYLOAD, this.#max)
    this.#ceiling = this.#max + 1
    this.#aim(now)
  }

  /** The size of the probe to send now; undefined for none. */
  due(now: Milliseconds): number | undefined {
    if (now < this.#at) return undefined
    if (this.#probe === undefined) {
      this.#ceiling = this.#max + 1
      this.#aim(now)
    } else if (this.#tries >= MAX_PROBES) {
      this.#ceiling = this.#probe
      this.#aim(now)
    }
    if (this.#probe === undefined) return undefined
    this.#tries++
    this.#at = now + PROBE_TIMER
    return this.#probe
  }

  /** A probe of this size arrived. */
  acknowledged(size: number, now: Milliseconds): void {
    if (size !== this.#probe || this.#tries === 0) return
    this.#size = size
    this.#aim(now)
  }

  /** The system refused to send a packet as too large: of `size`, or where that is not known the probe, or what was taken for good. */
  tooLarge(now: Milliseconds, size?: number): void {
    const isProbe = this.#tries > 0 && this.#probe !== undefined
    const refused = size ?? (isProbe ? this.#probe : this.#size > BASE_PAYLOAD ? this.#size : undefined)
    if (refused === undefined || refused > this.#max || refused <= MIN_PAYLOAD) return
    this.#ceiling = Math.min(this.#ceiling, refused)
    if (refused <= this.#size) this.#size = refused > BASE_PAYLOAD ? BASE_PAYLOAD : MIN_PAYLOAD
    this.#aim(now)
  }

  /** Packets above the base vanish although smaller ones arrive (RFC 8899 section 4.3). */
  blackHole(now: Milliseconds): void {
    if (this.#size > BASE_PAYLOAD) this.restart(now)
  }

  #aim(now: Milliseconds): void {
    this.#probe = this.#next()
    this.#tries = 0
    this.#at = this.#probe === undefined ? now + RAISE_TIMER : now
  }

  /** The largest first, which on a LAN is the answer; then the middle of the common sizes that are left; then the middle. */
  #next(): number | undefined {
    if (this.#size >= this.#max) return undefined
    if (this.#ceiling > this.#max) return this.#max
    const common = COMMON.filter((size) => size > this.#size && size < this.#ceiling)
    if (common.length > 0) return common[common.length >> 1]
    return this.#ceiling - this.#size > GRAIN ? (this.#ceiling + this.#size) >> 1 : undefined
  }
}
