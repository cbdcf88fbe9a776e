import { setTimeout as sleep } from 'node:timers/promises'
import { messagesOver } from './framing.ts'
import { PacketFlow } from './packet-flow.ts'
import { Pump } from './pump.ts'
import { PURPOSES, type Purpose } from './service.ts'
import { median, quantile } from './statistics.ts'
import type { Conversation, Pipe } from './transport.ts'

/** Messages, and their bytes, that may be unacknowledged. */
const WINDOW = 1000
const WINDOW_BYTES = 2 * 1024 * 1024
/** Round trips that are not counted, and how long the counted ones may take together, in ms. */
const WARM_UP = 200
const PATIENCE = 5000
const STREAMS_GAP = 20

/** The dialling process: does one exercise at a time. */
export class BenchClient {
  readonly #dial: () => Promise<Conversation>
  readonly #held: Conversation[] = []
  #conversation: Conversation | undefined
  #stop: () => void = () => {}

  constructor(dial: () => Promise<Conversation>) {
    this.#dial = dial
  }

  /** From dialling to the first answer, in ms: the first time, and the median of so many more. */
  async connect(warm: number): Promise<{ cold: number; warm: number }> {
    const once = async (): Promise<number> => {
      await this.#conversation?.close()
      await sleep(STREAMS_GAP)
      const start = performance.now()
      this.#conversation = await this.#dial()
      await (await this.#trip(this.#conversation))(Buffer.alloc(1, 1))
      return performance.now() - start
    }
    const cold = await once()
    const times: number[] = []
    for (let i = 0; i < warm; i++) times.push(await once())
    return { cold, warm: median(times) }
  }

  /** Round trips one after another, in µs. `stream`: over an echoing stream although there are messages. */
  async trips(size: number, count: number, over: 'message' | 'stream'): Promise<{ p50: number; p99: number }> {
    const trip = await this.#trip(await this.#talk(), over)
    const payload = Buffer.alloc(size, 1)
    for (let i = 0; i < WARM_UP; i++) await trip(payload)
    const times: number[] = []
    const end = performance.now() + PATIENCE
    for (let i = 0; i < count && performance.now() < end; i++) {
      const start = performance.now()
      await trip(payload)
      times.push((performance.now() - start) * 1000)
    }
    return { p50: median(times), p99: quantile(times, 0.99) }
  }

  /** Writes to so many streams as fast as they take it. */
  async pour(streams: number): Promise<void> {
    const talk = await this.#talk()
    const pipes: Pipe[] = []
    for (let i = 0; i < streams; i++) pipes.push(await open(talk, 'sink'))
    let stopped = false
    for (const pipe of pipes) {
      const chunk = Buffer.alloc(pipe.chunk, 7)
      pipe.onDrain = () => {
        // A few at a time: the process has other streams, and round trips, to look after.
        for (let i = 0; i < 4; i++) if (stopped || !pipe.write(chunk)) return
        setImmediate(pipe.onDrain)
      }
      pipe.onDrain()
    }
    this.#stop = () => {
      stopped = true
    }
  }

  /** Sends acknowledged messages, as many as the window takes. */
  async messages(size: number): Promise<void> {
    const talk = await this.#talk()
    const messages = talk.messages?.() ?? messagesOver(await open(talk, 'messages'))
    const payload = Buffer.alloc(size, 7)
    const pump = new Pump({
      window: Math.min(WINDOW, Math.ceil(WINDOW_BYTES / size)),
      send: () => messages.send(payload),
      cork: () => messages.cork(),
      uncork: () => messages.uncork(),
    })
    messages.onDelivered = (count) => pump.settled(count)
    this.#stop = () => pump.stop()
  }

  /** Sends packets as fast as the other end takes them. */
  async packets(): Promise<void> {
    const packets = (await this.#talk()).packets?.()
    if (!packets) throw new Error('it has no packets')
    const flow = new PacketFlow(packets)
    this.#stop = () => flow.stop()
  }

  /** Opens conversations until there are so many, and keeps them. */
  async hold(count: number): Promise<void> {
    while (this.#held.length < count) {
      const talk = await this.#dial()
      await (await this.#trip(talk))(Buffer.alloc(1, 1))
      this.#held.push(talk)
    }
  }

  /** Ends what `pour`, `messages` or `packets` began. */
  rest(): void {
    this.#stop()
    this.#stop = () => {}
  }

  async #talk(): Promise<Conversation> {
    this.#conversation ??= await this.#dial()
    return this.#conversation
  }

  async #trip(
    talk: Conversation,
    over: 'message' | 'stream' = 'message',
  ): Promise<(payload: Uint8Array) => Promise<void>> {
    if (talk.trip && over === 'message') return (payload) => talk.trip?.(payload) ?? Promise.resolve()
    return tripOver(await open(talk, 'echo'))
  }
}

async function open(talk: Conversation, purpose: Purpose): Promise<Pipe> {
  const pipe = await talk.pipe()
  pipe.write(Buffer.of(PURPOSES[purpose]))
  return pipe
}

/** A round trip over a pipe whose other end sends everything back. */
function tripOver(pipe: Pipe): (payload: Uint8Array) => Promise<void> {
  let missing = 0
  let done = (): void => {}
  pipe.onData = (chunk) => {
    missing -= chunk.length
    if (missing === 0) done()
  }
  return (payload) =>
    new Promise((resolve) => {
      missing = payload.length
      done = resolve
      pipe.write(payload)
    })
}
