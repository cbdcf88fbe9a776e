/**
 * Keeps unreliable packets at the rate the receiver takes: a sender that floods a virtual cable measures how many packets the kernel throws away. Each
 * packet begins with its number, the receiver tells the highest one it has, and so many at most are between the two.
 */
import type { Packets } from './transport.ts'

/** Content of a packet, in bytes: with what the subjects put around it still within 1,200. */
export const PACKET = 1024
/** They fit the receive buffer of a UDP socket as Linux sets it up. */
const WINDOW = 64
const REPORT_EVERY = 16
/** Everything under way is taken for lost after so many milliseconds without a word. */
const STALL = 20

/** The receiver's side. */
export class PacketReporter {
  readonly #reply: (report: Uint8Array) => void
  #highest = 0
  #unsaid = 0

  constructor(reply: (report: Uint8Array) => void) {
    this.#reply = reply
  }

  took(packet: Uint8Array): void {
    this.#highest = Math.max(this.#highest, new DataView(packet.buffer, packet.byteOffset).getUint32(0))
    if (++this.#unsaid < REPORT_EVERY) return
    this.#unsaid = 0
    const report = Buffer.allocUnsafe(4)
    report.writeUInt32BE(this.#highest, 0)
    this.#reply(report)
  }
}

/** The sender's side: sends until it is stopped. */
export class PacketFlow {
  readonly #packets: Packets
  readonly #stall: NodeJS.Timeout
  #sent = 0
  #arrived = 0
  #stopped = false

  constructor(packets: Packets) {
    this.#packets = packets
    packets.onReport = (report) => this.#reported(new DataView(report.buffer, report.byteOffset).getUint32(0))
    this.#stall = setInterval(() => this.#stalled(), STALL)
    this.#fill()
  }

  stop(): void {
    this.#stopped = true
    clearInterval(this.#stall)
  }

  #reported(highest: number): void {
    if (highest <= this.#arrived) return
    this.#arrived = highest
    this.#stall.refresh()
    this.#fill()
  }

  #stalled(): void {
    this.#arrived = this.#sent
    this.#fill()
  }

  #fill(): void {
    while (!this.#stopped && this.#sent - this.#arrived < WINDOW) {
      const packet = Buffer.alloc(PACKET, 7)
      packet.writeUInt32BE(++this.#sent, 0)
      this.#packets.send(packet)
    }
  }
}
