import type { MethodEntry } from './shapes.ts'

/** XMPP accounts on the internet. */
export const accountMethods = {} as const satisfies Record<string, MethodEntry>
