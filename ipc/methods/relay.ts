import type { MethodEntry } from './shapes.ts'

/** A relay of one's own, and those of friends. */
export const relayMethods = {} as const satisfies Record<string, MethodEntry>
