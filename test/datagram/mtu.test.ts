import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { MtuSearch } from '../../daemon/datagram/mtu.ts'

/** Searches on a path that carries `mtu`; returns how many probes that took. */
function search(search: MtuSearch, mtu: number, now = 0): number {
  let probes = 0
  for (let time = now; search.deadline < now + 500_000; time = Math.max(time, search.deadline)) {
    const size = search.due(time)
    if (size === undefined) continue
    probes++
    if (size <= mtu) search.acknowledged(size, time)
  }
  return probes
}

describe('the search for the path MTU', () => {
  test('takes one probe where the path carries what the interface does', () => {
    for (const max of [1452, 1472, 8972]) {
      const mtu = new MtuSearch(max, 0)
      expect(mtu.size).toBe(1200)
      expect(search(mtu, max)).toBe(1)
      expect(mtu.size).toBe(max)
    }
  })

  test('comes close to any other size, and never above it', () => {
    fc.assert(
      fc.property(fc.integer({ min: 1200, max: 9000 }), fc.integer({ min: 1200, max: 9000 }), (max, path) => {
        const mtu = new MtuSearch(max, 0)
        const probes = search(mtu, path)
        const best = Math.min(max, path)
        expect(mtu.size).toBeLessThanOrEqual(best)
        expect(mtu.size).toBeGreaterThanOrEqual(best - 16)
        expect(probes).toBeLessThan(50)
      }),
    )
  })

  test('finds the sizes of common links exactly', () => {
    for (const size of [1232, 1392, 1452, 1464, 1472]) {
      const mtu = new MtuSearch(8972, 0)
      search(mtu, size)
      expect(mtu.size).toBe(size)
    }
  })

  test('tries a size three times, a second apart, before it counts as too large', () => {
    const mtu = new MtuSearch(1472, 0)
    const probes: [number, number][] = []
    for (let now = 0; now < 3500; now += 100) {
      const size = mtu.due(now)
      if (size) probes.push([now, size])
    }
    expect(probes.slice(0, 4)).toEqual([
      [0, 1472],
      [1000, 1472],
      [2000, 1472],
      [3000, expect.toSatisfy((size: number) => size < 1472)],
    ])
  })

  test('raises again after a while, from where it stands', () => {
    const mtu = new MtuSearch(1472, 0)
    search(mtu, 1392)
    expect(mtu.size).toBe(1392)
    const raise = mtu.deadline
    expect(mtu.due(raise - 1)).toBeUndefined()
    expect(search(mtu, 1472, raise)).toBe(1)
    expect(mtu.size).toBe(1472)
  })

  test('falls back to the base in a black hole, and searches again', () => {
    const mtu = new MtuSearch(1472, 0)
    search(mtu, 1472)
    mtu.blackHole(5000)
    expect(mtu.size).toBe(1200)
    search(mtu, 1300, 5000)
    expect(mtu.size).toBeGreaterThanOrEqual(1284)
    expect(mtu.size).toBeLessThanOrEqual(1300)
  })

  test('does not try again what the system refused as too large', () => {
    const mtu = new MtuSearch(1472, 0)
    expect(mtu.due(0)).toBe(1472)
    mtu.tooLarge(0)
    expect(mtu.due(0)).toBeLessThan(1472)
    search(mtu, 1472)
    const found = mtu.size
    mtu.tooLarge(9000, found)
    expect(mtu.size).toBe(1200)
    mtu.tooLarge(9000, 1200)
    expect(mtu.size).toBe(548)
    search(mtu, 1100, 9000)
    expect(mtu.size).toBeGreaterThan(1080)
  })

  test('believes no acknowledgement of what was not sent', () => {
    const mtu = new MtuSearch(1472, 0)
    mtu.acknowledged(1472, 0)
    mtu.due(0)
    mtu.acknowledged(9000, 0)
    mtu.acknowledged(1300, 0)
    expect(mtu.size).toBe(1200)
  })

  test('begins below the base where the interface is narrower, and goes no lower than any network', () => {
    expect(new MtuSearch(1000, 0).size).toBe(1000)
    expect(new MtuSearch(100, 0).size).toBe(548)
  })
})
