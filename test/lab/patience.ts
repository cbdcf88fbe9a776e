import { setTimeout as sleep } from 'node:timers/promises'
import type { Milliseconds } from '../../daemon/types.ts'

/** How long something that another program does may take before the test fails. Not a measure: most takes milliseconds. */
const PATIENCE: Milliseconds = 30_000
const LOOK_EVERY: Milliseconds = 50

/**
 * What `look` gives once it is neither undefined nor false; looks again and again, because nothing outside this process tells when.
 * `shown` is what a failure shows of the program.
 */
export async function eventually<T>(
  what: string,
  look: () => T | false | undefined | Promise<T | false | undefined>,
  shown: () => string | Promise<string> = () => '',
): Promise<T> {
  const end = performance.now() + PATIENCE
  for (;;) {
    const found = await look()
    if (found !== undefined && found !== false) return found
    if (performance.now() > end) throw new Error(`${what}: not within ${PATIENCE / 1000} s\n${await shown()}`)
    await sleep(LOOK_EVERY)
  }
}
