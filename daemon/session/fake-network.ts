import type { Milliseconds } from '../types.ts'

/** One direction of a fake network. */
export interface FakeDirection {
  /** Share lost, 0 to 1. On a link, whose carrier repeats what is lost, a loss is a delay. */
  readonly loss: number
  readonly delay: Milliseconds
  /** Added at random, up to this much. */
  readonly jitter: Milliseconds
  /** Share of datagrams that are overtaken by those behind them, 0 to 1. */
  readonly reorder: number
  /** Share of datagrams that arrive twice, 0 to 1. */
  readonly duplicate: number
  /** Bits per second; 0 has no limit. */
  readonly rate: number
}

/** A worse network than there is, for app developers: each way of one session. */
export interface FakeNetworkSettings {
  readonly out: FakeDirection
  readonly in: FakeDirection
}

/** What is no worse than the network there is. */
export const NO_FAKE: FakeDirection = { loss: 0, delay: 0, jitter: 0, reorder: 0, duplicate: 0, rate: 0 }

/** How much later a datagram comes that is overtaken, and bytes on a link whose first sending was lost: a retransmission. */
const OVERTAKEN: Milliseconds = 20
const RETRANSMISSION: Milliseconds = 200
/** What a slow line may queue before it loses datagrams. */
const MAX_BACKLOG: Milliseconds = 500

export type FakeWay = keyof FakeNetworkSettings

/** Completes what somebody gave in part; undefined where nothing is worse than the network there is. */
export function completeFake(
  partial: {
    readonly [Way in FakeWay]?: { readonly [K in keyof FakeDirection]?: FakeDirection[K] | undefined } | undefined
  },
): FakeNetworkSettings | undefined {
  const complete = (way: FakeWay): FakeDirection => {
    const given = Object.entries(partial[way] ?? {}).filter(([, value]) => value !== undefined)
    return { ...NO_FAKE, ...Object.fromEntries(given) }
  }
  const settings = { out: complete('out'), in: complete('in') }
  const isWorse = [settings.out, settings.in].some((way) => Object.values(way).some((value) => value > 0))
  return isWorse ? settings : undefined
}

/** Decides when, and whether, things arrive on a worse network. Free of I/O and of memory, but for the time until which each way is busy. */
export class FakeNetwork {
  readonly settings: FakeNetworkSettings
  readonly #random: () => number
  /** Until when each way's line is busy with what was sent, and when the last chunk of its link arrives. */
  readonly #busy = { out: 0, in: 0 }
  readonly #last = { out: 0, in: 0 }

  /** `random` gives numbers from 0 to below 1; nothing secret hangs on them. */
  constructor(settings: FakeNetworkSettings, random: () => number) {
    this.settings = settings
    this.#random = random
  }

  /** When a datagram arrives: never, once, or twice. */
  datagram(way: FakeWay, bytes: number, now: Milliseconds): Milliseconds[] {
    const { loss, reorder, duplicate } = this.settings[way]
    const sent = this.#transmit(way, bytes, now)
    if (sent === undefined || this.#random() < loss) return []
    const at = sent + this.#delay(way) + (this.#random() < reorder ? OVERTAKEN : 0)
    return this.#random() < duplicate ? [at, at + this.#random() * OVERTAKEN] : [at]
  }

  /** When bytes of a link arrive: in order, and never lost. */
  chunk(way: FakeWay, bytes: number, now: Milliseconds): Milliseconds {
    const { loss, rate } = this.settings[way]
    const began = Math.max(now, this.#busy[way])
    this.#busy[way] = rate > 0 ? began + (bytes * 8000) / rate : began
    const again = this.#random() < loss ? RETRANSMISSION : 0
    this.#last[way] = Math.max(this.#last[way], this.#busy[way] + this.#delay(way) + again)
    return this.#last[way]
  }

  /** When the line is done with a datagram; undefined when its queue is full. */
  #transmit(way: FakeWay, bytes: number, now: Milliseconds): Milliseconds | undefined {
    const { rate } = this.settings[way]
    if (rate === 0) return now
    const began = Math.max(now, this.#busy[way])
    if (began - now > MAX_BACKLOG) return undefined
    this.#busy[way] = began + (bytes * 8000) / rate
    return this.#busy[way]
  }

  #delay(way: FakeWay): Milliseconds {
    const { delay, jitter } = this.settings[way]
    return delay + jitter * this.#random()
  }
}

/** What is on its way on a fake network: things in the order in which they arrive, within bounds. */
export class DelayLine<T> {
  readonly #items: { readonly at: Milliseconds; readonly bytes: number; readonly item: T }[] = []
  readonly #maxBytes: number
  #bytes = 0

  constructor(maxBytes: number) {
    this.#maxBytes = maxBytes
  }

  /** True when nothing more should be put in: datagrams are dropped then, a link pauses. */
  get isFull(): boolean {
    return this.#bytes >= this.#maxBytes || this.#items.length >= MAX_ITEMS
  }

  get isEmpty(): boolean {
    return this.#items.length === 0
  }

  /** When the first arrives; infinite for none. */
  get deadline(): Milliseconds {
    return this.#items[0]?.at ?? Number.POSITIVE_INFINITY
  }

  /** When the last arrives; minus infinity for none. */
  get latest(): Milliseconds {
    return this.#items.at(-1)?.at ?? Number.NEGATIVE_INFINITY
  }

  push(item: T, bytes: number, at: Milliseconds): void {
    let place = this.#items.length
    while (place > 0 && (this.#items[place - 1]?.at ?? 0) > at) place--
    this.#items.splice(place, 0, { at, bytes, item })
    this.#bytes += bytes
  }

  /** Takes out what has arrived. */
  due(now: Milliseconds): T[] {
    let count = 0
    while (count < this.#items.length && (this.#items[count]?.at ?? 0) <= now) count++
    return this.#items.splice(0, count).map(({ item, bytes }) => {
      this.#bytes -= bytes
      return item
    })
  }
}

const MAX_ITEMS = 16_384
