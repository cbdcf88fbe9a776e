import { isUtf8 } from 'node:buffer'
import { type ErrorCode, isErrorCode, PartylineError } from '../daemon/errors.ts'
import { ByteQueue } from './byte-queue.ts'
import type { CallId, Codec, Incoming } from './codec.ts'
import { MAX_REQUEST } from './methods.ts'

/** Numbers that JSON-RPC 2.0 (section 5.1) gives some errors; all others are -32000, with our code in `data`. */
const NUMBERS: Partial<Record<ErrorCode, number>> = {
  'usage.malformed': -32700,
  'usage.invalid-request': -32600,
  'usage.oversized': -32600,
  'usage.unknown-method': -32601,
  'usage.invalid-argument': -32602,
  'local.internal': -32603,
}

/** JSON-RPC 2.0, one object a line (UTF-8, LF). */
export class JsonLines implements Codec {
  readonly encoding = 'json'
  readonly #queue = new ByteQueue()
  readonly #limit: number
  /** Bytes already searched for an end of line. */
  #searched = 0

  /** `limit`: the longest line, in bytes. */
  constructor(limit = MAX_REQUEST) {
    this.#limit = limit
  }

  get waiting(): number {
    return this.#queue.length
  }

  append(chunk: Buffer): void {
    this.#queue.append(chunk)
  }

  next(): Incoming | undefined {
    for (;;) {
      const { bytes } = this.#queue
      const end = bytes.indexOf(10, this.#searched)
      if ((end < 0 ? bytes.length : end) > this.#limit)
        throw new PartylineError('usage.oversized', `a line is longer than ${this.#limit} bytes`)
      if (end < 0) {
        this.#searched = bytes.length
        return undefined
      }
      const line = bytes.subarray(0, end)
      this.#queue.consume(end + 1)
      this.#searched = 0
      if (!isUtf8(line)) throw new PartylineError('usage.malformed', 'a line is not UTF-8')
      const text = line.toString('utf8')
      if (text.trim() !== '') return parse(text)
    }
  }

  end(): void {
    if (this.waiting > 0) this.append(Buffer.from('\n'))
  }

  takeRest(): Buffer {
    const rest = Buffer.from(this.#queue.bytes)
    this.#queue.consume(rest.length)
    this.#searched = 0
    return rest
  }

  request(id: number, method: string, params: unknown): string {
    return `${JSON.stringify({ jsonrpc: '2.0', id, method, params: withBase64(params) })}\n`
  }

  notification(method: string, params: unknown): string {
    return `${JSON.stringify({ jsonrpc: '2.0', method, params })}\n`
  }

  result(id: CallId, result: unknown): string {
    return `${JSON.stringify({ jsonrpc: '2.0', id, result })}\n`
  }

  error(id: CallId, { code, message, hint }: PartylineError): string {
    return `${JSON.stringify({ jsonrpc: '2.0', id, error: { code: NUMBERS[code] ?? -32000, message, data: { code, hint } } })}\n`
  }
}

/** Bytes among parameters, as JSON can carry them. */
function withBase64(params: unknown): unknown {
  if (typeof params !== 'object' || params === null) return params
  const entries = Object.entries(params).map(([key, value]) =>
    value instanceof Uint8Array ? [key, { base64: Buffer.from(value).toString('base64') }] : [key, value],
  )
  return Object.fromEntries(entries)
}

function parse(line: string): Incoming {
  let value: unknown
  try {
    value = JSON.parse(line)
  } catch (error) {
    throw new PartylineError('usage.malformed', `not JSON: ${(error as Error).message}`)
  }
  if (typeof value !== 'object' || value === null || Array.isArray(value))
    throw new PartylineError('usage.invalid-request', 'a line has to be one JSON object (batches are not supported)')
  const { id, method, params, result, error } = value as Record<string, unknown>
  if (typeof method === 'string') {
    if (id === undefined) return { kind: 'notification', method, params }
    if (typeof id === 'number' || typeof id === 'string') return { kind: 'request', id, method, params }
    throw new PartylineError('usage.invalid-request', 'the id of a call has to be a number or a string')
  }
  const answered = typeof id === 'number' || typeof id === 'string' ? id : null
  if (typeof error === 'object' && error !== null) return { kind: 'error', id: answered, ...errorFields(error) }
  if (result !== undefined) return { kind: 'result', id: answered, result }
  throw new PartylineError('usage.invalid-request', 'an object with neither method, result nor error')
}

function errorFields(error: object): { code: string; message: string; hint: string } {
  const { message, data } = error as { message?: unknown; data?: { code?: unknown; hint?: unknown } }
  const code = data?.code
  return { code: isErrorCode(code) ? code : 'local.internal', message: String(message), hint: String(data?.hint ?? '') }
}
