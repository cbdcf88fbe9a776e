import { toPartylineError } from '../../daemon/errors.ts'
import { type CoreEvents, SessionCore } from '../../daemon/session/core.ts'
import type { Control } from '../../daemon/session/frame.ts'
import type { Arrived } from '../../daemon/session/inbox.ts'
import { DROPPED } from '../../daemon/session/outbox.ts'
import { type CloseReason, NOW_OR_NEVER, type SendOptions } from '../../daemon/session/session.ts'
import type { Milliseconds } from '../../daemon/types.ts'

/** A core that remembers what it told its owner. */
export class Host implements CoreEvents {
  readonly core: SessionCore
  readonly messages: Arrived[] = []
  readonly controls: Control[] = []
  readonly ends: CloseReason[] = []
  readonly trips: Milliseconds[] = []
  /** How often its link was found dead. */
  silences = 0

  constructor(now: Milliseconds = 0) {
    this.core = new SessionCore(this, now)
  }

  message(message: Arrived): void {
    this.messages.push(message)
  }

  control(control: Control): void {
    this.controls.push(control)
  }

  roundTrip(sample: Milliseconds): void {
    this.trips.push(sample)
  }

  silent(): void {
    this.silences++
  }

  closed(reason: CloseReason): void {
    this.ends.push(reason)
  }

  wake(): void {}

  /** Sends a message; the list gets `'delivered'` or the code of the refusal, once. */
  send(channel: string, data: Uint8Array | string, options: SendOptions = {}, now: Milliseconds = 0): string[] {
    const told: string[] = []
    this.core.send(
      {
        app: options.app ?? 0,
        channel,
        data: typeof data === 'string' ? Buffer.from(data) : data,
        lane: options.lane ?? 0,
        reliable: options.reliable ?? true,
        ...(options.now && { patience: NOW_OR_NEVER }),
        done: (error) => told.push(error === DROPPED ? 'dropped' : error ? toPartylineError(error).code : 'delivered'),
      },
      now,
      options.nodelay === false ? 10 : 0,
    )
    return told
  }

  /** Text of the messages that arrived. */
  get texts(): string[] {
    return this.messages.map(({ data }) => Buffer.from(data).toString())
  }
}

/** Carries everything both have to say, until neither has. */
export function exchange(a: Host, b: Host, now: Milliseconds = 0): void {
  while (a.core.hasOutput || b.core.hasOutput) {
    if (a.core.hasOutput) b.core.receive(a.core.takeOutput(64 * 1024, now), now)
    if (b.core.hasOutput) a.core.receive(b.core.takeOutput(64 * 1024, now), now)
  }
}
