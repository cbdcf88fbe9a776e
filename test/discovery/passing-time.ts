import type { VirtualClock } from '../virtual-clock.ts'

/** Lets virtual time pass in steps, so that promises settle between timers. */
export async function pass(clock: VirtualClock, ms: number, step = 250): Promise<void> {
  await settle()
  for (let left = ms; left > 0; left -= step) {
    clock.advance(Math.min(step, left))
    await settle()
  }
}

/** Lets every promise that can settle do so. */
const settle = (): Promise<void> => new Promise((resolve) => setImmediate(resolve))
