import { decode, encode } from '@msgpack/msgpack'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import type { Codec, Incoming } from '../../ipc/codec.ts'
import { JsonLines } from '../../ipc/json-lines.ts'
import { MessagePackRpc } from '../../ipc/messagepack.ts'
import { MessagePackScanner } from '../../ipc/messagepack-scanner.ts'
import { MAX_REQUEST } from '../../ipc/methods.ts'

const CODECS: [string, (limit?: number) => Codec][] = [
  ['JSON lines', (limit) => new JsonLines(limit)],
  ['MessagePack', (limit) => new MessagePackRpc(limit)],
]
const REFUSALS = ['usage.malformed', 'usage.invalid-request', 'usage.oversized']

function readAll(codec: Codec): Incoming[] {
  const messages: Incoming[] = []
  for (let message = codec.next(); message; message = codec.next()) messages.push(message)
  return messages
}

/** Cuts bytes into pieces of these lengths, over and over. */
function* pieces(bytes: Buffer, lengths: readonly number[]): Generator<Buffer> {
  for (let at = 0, i = 0; at < bytes.length; i++) {
    const length = lengths[i % lengths.length] ?? 1
    yield bytes.subarray(at, at + length)
    at += length
  }
}

const params = fc.dictionary(
  fc.string({ maxLength: 8 }).filter((key) => key !== '__proto__'),
  fc.oneof(
    fc.string({ unit: 'grapheme' }),
    fc.integer(),
    fc.boolean(),
    fc.constant(null),
    fc.array(fc.integer(), { maxLength: 40 }),
  ),
)
const lengths = fc.array(fc.integer({ min: 1, max: 50 }), { minLength: 1, maxLength: 5 })

describe.each(CODECS)('%s', (_, make) => {
  test('reads back what it wrote, however it is cut', () => {
    const calls = fc.array(fc.record({ id: fc.nat(), method: fc.string({ unit: 'grapheme' }), params }), {
      maxLength: 8,
    })
    fc.assert(
      fc.property(calls, lengths, (sent, cuts) => {
        const writer = make()
        const codec = make()
        const bytes = Buffer.concat(
          sent.map(({ id, method, params }) => Buffer.from(writer.request(id, method, params))),
        )
        const read: Incoming[] = []
        for (const piece of pieces(bytes, cuts)) {
          codec.append(Buffer.from(piece))
          read.push(...readAll(codec))
        }
        expect(read).toEqual(sent.map((call) => ({ kind: 'request', ...call, params: { ...call.params } })))
        expect(codec.waiting).toBe(0)
      }),
    )
  })

  test('reads back answers, errors and notifications', () => {
    const writer = make()
    const codec = make()
    const error = new PartylineError('peer.not-found', 'no such peer', { hint: 'look again' })
    for (const write of [
      () => writer.result(7, { a: 1 }),
      () => writer.error(8, error),
      () => writer.error(null, error),
      () => writer.notification('peers.gone', { seq: 3 }),
    ])
      codec.append(Buffer.from(write()))
    const failed = { kind: 'error', code: 'peer.not-found', message: 'no such peer', hint: 'look again' }
    expect(readAll(codec)).toEqual([
      { kind: 'result', id: 7, result: { a: 1 } },
      { ...failed, id: 8 },
      { ...failed, id: null },
      { kind: 'notification', method: 'peers.gone', params: { seq: 3 } },
    ])
  })

  test('refuses arbitrary bytes with a declared code, or waits for more', () => {
    const first = fc.constantFrom(0x7b, 0x93, 0x94, 0x20)
    fc.assert(
      fc.property(first, fc.uint8Array({ maxLength: 200 }), lengths, (begin, bytes, cuts) => {
        const codec = make(100)
        try {
          for (const piece of pieces(Buffer.concat([Buffer.of(begin), bytes]), cuts)) {
            codec.append(Buffer.from(piece))
            readAll(codec)
          }
          codec.end()
          readAll(codec)
        } catch (error) {
          expect(REFUSALS).toContain((error as PartylineError).code)
        }
      }),
      { numRuns: 1000 },
    )
  })

  test('takes a message of the limit, and refuses a longer one before it is all there', () => {
    const writer = make()
    const overhead = writer.request(1, 'm', { data: 'x'.repeat(100_000) }).length - 100_000
    const longest = Buffer.from(writer.request(1, 'm', { data: 'x'.repeat(MAX_REQUEST - overhead) }))
    const codec = make()
    codec.append(longest)
    expect(codec.next()).toMatchObject({ kind: 'request', method: 'm' })

    codec.append(
      Buffer.from(writer.request(1, 'm', { data: 'x'.repeat(2 * MAX_REQUEST) })).subarray(0, MAX_REQUEST + 2),
    )
    expect(() => codec.next()).toThrow(expect.objectContaining({ code: 'usage.oversized' }))
  })

  // Were every byte looked at again each time, this would take hours: 2^39 bytes.
  test('takes a message of 1 MB byte by byte', () => {
    const bytes = Buffer.from(make().request(1, 'm', { data: 'x'.repeat(1_000_000) }))
    const codec = make()
    const read: Incoming[] = []
    for (let at = 0; at < bytes.length; at++) {
      codec.append(bytes.subarray(at, at + 1))
      read.push(...readAll(codec))
    }
    expect(read.length).toBe(1)
    const [message] = read
    expect(message?.kind === 'request' && (message.params as { data: string }).data.length).toBe(1_000_000)
  })

  test('hands over what lies behind a message', () => {
    const codec = make()
    codec.append(Buffer.concat([Buffer.from(codec.request(1, 'streams.open', {})), Buffer.from('{\x94 raw')]))
    codec.next()
    expect(codec.takeRest().toString()).toBe('{\x94 raw')
    expect(codec.waiting).toBe(0)
  })
})

