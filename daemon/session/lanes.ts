import type { Milliseconds } from '../types.ts'
import type { LaneConfig } from './session.ts'

/** A message on its way. `done` is called once: without an error when an app at the peer has it, or when it left and nobody answers for it. */
export interface Outgoing {
  /** Set when it begins to leave. */
  id: number
  readonly lane: Lane
  /** Name of the channel in UTF-8. */
  readonly channel: Buffer
  readonly data: Uint8Array
  readonly reliable: boolean
  readonly number: number
  readonly at: Milliseconds
  /** Unreliable ones are dropped when they have not begun to leave by then. */
  readonly until: Milliseconds
  readonly done: (error?: Error) => void
  sentBytes: number
}

/** A first-in, first-out queue that does not move its items about. */
export class Queue<T> {
  #items: (T | undefined)[] = []
  #head = 0

  get length(): number {
    return this.#items.length - this.#head
  }

  get first(): T | undefined {
    return this.#items[this.#head]
  }

  push(item: T): void {
    this.#items.push(item)
  }

  shift(): T | undefined {
    const item = this.#items[this.#head]
    if (item === undefined) return undefined
    this.#items[this.#head++] = undefined
    if (this.#head === this.#items.length) this.clear()
    else if (this.#head > 1024 && this.#head * 2 > this.#items.length) {
      this.#items = this.#items.slice(this.#head)
      this.#head = 0
    }
    return item
  }

  /** Takes out and returns what is left. */
  clear(): T[] {
    const left = this.#items.slice(this.#head) as T[]
    this.#items = []
    this.#head = 0
    return left
  }
}

/** One ordered queue of messages, and what it has on its way. */
export class Lane {
  readonly app: number
  readonly index: number
  priority = 0
  weight = 1
  readonly reliable = new Queue<Outgoing>()
  /** Sent before the others of the lane: they have no order, and are worth nothing late. */
  readonly unreliable = new Queue<Outgoing>()
  reliableBytes = 0
  unreliableBytes = 0
  unacknowledgedBytes = 0
  unacknowledgedMessages = 0
  /** Number of its last message. */
  number = 0
  sent = 0
  /** Virtual time at which its last piece ends (start-time fair queueing). */
  finish = 0
  active = false

  constructor(app: number, index: number) {
    this.app = app
    this.index = index
  }

  get empty(): boolean {
    return this.reliable.length === 0 && this.unreliable.length === 0
  }
}

/**
 * Which lane is next: the one of the lowest priority number, and among equal ones the one that had least for its weight, by start-time fair
 * queueing (Goyal, Vin and Cheng, 1996). Lanes as GameNetworkingSockets defines them (`ConfigureConnectionLanes`).
 */
export class Lanes {
  readonly #apps = new Map<number, Map<number, Lane>>()
  /** Lanes with something in them. */
  readonly #active: Lane[] = []
  /** Virtual time of each priority: the start of the piece written last. */
  readonly #times = new Map<number, number>()

  /** A lane of an app, made when it is first used. */
  of(app: number, index: number): Lane {
    const lanes = this.#apps.get(app) ?? new Map<number, Lane>()
    if (lanes.size === 0) this.#apps.set(app, lanes)
    const lane = lanes.get(index) ?? new Lane(app, index)
    lanes.set(index, lane)
    return lane
  }

  /** Sets priorities and weights; lanes that are not named get 0 and 1. */
  configure(app: number, configs: readonly LaneConfig[]): void {
    for (const index of configs.keys()) this.of(app, index)
    for (const lane of this.#apps.get(app)?.values() ?? []) {
      const { priority = 0, weight = 1 } = configs[lane.index] ?? {}
      Object.assign(lane, { priority, weight })
    }
  }

  /** Forgets an app; returns its lanes. */
  forget(app: number): Lane[] {
    const lanes = [...(this.#apps.get(app)?.values() ?? [])]
    this.#apps.delete(app)
    return lanes
  }

  *all(): Iterable<Lane> {
    for (const lanes of this.#apps.values()) yield* lanes.values()
    // A lane of an app that is gone may have a message that has begun.
    for (const lane of this.#active) if (this.#apps.get(lane.app)?.get(lane.index) !== lane) yield lane
  }

  /** The lane got something to send. */
  activate(lane: Lane): void {
    if (lane.active) return
    lane.active = true
    this.#active.push(lane)
  }

  /** The lane to send from, of those that `isReady` lets; undefined when there is none. */
  next(isReady: (lane: Lane) => boolean): Lane | undefined {
    let best: Lane | undefined
    let bestStart = 0
    for (const lane of this.#active) {
      if (best && lane.priority > best.priority) continue
      if (!isReady(lane)) continue
      const start = Math.max(lane.finish, this.#times.get(lane.priority) ?? 0)
      if (best && lane.priority === best.priority && start >= bestStart) continue
      best = lane
      bestStart = start
    }
    return best
  }

  /** So many bytes of the lane were written. */
  wrote(lane: Lane, bytes: number): void {
    const start = Math.max(lane.finish, this.#times.get(lane.priority) ?? 0)
    this.#times.set(lane.priority, start)
    lane.finish = start + bytes / lane.weight
    if (lane.empty) this.#rest(lane)
  }

  /** Takes empty lanes out of turn; when none is left, virtual time begins anew. */
  #rest(lane: Lane): void {
    lane.active = false
    this.#active.splice(this.#active.indexOf(lane), 1)
    if (this.#active.length > 0) return
    this.#times.clear()
    for (const lanes of this.#apps.values()) for (const one of lanes.values()) one.finish = 0
  }

  /** Everything that waits, taken out. */
  clear(): Outgoing[] {
    const left: Outgoing[] = []
    for (const lane of [...this.#active]) {
      left.push(...this.empty(lane))
      lane.active = false
    }
    this.#active.length = 0
    return left
  }

  /** Everything that waits in a lane, taken out, but for a message that has begun if `keepBegun`. */
  empty(lane: Lane, keepBegun = false): Outgoing[] {
    const begun = keepBegun && (lane.reliable.first?.sentBytes ?? 0) > 0 ? lane.reliable.first : undefined
    const begunUnreliable = keepBegun && (lane.unreliable.first?.sentBytes ?? 0) > 0 ? lane.unreliable.first : undefined
    const left = [...lane.reliable.clear(), ...lane.unreliable.clear()].filter(
      (message) => message !== begun && message !== begunUnreliable,
    )
    if (begun) lane.reliable.push(begun)
    if (begunUnreliable) lane.unreliable.push(begunUnreliable)
    lane.reliableBytes = begun?.data.length ?? 0
    lane.unreliableBytes = begunUnreliable?.data.length ?? 0
    if (lane.active && lane.empty) this.#rest(lane)
    return left
  }
}
