import type { HostPort } from '../../../../daemon/types.ts'
import { Link, PERFECT } from './link.ts'
import type { Packet } from './packet.ts'
import type { Node, Segment } from './segment.ts'
import type { Timeline } from './timeline.ts'

/** First byte of a question to the server, and of its answer: no STUN message, nor anything else of a host's, begins with it. */
const QUESTION = 0xfe
const ANSWER = 0xff

/** Tells whoever asks where from the question came. */
export class StunServer implements Node {
  static readonly PORT = 3478
  readonly address: string
  readonly #internet: Segment
  readonly #link: Link

  constructor(timeline: Timeline, random: () => number, internet: Segment, address: string) {
    this.address = address
    this.#internet = internet
    this.#link = new Link(timeline, random, { ...PERFECT, latency: 5 })
    internet.attach(address, this, this.#link)
  }

  static question(): Buffer {
    return Buffer.from([QUESTION])
  }

  /** The address in an answer; undefined for what is none. */
  static answer(payload: Buffer): HostPort | undefined {
    if (payload[0] !== ANSWER) return undefined
    const [address = '', port = ''] = payload.toString('latin1', 1).split(' ')
    return { address, port: Number(port) }
  }

  receive({ source, to, payload }: Packet): void {
    if (payload[0] !== QUESTION) return
    const text = Buffer.from(`${source.address} ${source.port}`, 'latin1')
    this.#internet.send({ source: to, to: source, payload: Buffer.concat([Buffer.from([ANSWER]), text]) }, this.#link)
  }
}