describe('JSON lines', () => {
  const read = (text: string | Buffer): Incoming | undefined => {
    const codec = new JsonLines()
    codec.append(Buffer.from(text as string))
    return codec.next()
  }

  test('skips empty lines and white space, and takes CRLF', () => {
    expect(read('\n  \r\n {"id":1,"method":"a"} \r\n')).toMatchObject({ kind: 'request', id: 1, method: 'a' })
  })

  test('takes names as ids, and a call without one as a notification', () => {
    expect(read('{"id":"x","method":"a"}\n')).toMatchObject({ kind: 'request', id: 'x' })
    expect(read('{"method":"a"}\n')).toMatchObject({ kind: 'notification' })
  })

  test.each([
    ['usage.malformed', '{"id":1\n'],
    ['usage.malformed', Buffer.from([0x7b, 0xff, 0x0a])],
    ['usage.invalid-request', '[{"id":1,"method":"a"}]\n'],
    ['usage.invalid-request', '{"id":{},"method":"a"}\n'],
    ['usage.invalid-request', '{"id":1,"method":5}\n'],
    ['usage.invalid-request', '1\n'],
  ])('refuses with %s: %s', (code, text) => {
    expect(() => read(text)).toThrow(expect.objectContaining({ code }))
  })

  test.each([
    ['usage.malformed', -32700],
    ['usage.invalid-request', -32600],
    ['usage.unknown-method', -32601],
    ['usage.invalid-argument', -32602],
    ['local.internal', -32603],
    ['peer.not-found', -32000],
  ] as const)('tells %s as %i, with the stable code beside it', (code, number) => {
    const { error } = JSON.parse(new JsonLines().error(1, new PartylineError(code)))
    expect(error).toMatchObject({ code: number, data: { code } })
  })

  test('sends bytes as base64', () => {
    const sent = JSON.parse(new JsonLines().request(1, 'm', { data: Buffer.of(0, 255), peer: 'anna' }))
    expect(sent.params).toEqual({ data: { base64: 'AP8=' }, peer: 'anna' })
  })

  test('takes a last line that nothing ends', () => {
    const codec = new JsonLines()
    codec.append(Buffer.from('{"id":1,"method":"a"}'))
    expect(codec.next()).toBeUndefined()
    codec.end()
    expect(codec.next()).toMatchObject({ id: 1 })
  })
})

