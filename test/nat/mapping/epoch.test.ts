import { assert, integer, property } from 'fast-check'
import { describe, expect, test } from 'vitest'
import { Epoch } from '../../../daemon/nat/mapping/epoch.ts'

const SECOND = 1000

/** Whether a router seems to have begun anew that said one epoch, and another so many seconds later. */
function seems(first: number, second: number, later: number): boolean {
  const epoch = new Epoch()
  expect(epoch.take(first, 0)).toBe(false)
  return epoch.take(second, later * SECOND)
}

describe('an epoch (RFC 6887 section 8.5)', () => {
  test('that goes on with time is the same', () => {
    expect(seems(500, 1500, 1000)).toBe(false)
    expect(seems(500, 500, 0)).toBe(false)
  })

  test('that runs back by a second is the same: answers overtake each other', () => {
    expect(seems(500, 499, 0)).toBe(false)
    expect(seems(500, 498, 0)).toBe(true)
  })

  test('may go a sixteenth and two seconds too fast or too slow', () => {
    expect(seems(0, 1068, 1000)).toBe(false)
    expect(seems(0, 1069, 1000)).toBe(true)
    expect(seems(0, 936, 1000)).toBe(false)
    expect(seems(0, 935, 1000)).toBe(true)
  })

  test('of a router that counts on after a restart betrays it by what it has missed', () => {
    expect(seems(1_000_000, 1_000_060, 3600)).toBe(true)
  })

  test('after a restart is the measure of what follows', () => {
    const epoch = new Epoch()
    epoch.take(1000, 0)
    expect(epoch.take(3, 10 * SECOND)).toBe(true)
    expect(epoch.take(13, 20 * SECOND)).toBe(false)
  })

  test('of a router that has never begun is the same, however long it runs', () => {
    assert(
      property(integer({ min: 0, max: 1e9 }), integer({ min: 0, max: 1e7 }), (first, later) => {
        expect(seems(first, first + later, later)).toBe(false)
      }),
    )
  })

  test('that began since is another, where it had counted for longer than that', () => {
    assert(
      property(integer({ min: 2, max: 1e9 }), integer({ min: 0, max: 1e9 }), (first, since) => {
        expect(seems(first, Math.min(since, first - 2), since)).toBe(true)
      }),
    )
  })
})
