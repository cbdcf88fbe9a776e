import type { Clock, Timer } from '../clock.ts'
import type { Milliseconds } from '../types.ts'
import { DelayLine, FakeNetwork, type FakeNetworkSettings, type FakeWay } from './fake-network.ts'

/** Bytes on their way on a fake network: of the link, each way, after which it pauses; of datagrams, each way, after which they are lost. */
const LINK_BYTES = 4 * 1024 * 1024
const DATAGRAM_BYTES = 4 * 1024 * 1024

interface Options {
  readonly clock: Clock
  readonly random: () => number
  /** There is room again on the link's line. */
  readonly onRoom: () => void
}

type Lines = Record<FakeWay, DelayLine<() => void>>

/** What a session sends and receives, later or not at all while a fake network is set, at once otherwise. */
export class FakeLines {
  readonly #options: Options
  #network: FakeNetwork | undefined
  #lines: { readonly link: Lines; readonly datagrams: Lines } | undefined
  #timer: Timer | undefined
  #timerAt = Number.POSITIVE_INFINITY

  constructor(options: Options) {
    this.#options = options
  }

  get settings(): FakeNetworkSettings | undefined {
    return this.#network?.settings
  }

  set(settings: FakeNetworkSettings | undefined): void {
    this.#network = settings && new FakeNetwork(settings, this.#options.random)
    if (!settings || this.#lines) return
    const lines = (bytes: number): Lines => ({ out: new DelayLine(bytes), in: new DelayLine(bytes) })
    this.#lines = { link: lines(LINK_BYTES), datagrams: lines(DATAGRAM_BYTES) }
  }

  /** True when the link should not bring or take more for now. */
  isFull(way: FakeWay): boolean {
    return this.#lines?.link[way].isFull ?? false
  }

  /** Does what bytes of the link are to do when they arrive; in order. */
  chunk(way: FakeWay, bytes: number, arrive: () => void): void {
    const line = this.#lines?.link[way]
    if (!line || (!this.#network && line.isEmpty)) return arrive()
    const now = this.#options.clock.now()
    // What was on its way when the fake network was changed or taken back still comes first.
    line.push(arrive, bytes, Math.max(line.latest, this.#network?.chunk(way, bytes, now) ?? now))
    this.#schedule()
  }

  /** Does what a datagram is to do when it arrives: once, twice or never. */
  datagram(way: FakeWay, bytes: number, arrive: () => void): void {
    const line = this.#lines?.datagrams[way]
    if (!line || !this.#network) return arrive()
    if (line.isFull) return
    const now = this.#options.clock.now()
    for (const at of this.#network.datagram(way, bytes, now)) line.push(arrive, bytes, at)
    this.#schedule()
  }

  /** Ends it; what is on its way out of the link leaves now, since what follows has to come behind it. */
  close(): void {
    this.#timer?.cancel()
    for (const leave of this.#lines?.link.out.due(Number.POSITIVE_INFINITY) ?? []) leave()
    this.#network = undefined
    this.#lines = undefined
  }

  #all(): DelayLine<() => void>[] {
    const { link, datagrams } = this.#lines ?? {}
    return link && datagrams ? [link.out, link.in, datagrams.out, datagrams.in] : []
  }

  #schedule(): void {
    const deadline = Math.min(...this.#all().map((line) => line.deadline))
    if (this.#timer && this.#timerAt <= deadline) return
    this.#timer?.cancel()
    this.#timer = undefined
    this.#timerAt = deadline
    if (deadline === Number.POSITIVE_INFINITY) return
    const { clock } = this.#options
    const delay: Milliseconds = Math.max(0, deadline - clock.now())
    this.#timer = clock.after(delay, () => {
      this.#timer = undefined
      for (const line of this.#all()) for (const arrive of line.due(clock.now())) arrive()
      this.#options.onRoom()
      this.#schedule()
    })
  }
}
