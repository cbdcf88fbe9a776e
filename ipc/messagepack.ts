import { Decoder, Encoder } from '@msgpack/msgpack'
import { isErrorCode, PartylineError } from '../daemon/errors.ts'
import { ByteQueue } from './byte-queue.ts'
import type { CallId, Codec, Incoming } from './codec.ts'
import { MessagePackScanner } from './messagepack-scanner.ts'
import { MAX_REQUEST } from './methods.ts'

const REQUEST = 0
const RESPONSE = 1
const NOTIFICATION = 2

/** One for all connections: what it gives is good until it is used again. */
const encoder = new Encoder({ ignoreUndefined: true })

/** MessagePack-RPC: [0, id, method, params], [1, id, error, result], [2, method, params]; params is a map, or an array of one. */
export class MessagePackRpc implements Codec {
  readonly encoding = 'messagepack'
  readonly #queue = new ByteQueue()
  readonly #scanner = new MessagePackScanner()
  readonly #limit: number
  readonly #decoder: Decoder

  /** `limit`: the longest message, in bytes. No member can be longer, since only whole messages are decoded. */
  constructor(limit = MAX_REQUEST) {
    this.#limit = limit
    this.#decoder = new Decoder({
      maxStrLength: limit,
      maxBinLength: limit,
      maxArrayLength: limit,
      maxMapLength: limit,
      maxExtLength: 0,
    })
  }

  get waiting(): number {
    return this.#queue.length
  }

  append(chunk: Buffer): void {
    this.#queue.append(chunk)
  }

  next(): Incoming | undefined {
    const { bytes } = this.#queue
    const length = this.#scanner.scan(bytes)
    if ((length ?? bytes.length) > this.#limit)
      throw new PartylineError('usage.oversized', `a message is longer than ${this.#limit} bytes`)
    if (length === undefined) return undefined
    let value: unknown
    try {
      value = this.#decoder.decode(bytes.subarray(0, length))
    } catch (error) {
      throw new PartylineError('usage.malformed', `not MessagePack: ${(error as Error).message}`)
    }
    this.#queue.consume(length)
    return parse(value)
  }

  end(): void {
    if (this.waiting > 0) throw new PartylineError('usage.malformed', 'the connection ended within a message')
  }

  takeRest(): Buffer {
    const rest = Buffer.from(this.#queue.bytes)
    this.#queue.consume(rest.length)
    return rest
  }

  request(id: number, method: string, params: unknown): Uint8Array {
    return encoder.encodeSharedRef([REQUEST, id, method, params])
  }

  notification(method: string, params: unknown): Uint8Array {
    return encoder.encodeSharedRef([NOTIFICATION, method, params])
  }

  result(id: CallId, result: unknown): Uint8Array {
    return encoder.encodeSharedRef([RESPONSE, id, null, result])
  }

  error(id: CallId, { code, message, hint }: PartylineError): Uint8Array {
    return encoder.encodeSharedRef([RESPONSE, id, { code, message, hint }, null])
  }
}

function parse(value: unknown): Incoming {
  if (!Array.isArray(value)) throw new PartylineError('usage.invalid-request', 'not a MessagePack-RPC message')
  const [type, second, third, fourth] = value as unknown[]
  if (type === NOTIFICATION && value.length === 3 && typeof second === 'string')
    return { kind: 'notification', method: second, params: unwrap(third) }
  if (
    value.length !== 4 ||
    (typeof second !== 'number' && typeof second !== 'string' && !(type === RESPONSE && second === null))
  )
    throw new PartylineError('usage.invalid-request', 'not a MessagePack-RPC message')
  if (type === REQUEST && typeof third === 'string')
    return { kind: 'request', id: second, method: third, params: unwrap(fourth) }
  if (type !== RESPONSE) throw new PartylineError('usage.invalid-request', 'not a MessagePack-RPC message')
  if (third === null || third === undefined) return { kind: 'result', id: second, result: fourth }
  const { code, message, hint } = third as { code?: unknown; message?: unknown; hint?: unknown }
  return {
    kind: 'error',
    id: second,
    code: isErrorCode(code) ? code : 'local.internal',
    message: String(message),
    hint: String(hint ?? ''),
  }
}

/** MessagePack-RPC's params are an array; ours is one map, which may come bare or as the only element. */
function unwrap(params: unknown): unknown {
  if (!Array.isArray(params)) return params
  return params.length === 0 ? {} : params[0]
}
