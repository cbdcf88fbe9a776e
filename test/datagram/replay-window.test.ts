import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { ReplayWindow } from '../../daemon/replay-window.ts'

describe('the replay window', () => {
  test('lets no number pass twice, in whichever order they come', () => {
    fc.assert(
      fc.property(fc.array(fc.nat({ max: 5000 }), { minLength: 1 }), ([first = 0, ...rest]) => {
        const window = new ReplayWindow(first)
        const passed = new Set([first])
        for (const number of rest) {
          const accepted = window.accept(number)
          expect(accepted && passed.has(number)).toBe(false)
          if (accepted) passed.add(number)
        }
      }),
    )
  })

  test('lets every number pass once that is less than 1,024 behind the newest', () => {
    fc.assert(
      fc.property(fc.uniqueArray(fc.nat({ max: 1000 }), { minLength: 1 }), ([first = 0, ...rest]) => {
        const window = new ReplayWindow(first)
        for (const number of rest) expect(window.accept(number)).toBe(true)
      }),
    )
  })

  test('refuses what is too old to tell, after a leap of any size', () => {
    const window = new ReplayWindow(5)
    expect(window.accept(Number.MAX_SAFE_INTEGER)).toBe(true)
    expect(window.accept(6)).toBe(false)
    expect(window.accept(Number.MAX_SAFE_INTEGER)).toBe(false)
    expect(window.accept(Number.MAX_SAFE_INTEGER - 1)).toBe(true)
  })
})
