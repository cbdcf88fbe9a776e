import type { Timer } from '../../../../daemon/clock.ts'
import type { RemoteCandidate } from '../../../../daemon/nat/candidate.ts'
import type { IceCredentials } from '../../../../daemon/nat/ice/agent.ts'
import type { Milliseconds } from '../../../../daemon/types.ts'
import type { SimulatedHost } from './host.ts'

/** What a host says of how to reach it, whole each time. */
interface Description {
  readonly credentials: IceCredentials
  readonly candidates: readonly RemoteCandidate[]
}

export interface Signal {
  /** Absent: it only tells what was seen. */
  readonly description?: Description
  readonly version: number
  /** The newest version of the other's that has arrived. */
  readonly seen: number
}

/** Changes within this time are told together. */
const GATHER: Milliseconds = 15
const RESEND: Milliseconds = 400
const MAX_RESEND: Milliseconds = 5000

/** One side of an exchange of descriptions: repeats its newest until the other has seen it. */
export class Exchange {
  readonly #host: SimulatedHost
  readonly #send: (signal: Signal) => void
  readonly #described: (description: Description) => void
  #local: Description | undefined
  #version = 0
  #seenByPeer = 0
  #remoteVersion = 0
  #resend = RESEND
  #timer: Timer | undefined

  constructor(host: SimulatedHost, send: (signal: Signal) => void, described: (description: Description) => void) {
    this.#host = host
    this.#send = send
    this.#described = described
  }

  get isAnswered(): boolean {
    return this.#remoteVersion > 0
  }

  describe(local: Description): void {
    const isFirst = this.#local === undefined
    this.#local = local
    this.#version++
    this.#resend = RESEND
    this.#schedule(isFirst ? 0 : GATHER)
  }

  receive({ description, version, seen }: Signal): void {
    this.#seenByPeer = Math.max(this.#seenByPeer, seen)
    if (!description) return
    const isNew = version > this.#remoteVersion
    this.#remoteVersion = Math.max(this.#remoteVersion, version)
    this.#send({ version: 0, seen: this.#remoteVersion })
    if (isNew) this.#described(description)
  }

  close(): void {
    this.#timer?.cancel()
  }

  #schedule(delay: Milliseconds): void {
    this.#timer?.cancel()
    this.#timer = this.#host.after(delay, () => this.#tell())
  }

  #tell(): void {
    if (!this.#local || this.#seenByPeer >= this.#version) return
    this.#send({ description: this.#local, version: this.#version, seen: this.#remoteVersion })
    this.#schedule(this.#resend)
    this.#resend = Math.min(MAX_RESEND, this.#resend * 2)
  }
}
