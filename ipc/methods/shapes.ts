/** What the groups of the table of methods share. */
import * as z from 'zod'
import type { ErrorCode } from '../../daemon/errors.ts'

export interface MethodEntry {
  /** One sentence. */
  readonly about: string
  /** `app`: on both sockets. `owner`: on the control socket only. */
  readonly who: 'app' | 'owner'
  readonly params: z.ZodObject
  readonly result: z.ZodType
  readonly errors: readonly ErrorCode[]
  readonly example: { readonly params: unknown; readonly result: unknown }
  /** True where the connection becomes a raw byte stream after the answer. */
  readonly raw?: true
  /** True where a raw method waits for somebody: an app that closes its side meanwhile has left. */
  readonly waits?: true
}

export const peerArg = z
  .string()
  .min(1)
  .max(1100)
  .describe('Petname, name, peer id, or a prefix of it of at least 6 characters.')
export const peerId = z.string().length(52).describe('Peer id.')
export const milliseconds = z.number().nonnegative()
export const count = z.number().int().nonnegative()
export const empty = z.object({})

/** A peer id for examples. */
export const ID = 'mfzwizlnn5xgk3lpnzsxe3dfon2ca5dfon2gs3thebqw4zbaonxw2zjanrsq'.slice(0, 52)

/** Errors of every method that names a peer. */
export const peerErrors = ['peer.not-found', 'usage.ambiguous-peer'] as const satisfies readonly ErrorCode[]
