import type { Context } from '../command.ts'

/** The live view; without a terminal, a line for everything that happens. */
export async function runView(_context: Context): Promise<number> {
  return 0
}
