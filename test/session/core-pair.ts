import { type CoreEvents, SessionCore } from '../../daemon/session/core.ts'
import type { Control } from '../../daemon/session/frame.ts'
import type { Arrived } from '../../daemon/session/inbox.ts'
import type { CloseReason } from '../../daemon/session/session.ts'
import type { Milliseconds } from '../../daemon/types.ts'

/** A core that remembers what it told its owner. */
export class Host implements CoreEvents {
  readonly core: SessionCore
  readonly messages: Arrived[] = []
  readonly controls: Control[] = []
  readonly ends: CloseReason[] = []

  constructor(now: Milliseconds = 0) {
    this.core = new SessionCore(this, now)
  }

  message(message: Arrived): void {
    this.messages.push(message)
  }

  control(control: Control): void {
    this.controls.push(control)
  }

  closed(reason: CloseReason): void {
    this.ends.push(reason)
  }

  wake(): void {}

  /** Sends a message; the list gets `'delivered'` or the code of the refusal, once. */
  send(channel: string, data: Uint8Array | string, options: { lane?: number; reliable?: boolean } = {}): string[] {
    const told: string[] = []
    this.core.send({
      channel,
      data: typeof data === 'string' ? Buffer.from(data) : data,
      lane: options.lane ?? 0,
      reliable: options.reliable ?? true,
      done: (error) => told.push(error?.code ?? 'delivered'),
    })
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
    if (a.core.hasOutput) b.core.receive(a.core.takeOutput(64 * 1024), now)
    if (b.core.hasOutput) a.core.receive(b.core.takeOutput(64 * 1024), now)
  }
}
