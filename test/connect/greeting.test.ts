import { PassThrough } from 'node:stream'
import { encode } from '@msgpack/msgpack'
import {
  array,
  assert,
  base64String,
  boolean,
  constant,
  constantFrom,
  integer,
  oneof,
  property,
  record,
  string,
  uint8Array,
} from 'fast-check'
import { describe, expect, test } from 'vitest'
import {
  decodeGreeting,
  encodeGreeting,
  type Greeting,
  MAX_GREETING,
  readGreeting,
} from '../../daemon/connect/greeting.ts'
import { PartylineError } from '../../daemon/errors.ts'

const instance = string({ unit: constantFrom(...'0123456789abcdef'), minLength: 16, maxLength: 16 })
const number = integer({ min: 0 })
const port = integer({ min: 0, max: 65535 })
const id = string({ minLength: 1, maxLength: 64 })

const greetings = oneof(
  record({
    kind: constant('session' as const),
    instance,
    name: string({ maxLength: 63 }),
    port,
    group: constantFrom('X25519MLKEM768', 'X25519', ''),
    proposal: number,
    of: oneof(instance, constant('' as const)),
    seen: number,
    joined: number,
    open: array(number, { maxLength: 64 }),
    holds: oneof(id, constant('' as const)),
    moves: boolean(),
  }),
  record({
    kind: constant('session' as const),
    instance,
    name: string({ maxLength: 63 }),
    port,
    group: constant('X25519MLKEM768'),
    proposal: number,
    of: instance,
    seen: number,
    joined: number,
    open: array(number, { maxLength: 8 }),
    holds: constant('' as const),
    moves: boolean(),
    invite: record({ id: string({ maxLength: 16 }), proof: base64String({ maxLength: 64 }) }),
  }),
  record({ kind: constant('select' as const), session: id, resumed: boolean(), choice: number }),
  record({ kind: constant('resume' as const), received: number }),
  record({ kind: constant('reject' as const), code: string({ maxLength: 64 }) }),
  record({ kind: constant('stream' as const), session: id, stream: id }),
  record({
    kind: constant('stream' as const),
    session: id,
    stream: id,
    again: record({ link: number, received: number }),
  }),
  record({ kind: constant('probe' as const), name: string({ maxLength: 63 }), port }),
)

function framed(body: Uint8Array): Buffer {
  const header = Buffer.alloc(2)
  header.writeUInt16BE(body.length)
  return Buffer.concat([header, body])
}

describe('a greeting', () => {
  test('comes back as it was sent, whatever follows it', () => {
    assert(
      property(greetings, uint8Array(), (greeting, after) => {
        const bytes = encodeGreeting(greeting)
        expect(decodeGreeting(Buffer.concat([bytes, after]))).toEqual({ greeting, length: bytes.length })
      }),
    )
  })

  test('is waited for while it is not all there', () => {
    assert(
      property(greetings, integer({ min: 1 }), (greeting, cut) => {
        const bytes = encodeGreeting(greeting)
        expect(decodeGreeting(bytes.subarray(0, bytes.length - 1 - (cut % bytes.length)))).toBeUndefined()
      }),
    )
  })

  test('made of any bytes is refused by its code, and by nothing else', () => {
    assert(
      property(uint8Array({ maxLength: 2000 }), (body) => {
        for (const bytes of [Buffer.from(body), framed(body.subarray(0, MAX_GREETING))]) {
          try {
            decodeGreeting(bytes)
          } catch (error) {
            expect(error).toBeInstanceOf(PartylineError)
            expect(['peer.malformed', 'peer.oversized']).toContain((error as PartylineError).code)
          }
        }
      }),
      { numRuns: 500 },
    )
  })

  test.each([
    ['a number', 7],
    ['no kind', { session: 'x' }],
    ['an unknown kind', { kind: 'hug' }],
    ['an empty session', { kind: 'select', session: '', resumed: false, choice: 1 }],
    ['a long session', { kind: 'select', session: 'x'.repeat(65), resumed: false, choice: 1 }],
    ['a port beyond the range', { kind: 'probe', name: '', port: 65536 }],
    ['bytes for a name', { kind: 'probe', name: new Uint8Array(3), port: 1 }],
  ])('with %s is malformed', (_what, value) => {
    expect(() => decodeGreeting(framed(encode(value)))).toThrowError(
      expect.objectContaining({ code: 'peer.malformed' }),
    )
  })

  test('that announces more than its limit is refused before it is there', () => {
    expect(() => decodeGreeting(Buffer.from([0xff, 0xff]))).toThrowError(
      expect.objectContaining({ code: 'peer.oversized' }),
    )
  })
})

describe('reading greetings off a link', () => {
  const first: Greeting = { kind: 'select', session: 'one', resumed: false, choice: 1 }
  const second: Greeting = { kind: 'reject', code: 'duplicate' }

  test('leaves what follows in the socket, further greetings included', async () => {
    const socket = new PassThrough()
    socket.write(Buffer.concat([encodeGreeting(first), encodeGreeting(second), Buffer.from('session')]))
    expect(await readGreeting(socket)).toEqual(first)
    expect(await readGreeting(socket)).toEqual(second)
    expect(String(socket.read())).toBe('session')
  })

  test('bears one byte at a time without asking the socket again and again', async () => {
    const socket = new PassThrough()
    let reads = 0
    const read = socket.read.bind(socket)
    socket.read = (size) => {
      reads++
      return read(size)
    }
    const reading = readGreeting(socket)
    const bytes = encodeGreeting(first)
    for (const byte of bytes) {
      socket.write(Buffer.from([byte]))
      await new Promise((resolve) => setImmediate(resolve))
    }
    expect(await reading).toEqual(first)
    expect(reads).toBeLessThan(4 * bytes.length)
  })

  test.each([
    ['ended', (socket: PassThrough) => void socket.end()],
    ['destroyed', (socket: PassThrough) => void socket.destroy()],
  ])('rejects with network.lost when the link is %s first', async (_how, cut) => {
    const socket = new PassThrough()
    socket.write(encodeGreeting(first).subarray(0, 5))
    const reading = readGreeting(socket)
    cut(socket)
    await expect(reading).rejects.toMatchObject({ code: 'network.lost' })
    await expect(readGreeting(socket)).rejects.toMatchObject({ code: 'network.lost' })
  })
})
