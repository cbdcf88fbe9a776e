import { acknowledge } from './framing.ts'
import { PacketReporter } from './packet-flow.ts'
import type { Pipe } from './transport.ts'

/** What the first byte on a pipe asks of the serving process. */
export const PURPOSES = { sink: 1, echo: 2, messages: 3 } as const
export type Purpose = keyof typeof PURPOSES

/** The serving process: takes pipes and packets, and counts. */
export class Service {
  bytes = 0
  messages = 0
  packetCount = 0

  take(pipe: Pipe): void {
    pipe.onData = (chunk) => {
      const work = this.#begin(pipe, chunk[0])
      pipe.onData = work
      if (chunk.length > 1) work(chunk.subarray(1))
    }
  }

  /** Takes the packets of one sender; `reply` sends a packet back. */
  packets(reply: (report: Uint8Array) => void): (packet: Uint8Array) => void {
    const reporter = new PacketReporter(reply)
    return (packet) => {
      this.packetCount++
      reporter.took(packet)
    }
  }

  #begin(pipe: Pipe, purpose: number | undefined): (chunk: Uint8Array) => void {
    if (purpose === PURPOSES.echo) return (chunk) => void pipe.write(chunk)
    if (purpose === PURPOSES.messages) return acknowledge(pipe, () => this.messages++)
    return (chunk) => {
      this.bytes += chunk.length
    }
  }

  /** The counters now, by the clock of this process. */
  mark(): Mark {
    const { bytes, messages, packetCount } = this
    return { at: performance.now(), bytes, messages, packets: packetCount }
  }
}

export interface Mark {
  /** Milliseconds. */
  readonly at: number
  readonly bytes: number
  readonly messages: number
  readonly packets: number
}
