import { spawn } from 'node:child_process'
import type { Clock, Timer } from '../clock.ts'
import type { Milliseconds } from '../types.ts'
import type { ServiceLife } from './life.ts'

/** How long `systemd-notify` may take before it is given up. */
const PATIENCE: Milliseconds = 5000

/** Sends one notification. Rejects when it could not. */
export type SendNotification = (assignments: readonly string[]) => Promise<void>

/**
 * Sends by `systemd-notify`, a program of systemd, since Node has no Unix datagram sockets. It ends only when systemd has read the message
 * (sd_notify_barrier(3)), so the sender's process is still there when systemd looks for the service that it belongs to; the unit has to say
 * `NotifyAccess=all`.
 */
export function systemdNotify(notifySocket: string, env: NodeJS.ProcessEnv): SendNotification {
  return (assignments) =>
    new Promise((resolve, reject) => {
      const child = spawn('systemd-notify', [...assignments], {
        env: { PATH: env.PATH ?? '/usr/bin:/bin', NOTIFY_SOCKET: notifySocket },
        stdio: 'ignore',
        timeout: PATIENCE,
        killSignal: 'SIGKILL',
      })
      child.once('error', reject)
      child.once('close', (code, signal) =>
        code === 0 ? resolve() : reject(new Error(`systemd-notify ended with ${code ?? signal}`)),
      )
    })
}

interface NotifierParts {
  readonly life: ServiceLife
  readonly clock: Pick<Clock, 'now' | 'after'>
  readonly send: SendNotification
  /** Told the first time that sending fails; every watchdog tick would repeat it. */
  readonly failed: (reason: string) => void
}

/** Tells the service manager of a life as it goes: one notification at a time, in order. */
export class Notifier {
  readonly #parts: NotifierParts
  #timer: Timer | undefined
  #sending: Promise<void> | undefined
  #hasFailed = false

  constructor(parts: NotifierParts) {
    this.#parts = parts
    this.#schedule()
  }

  /** To be called after each word to the life. Resolves when all of it has been sent, or could not be. */
  flush(): Promise<void> {
    this.#sending ??= this.#drain().finally(() => {
      this.#sending = undefined
    })
    return this.#sending
  }

  close(): void {
    this.#timer?.cancel()
  }

  async #drain(): Promise<void> {
    for (let next = this.#parts.life.take(); next; next = this.#parts.life.take())
      try {
        await this.#parts.send(next)
        this.#hasFailed = false
      } catch (error) {
        if (!this.#hasFailed) this.#parts.failed((error as Error).message)
        this.#hasFailed = true
      }
  }

  #schedule(): void {
    const { life, clock } = this.#parts
    if (life.deadline === Number.POSITIVE_INFINITY) return
    this.#timer = clock.after(Math.max(0, life.deadline - clock.now()), () => {
      life.tick(clock.now())
      void this.flush()
      this.#schedule()
    })
  }
}
