import type { MethodEntry } from './shapes.ts'

/** Policy, requests. */
export const policyMethods = {} as const satisfies Record<string, MethodEntry>
