import type { MethodEntry } from './shapes.ts'

/** Tickets: inviting and joining. */
export const inviteMethods = {} as const satisfies Record<string, MethodEntry>
