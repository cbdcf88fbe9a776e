import type { PartylineError } from '../daemon/errors.ts'

/** A call's number or name; null in an answer to what could not be read. */
export type CallId = number | string | null

/** What comes off a socket, in either direction and encoding. */
export type Incoming =
  | { readonly kind: 'request'; readonly id: CallId; readonly method: string; readonly params: unknown }
  | { readonly kind: 'notification'; readonly method: string; readonly params: unknown }
  | { readonly kind: 'result'; readonly id: CallId; readonly result: unknown }
  | {
      readonly kind: 'error'
      readonly id: CallId
      readonly code: string
      readonly message: string
      readonly hint: string
    }

/** Text, or bytes that are good until anything else is encoded. */
type Encoded = Uint8Array | string

/** One encoding of the socket: JSON lines or MessagePack-RPC. */
export interface Codec {
  readonly encoding: 'json' | 'messagepack'
  /** Bytes that are not read yet. */
  readonly waiting: number
  append(chunk: Buffer): void
  /** The next whole message, or undefined. Throws `usage.malformed`, `usage.invalid-request` or `usage.oversized`; nothing can be read after that. */
  next(): Incoming | undefined
  /** Nothing more will come: what a last line lacks to be one is made up for. Throws `usage.malformed` if only half a message is there. */
  end(): void
  /** What is not read yet, for a connection that becomes a raw stream; the codec is empty then. */
  takeRest(): Buffer
  request(id: number, method: string, params: unknown): Encoded
  notification(method: string, params: unknown): Encoded
  result(id: CallId, result: unknown): Encoded
  error(id: CallId, error: PartylineError): Encoded
}