describe('MessagePack', () => {
  const read = (value: unknown): Incoming | undefined => {
    const codec = new MessagePackRpc()
    codec.append(Buffer.from(encode(value)))
    return codec.next()
  }

  test('takes params as a map, as an array of one map, and as an empty array', () => {
    expect(read([0, 1, 'a', { x: 1 }])).toMatchObject({ params: { x: 1 } })
    expect(read([0, 1, 'a', [{ x: 1 }]])).toMatchObject({ params: { x: 1 } })
    expect(read([2, 'a', []])).toMatchObject({ kind: 'notification', params: {} })
  })

  test('carries bytes as they are', () => {
    expect(read([0, 1, 'a', { data: Buffer.of(0, 255) }])).toMatchObject({ params: { data: Buffer.of(0, 255) } })
  })

  test.each([[[3, 1, 'a', {}]], [[0, {}, 'a', {}]], [[0, 1, 5, {}]], [[0, 1, 'a']], [{ id: 1 }]])(
    'refuses what is no MessagePack-RPC: %j',
    (value) => {
      expect(() => read(value)).toThrow(expect.objectContaining({ code: 'usage.invalid-request' }))
    },
  )

  test('refuses half a message at the end', () => {
    const codec = new MessagePackRpc()
    codec.append(Buffer.from([0x94, 0x00]))
    expect(codec.next()).toBeUndefined()
    expect(() => codec.end()).toThrow(expect.objectContaining({ code: 'usage.malformed' }))
  })

  test('survives a message nested as deeply as it can be', () => {
    const codec = new MessagePackRpc()
    const deep = Buffer.concat([
      Buffer.from([0x94, 0, 1, 0xa1, 0x61]),
      Buffer.alloc(MAX_REQUEST - 6, 0x91),
      Buffer.of(0xc0),
    ])
    codec.append(deep)
    expect(codec.next()).toMatchObject({ kind: 'request', method: 'a' })
  })
})

describe('the scanner', () => {
  const value = fc.letrec((tie) => ({
    any: fc.oneof(
      { depthSize: 'small' },
      fc.string({ maxLength: 300 }),
      fc.integer(),
      fc.double(),
      fc.boolean(),
      fc.constant(null),
      fc.uint8Array({ maxLength: 300 }),
      fc.array(tie('any'), { maxLength: 20 }),
      fc.dictionary(fc.string({ maxLength: 5 }), tie('any'), { maxKeys: 20 }),
    ),
  })).any

  test('finds the end of every value the library writes, and not before it is there', () => {
    fc.assert(
      fc.property(value, fc.uint8Array({ maxLength: 5 }), (written, behind) => {
        const bytes = Buffer.from(encode(written))
        const scanner = new MessagePackScanner()
        for (let length = 0; length < bytes.length; length++)
          expect(scanner.scan(bytes.subarray(0, length))).toBeUndefined()
        expect(scanner.scan(Buffer.concat([bytes, behind]))).toBe(bytes.length)
      }),
    )
  })

  test('agrees with the library about arbitrary bytes', () => {
    fc.assert(
      fc.property(fc.uint8Array({ minLength: 1, maxLength: 60 }), (bytes) => {
        const length = new MessagePackScanner().scan(Buffer.from(bytes))
        // The library says "insufficient data" by a RangeError, and everything else by other errors.
        if (length === undefined) {
          expect(attempt(bytes)).not.toBe('whole')
          return
        }
        expect(attempt(bytes.subarray(0, length))).not.toBe('short')
        expect(attempt(bytes.subarray(0, length - 1))).not.toBe('whole')
      }),
      { numRuns: 5000 },
    )
  })

  function attempt(bytes: Uint8Array): 'whole' | 'short' | 'refused' {
    try {
      decode(bytes)
      return 'whole'
    } catch (error) {
      return error instanceof RangeError ? 'short' : 'refused'
    }
  }
})
