import type { Clock } from '../clock.ts'
import type { Milliseconds } from '../types.ts'

/** Acknowledgements leave this far apart. */
const PAUSE: Milliseconds = 1

/**
 * Thins out acknowledgements: UDX sends one for each packet, and each says all that those before it said. At 100 Mbit/s that saves both ends
 * seven of eight.
 */
export class UdxAcks {
  readonly #clock: Clock
  readonly #send: (packet: Buffer) => void
  #newest: Buffer | undefined
  #isPausing = false

  constructor(clock: Clock, send: (packet: Buffer) => void) {
    this.#clock = clock
    this.#send = send
  }

  /** Sends it now, or soon if nothing newer comes. */
  send(packet: Buffer): void {
    if (this.#isPausing) {
      this.#newest = packet
      return
    }
    this.#isPausing = true
    this.#clock.after(PAUSE, () => {
      this.#isPausing = false
      const newest = this.#newest
      this.#newest = undefined
      if (newest) this.send(newest)
    })
    this.#send(packet)
  }
}
