import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MAX_DATAGRAM_MESSAGE, Reassembly } from '../../daemon/datagram/fragments.ts'
import type { Fragment } from '../../daemon/datagram/frames.ts'
import { seeded, seededBytes } from './random.ts'

function cut(message: number, bytes: Buffer, size: number): Fragment[] {
  return Array.from({ length: Math.ceil(bytes.length / size) }, (_, index) => {
    const data = bytes.subarray(index * size, (index + 1) * size)
    return { message, length: bytes.length, size, index, data }
  })
}

function shuffle<T>(list: T[], random: () => number): T[] {
  return list
    .map((value) => ({ value, order: random() }))
    .sort((a, b) => a.order - b.order)
    .map(({ value }) => value)
}

describe('fragments', () => {
  test('become their messages again, each once, in whichever order and however often they come', () => {
    fc.assert(
      fc.property(fc.integer(), (seed) => {
        const random = seeded(seed)
        const messages = Array.from({ length: 5 }, () => seededBytes(random)(1 + Math.floor(random() * 5000)))
        const pieces = messages.flatMap((bytes, i) => cut(i, bytes, 256 + Math.floor(random() * 1000)))
        const reassembly = new Reassembly()
        const got = new Map<number, Buffer>()
        for (const piece of shuffle([...pieces, ...pieces], random)) {
          const whole = reassembly.add(piece, 0)
          if (whole === undefined) continue
          expect(got.has(piece.message)).toBe(false)
          got.set(piece.message, whole as Buffer)
        }
        for (const [i, bytes] of messages.entries()) expect(got.get(i)).toEqual(bytes)
        expect([reassembly.bytes, reassembly.messages]).toEqual([0, 0])
      }),
    )
  })

  test('never hold more than the bound, whatever is announced', () => {
    const number = fc.nat({ max: 70_000 })
    const fragment = fc.record({
      message: fc.nat({ max: 200 }),
      length: fc.oneof(number, fc.nat({ max: 2 ** 32 - 1 })),
      size: fc.oneof(number, fc.constantFrom(0, 255, 256, 1152)),
      index: fc.nat({ max: 65_535 }),
      data: fc.oneof(fc.constant(Buffer.alloc(256)), fc.constant(Buffer.alloc(1152)), fc.constant(Buffer.alloc(0))),
    })
    fc.assert(
      fc.property(fc.array(fragment, { maxLength: 60 }), (fragments) => {
        const reassembly = new Reassembly({ bytes: 100_000, messages: 4, age: 1000 })
        for (const [now, one] of fragments.entries()) {
          reassembly.add(one, now)
          expect(reassembly.bytes).toBeLessThanOrEqual(100_000)
          expect(reassembly.messages).toBeLessThanOrEqual(4)
        }
      }),
    )
  })

  test('of a message that is too long, empty, or in too small pieces are malformed', () => {
    const reassembly = new Reassembly()
    const data = Buffer.alloc(1000)
    const good = { message: 0, length: MAX_DATAGRAM_MESSAGE, size: 1000, index: 0, data }
    for (const bad of [
      { ...good, length: MAX_DATAGRAM_MESSAGE + 1 },
      { ...good, length: 0 },
      { ...good, size: 255, data: Buffer.alloc(255) },
      { ...good, index: 525 },
      { ...good, data: Buffer.alloc(999) },
      { ...good, size: 0 },
    ])
      expect(reassembly.add(bad, 0)).toBe('malformed')
    expect(reassembly.bytes).toBe(0)
    expect(reassembly.add(good, 0)).toBeUndefined()
    expect(reassembly.add({ ...good, length: 5000, index: 1 }, 0)).toBe('malformed')
  })

  test('of the oldest message give way where there is no room, and never push out a newer one', () => {
    const reassembly = new Reassembly({ bytes: 1_000_000, messages: 2, age: 1000 })
    const all = [1, 2, 3].map((message) => cut(message, Buffer.alloc(600, message), 300))
    const add = (message: number, index: number) => reassembly.add(all[message - 1]?.[index] as Fragment, 0)
    add(2, 0)
    add(3, 0)
    expect(add(1, 0)).toBeUndefined()
    expect(add(3, 1)).toEqual(Buffer.alloc(600, 3))
    add(1, 0)
    expect(add(2, 1)).toEqual(Buffer.alloc(600, 2))
  })

  test('are given up after a while, and what comes later of them is ignored', () => {
    const reassembly = new Reassembly({ bytes: 1_000_000, messages: 2, age: 1000 })
    const [first, second] = cut(1, Buffer.alloc(600), 300) as [Fragment, Fragment]
    expect(reassembly.deadline).toBe(Number.POSITIVE_INFINITY)
    reassembly.add(first, 500)
    expect(reassembly.deadline).toBe(1500)
    reassembly.expire(1499)
    expect(reassembly.messages).toBe(1)
    reassembly.expire(1500)
    expect([reassembly.bytes, reassembly.messages]).toEqual([0, 0])
    reassembly.add(first, 1600)
    expect(reassembly.add(second, 1600)).toBeUndefined()
    expect(reassembly.messages).toBe(0)
  })
})
