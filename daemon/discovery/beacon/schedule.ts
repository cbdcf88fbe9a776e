import type { Milliseconds } from '../../types.ts'

/** Announcements of the whole LAN stay below this, with room left for answers (the limit is 50 packets a second). */
const PACKETS_PER_SECOND = 40
/** Packets of one announcement on one LAN: IPv4 broadcast and IPv6 multicast. */
const PACKETS_PER_ANNOUNCEMENT = 2
const MIN_INTERVAL: Milliseconds = 2000
/** A host is gone when it was not heard for so many intervals (RFC 3550 section 6.3.5). */
const MISSED = 5
/** Makes up for timer reconsideration, which lets the mean drift (RFC 3550 section 6.3.1): e - 3/2. */
const COMPENSATION = Math.E - 1.5
/** After a start or a change: announce at once, and again against loss. */
const BURST: readonly Milliseconds[] = [0, 250, 1000]

/** Time between two announcements of one host, before chance, on a LAN of so many hosts. */
export function beaconInterval(hosts: number): Milliseconds {
  return Math.max(MIN_INTERVAL, (hosts * PACKETS_PER_ANNOUNCEMENT * 1000) / PACKETS_PER_SECOND)
}

/** How long a host may be silent before it is gone. */
export function beaconLifetime(hosts: number): Milliseconds {
  return MISSED * beaconInterval(hosts)
}

/** When to announce: RTCP's algorithm (RFC 3550 section 6.3), with a few quick repetitions at the start and after a change. */
export class BeaconSchedule {
  readonly #random: () => number
  #last: Milliseconds
  #next: Milliseconds
  #burst: Milliseconds[] = []

  /** `random` gives numbers from 0 to below 1. The first announcement is due at once. */
  constructor(random: () => number, now: Milliseconds) {
    this.#random = random
    this.#last = now
    this.#next = now
    this.restart(now)
  }

  get deadline(): Milliseconds {
    return Math.min(this.#next, ...this.#burst)
  }

  /** Announce at once, and a few times again. */
  restart(now: Milliseconds): void {
    this.#burst = BURST.map((delay) => now + delay)
  }

  /** True when an announcement is due now, on a LAN of so many hosts. */
  due(now: Milliseconds, hosts: number): boolean {
    if (now < this.deadline) return false
    const isBurst = this.#burst.some((at) => at <= now)
    this.#burst = this.#burst.filter((at) => at > now)
    if (now < this.#next) return isBurst
    // Timer reconsideration: more hosts may have come since the timer was set.
    const reconsidered = this.#last + this.#interval(hosts)
    if (!isBurst && now < reconsidered) {
      this.#next = reconsidered
      return false
    }
    this.#last = now
    this.#next = now + this.#interval(hosts)
    return true
  }

  #interval(hosts: number): Milliseconds {
    return (beaconInterval(hosts) * (0.5 + this.#random())) / COMPENSATION
  }
}
