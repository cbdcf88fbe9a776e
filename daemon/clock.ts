import type { Milliseconds, UnixMilliseconds } from './types.ts'

/** A pending call; `cancel` is safe to call twice and after it ran. */
export interface Timer {
  cancel(): void
}

/** Time, as every part takes it. Tests pass a virtual one. */
export interface Clock {
  /** Monotonic time; does not jump when the wall clock is set, nor advance while the machine sleeps. */
  now(): Milliseconds
  /** Wall-clock time. */
  wall(): UnixMilliseconds
  /** Runs `task` once after `delay`. Never keeps the process alive on its own. */
  after(delay: Milliseconds, task: () => void): Timer
}

export const systemClock: Clock = {
  now: () => performance.now(),
  wall: () => Date.now(),
  after(delay, task) {
    const handle = setTimeout(task, delay)
    handle.unref()
    return { cancel: () => clearTimeout(handle) }
  },
}
