import type { ErrorCode } from '../../errors.ts'
import type { IncomingMessage } from '../../session/session.ts'
import type { PeerId, UnixMilliseconds } from '../../types.ts'

/** A message on its way to an app. */
export interface DeliveredMessage {
  readonly from: PeerId
  readonly channel: string
  readonly data: Uint8Array
  readonly reliable: boolean
  readonly lane: number
  readonly number: number
  readonly via: 'link' | 'datagram'
  readonly at: UnixMilliseconds
}

/** What a sender is told where apps decline for several reasons: the last of these that was given. */
const TELLING: readonly ErrorCode[] = ['peer.no-listener', 'peer.not-accepted', 'peer.busy']

/** A message that has arrived, and the apps that may take it: delivered as soon as one has it, refused when none of them will. */
export class Arrival {
  readonly message: DeliveredMessage
  readonly #incoming: IncomingMessage
  #undecided: number
  #settled = false
  #refusal = 0

  /** `apps`: how many will say `taken` or `declined`, each once. */
  constructor(incoming: IncomingMessage, at: UnixMilliseconds, apps: number) {
    const { peer, channel, data, reliable, lane, number, via } = incoming
    this.message = { from: peer, channel, data, reliable, lane, number, via, at }
    this.#incoming = incoming
    this.#undecided = apps
    // Nobody waits for a word on these.
    if (!reliable) this.taken()
  }

  /** An app has it. */
  taken(): void {
    if (this.#settled) return
    this.#settled = true
    this.#incoming.accept()
  }

  /** An app will not have it. */
  declined(code: ErrorCode): void {
    this.#refusal = Math.max(this.#refusal, TELLING.indexOf(code))
    if (--this.#undecided > 0 || this.#settled) return
    this.#settled = true
    this.#incoming.refuse(TELLING[this.#refusal] ?? 'peer.no-listener')
  }
}
