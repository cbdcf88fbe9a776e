import fc from 'fast-check'
import { describe, expect, it } from 'vitest'
import { PartylineError } from '../../daemon/errors.ts'
import {
  type Control,
  decodeControl,
  encodeControl,
  type Frame,
  FrameReader,
  FrameWriter,
  HEADER,
  MAX_PAYLOAD,
} from '../../daemon/session/frame.ts'

const byte = fc.integer({ min: 0, max: 255 })
const frame = fc.record({ type: byte, flags: byte, lane: byte, payload: fc.uint8Array({ maxLength: 300 }) })

function bytesOf(frames: readonly { type: number; flags: number; lane: number; payload: Uint8Array }[]): Buffer {
  const writer = new FrameWriter()
  for (const { type, flags, lane, payload } of frames) {
    const at = writer.frame(type, flags, lane, payload.length)
    writer.buffer.set(payload, at)
  }
  return writer.take()
}

/** Cuts bytes at these places (taken modulo what is left). */
function chunksOf(bytes: Buffer, cuts: readonly number[]): Buffer[] {
  const chunks: Buffer[] = []
  let rest = bytes
  for (const cut of cuts) {
    chunks.push(rest.subarray(0, cut % (rest.length + 1)))
    rest = rest.subarray(cut % (rest.length + 1))
  }
  return [...chunks, rest]
}

function framesOf(chunks: readonly Buffer[]): object[] {
  const reader = new FrameReader()
  const frames: object[] = []
  for (const chunk of chunks)
    reader.push(chunk, ({ type, flags, lane, payload }: Frame) => {
      frames.push({ type, flags, lane, payload: new Uint8Array(payload) })
    })
  return frames
}

describe('FrameReader', () => {
  it('gives the frames that were written, however their bytes are cut', () => {
    fc.assert(
      fc.property(fc.array(frame, { maxLength: 8 }), fc.array(fc.nat(600), { maxLength: 20 }), (frames, cuts) => {
        expect(framesOf(chunksOf(bytesOf(frames), cuts))).toEqual(frames)
      }),
    )
  })

  it('gives the largest frame that comes byte by byte', () => {
    const frames = [{ type: 1, flags: 0, lane: 0, payload: new Uint8Array(MAX_PAYLOAD).fill(5) }]
    const bytes = bytesOf(frames)
    expect(framesOf(Array.from(bytes, (_, at) => bytes.subarray(at, at + 1)))).toEqual(frames)
  })

  it('refuses a frame that is too long as soon as its header is there', () => {
    const header = Buffer.alloc(HEADER)
    header.writeUInt32BE(MAX_PAYLOAD + 1, 4)
    expect(() => framesOf([header])).toThrow(expect.objectContaining({ code: 'peer.oversized' }))
    expect(() => framesOf([header.subarray(0, 5), header.subarray(5)])).toThrow(
      expect.objectContaining({ code: 'peer.oversized' }),
    )
  })

  it('never throws anything but a refusal, whatever the bytes', () => {
    fc.assert(
      fc.property(fc.array(fc.uint8Array({ maxLength: 64 }), { maxLength: 10 }), (chunks) => {
        try {
          framesOf(chunks.map((chunk) => Buffer.from(chunk)))
        } catch (error) {
          expect(error).toBeInstanceOf(PartylineError)
        }
      }),
    )
  })
})

describe('FrameWriter', () => {
  it('leaves alone what it handed out', () => {
    const writer = new FrameWriter()
    const fill = (value: number, length: number): void => {
      const at = writer.frame(value, 0, 0, length)
      writer.buffer.fill(value, at, at + length)
    }
    for (const length of [4, 6000]) {
      fill(1, length)
      const first = writer.take()
      const before = Buffer.from(first)
      for (let i = 0; i < 100; i++) fill(2, 3000)
      expect(writer.take().length).toBe(100 * (HEADER + 3000))
      expect(first).toEqual(before)
      expect(writer.length).toBe(0)
    }
  })

  it('gives a small batch a buffer of its own size, so that keeping it keeps nothing else', () => {
    const writer = new FrameWriter()
    writer.frame(1, 0, 0, 100)
    expect(writer.take().buffer.byteLength).toBeLessThanOrEqual(Buffer.poolSize)
  })
})

describe('control frames', () => {
  const stream = fc.string({ minLength: 1, maxLength: 32 })
  const code = fc.string({ maxLength: 64 })
  const control: fc.Arbitrary<Control> = fc.oneof(
    fc.record({
      kind: fc.constant('open' as const),
      stream,
      service: fc.string({ minLength: 1, maxLength: 128 }),
      meta: fc.string({ maxLength: 1024 }),
    }),
    fc.record({ kind: fc.constantFrom('fin' as const, 'have' as const), stream, bytes: fc.maxSafeNat() }),
    fc.record({ kind: fc.constant('relink' as const), stream, link: fc.integer({ min: 1, max: 0xffff_ffff }) }),
    fc.record({
      kind: fc.constant('datagram' as const),
      cid: fc.stringMatching(/^[0-9a-f]{16}$/),
      port: fc.integer({ min: 1, max: 65535 }),
    }),
    fc.record({ kind: fc.constantFrom('accept' as const, 'got' as const), stream }),
    fc.record({ kind: fc.constantFrom('refuse' as const, 'reset' as const), stream, code }),
    fc.record({ kind: fc.constant('close' as const), code, message: fc.string({ maxLength: 200 }) }),
  )

  it('come back as they were', () => {
    fc.assert(
      fc.property(control, (value) => {
        expect(decodeControl(encodeControl(value))).toEqual(value)
      }),
    )
  })

  it('are refused as malformed when they are anything else', () => {
    fc.assert(
      fc.property(fc.uint8Array({ maxLength: 200 }), (bytes) => {
        try {
          decodeControl(bytes)
        } catch (error) {
          expect(error).toMatchObject({ code: 'peer.malformed' })
        }
      }),
    )
    expect(() => decodeControl(new Uint8Array())).toThrow(expect.objectContaining({ code: 'peer.malformed' }))
  })
})
