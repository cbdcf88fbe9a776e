import { deepEqual, equal } from 'node:assert/strict'
import { createHash, randomBytes } from 'node:crypto'
import { once } from 'node:events'
import { setTimeout as sleep, setImmediate as turn } from 'node:timers/promises'
import { toPartylineError } from '../../daemon/errors.ts'
import type { AppStream } from '../../ipc/index.ts'
import type { Guest } from './party.ts'

/** Messages on their way at a time. */
const WINDOW = 64

/** Numbered messages from one guest to another, as fast as they are acknowledged, until it is stopped. */
export class Numbered {
  readonly received: number[] = []
  readonly unreliable: number[] = []
  /** Those of them that came as sealed datagrams. */
  datagrams = 0
  #sent = 0
  #isStopped = false
  #ending: Promise<void> | undefined

  static async between(from: Guest, to: Guest): Promise<Numbered> {
    const numbered = new Numbered()
    const messages = await to.client.messages(`numbers-${from.host}`)
    void (async () => {
      for await (const { data, reliable, via } of messages) {
        const list = reliable ? numbered.received : numbered.unreliable
        list.push(Number(Buffer.from(data).toString()))
        if (via === 'datagram') numbered.datagrams++
      }
    })()
    const lane = async () => {
      while (!numbered.#isStopped) {
        const data = String(++numbered.#sent)
        const sent = from.client.send(to.id, `numbers-${from.host}`, data)
        void from.client.send(to.id, `numbers-${from.host}`, data, { reliable: false }).catch(() => {})
        await sent
      }
    }
    numbered.#ending = Promise.all(Array.from({ length: WINDOW }, lane)).then(() => {})
    return numbered
  }

  /** Resolves when so many have arrived in all. */
  async until(count: number): Promise<void> {
    while (this.received.length < count) await sleep(20)
  }

  /** Resolves when so many more have arrived, and as many datagrams. */
  async goesOn(more: number): Promise<void> {
    const datagrams = this.datagrams + more
    await this.until(this.received.length + more)
    while (this.datagrams < datagrams) await sleep(20)
  }

  /** Resolves when the last is acknowledged; every one of them has to have arrived once, in order. */
  async end(): Promise<void> {
    this.#isStopped = true
    await this.#ending
    await this.until(this.#sent)
    deepEqual(
      this.received,
      Array.from({ length: this.#sent }, (_, i) => i + 1),
    )
    equal(new Set(this.unreliable).size, this.unreliable.length)
  }
}

/** Opens a stream as soon as somebody accepts. */
async function opened(from: Guest, to: Guest, service: string): Promise<AppStream> {
  for (;;) {
    try {
      return await from.client.openStream(to.id, service)
    } catch (error) {
      if (toPartylineError(error).code !== 'peer.no-service') throw error
    }
  }
}

/** Bytes without end from one guest to another, and what came out. */
export class Pouring {
  readonly #written = createHash('sha256')
  readonly #read = createHash('sha256')
  #isStopped = false
  #ending: Promise<void> | undefined
  bytes = 0

  static async between(from: Guest, to: Guest): Promise<Pouring> {
    const pouring = new Pouring()
    const service = `pour-${from.host}`
    const accepting = to.client.acceptStream(service)
    const { socket } = await opened(from, to, service)
    const accepted = await accepting
    const ended = once(accepted.socket, 'end')
    accepted.socket.on('data', (chunk: Buffer) => {
      pouring.bytes += chunk.length
      pouring.#read.update(chunk)
    })
    const pour = async () => {
      while (!pouring.#isStopped) {
        const chunk = randomBytes(20_000)
        pouring.#written.update(chunk)
        if (!socket.write(chunk)) await once(socket, 'drain')
        else await turn()
      }
      socket.end()
      await ended
      accepted.socket.end()
      equal((await accepted.outcome).clean, true)
    }
    pouring.#ending = pour()
    return pouring
  }

  async end(): Promise<void> {
    this.#isStopped = true
    await this.#ending
    equal(this.#read.digest('hex'), this.#written.digest('hex'))
  }

  /** Resolves when so many bytes have come out. */
  async until(bytes: number): Promise<void> {
    while (this.bytes < bytes) await sleep(20)
  }
}

/** Between two beats, in ms. */
const BEAT = 5

/** Unreliable messages at even times from one guest to another, to see when they do not arrive. */
export class Beats {
  /** When each arrived, in ms. */
  readonly #arrivals: number[] = []
  readonly #timer: NodeJS.Timeout

  private constructor(timer: NodeJS.Timeout) {
    this.#timer = timer
  }

  static async between(from: Guest, to: Guest): Promise<Beats> {
    const messages = await to.client.messages(`beats-${from.host}`)
    const timer = setInterval(() => {
      from.client.send(to.id, `beats-${from.host}`, 'beat', { reliable: false }).catch(() => {})
    }, BEAT)
    const beats = new Beats(timer)
    void (async () => {
      for await (const _ of messages) beats.#arrivals.push(performance.now())
    })()
    return beats
  }

  /** The longest time without any since then, in ms, the time since the last included. */
  longestGap(since: number): number {
    const times = [since, ...this.#arrivals.filter((at) => at > since), performance.now()]
    return Math.max(...times.slice(1).map((at, i) => at - (times[i] ?? at)))
  }

  end(): void {
    clearInterval(this.#timer)
  }
}
