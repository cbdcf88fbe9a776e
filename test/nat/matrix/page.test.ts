import { describe, expect, test } from 'vitest'
import { cellsNamed } from './cells.ts'
import { page } from './page.ts'
import { type Measured, merged, type Results, summary } from './results.ts'
import type { Attempt } from './subject.ts'

const measured = (cell: string, more: Partial<Measured> = {}): Measured => ({
  cell,
  subject: 'partyline',
  relay: true,
  route: 'punched',
  first: 'punched',
  ms: 200,
  runs: 3,
  reason: '',
  asExpected: true,
  ...more,
})
const results = (...all: readonly Measured[]): Results => ({
  at: '2026-11-23T12:00:00.000Z',
  roundTrip: 20,
  runs: 3,
  measured: all,
  gaps: [],
})

describe('the page of the matrix', () => {
  test('has a cell for every pair, and nothing below the diagonal', () => {
    const [row = ''] = page(results(measured('eim-eim'))).match(/^\| `eim` .*punched.*$/m) ?? []
    expect(
      row
        .split('|')
        .map((cell) => cell.trim())
        .filter((cell) => cell === 'punched'),
    ).toHaveLength(1)
  })

  test('tells times in ms, in round trips, and beside the other', () => {
    const text = page(results(measured('eim-eim'), measured('eim-eim', { subject: 'node-datachannel', ms: 300 })))
    expect(text).toMatch(/eim with eim +\| punched +\| 200 +\| 10\.0 +\| 300 +\| 1\.5/)
  })

  test('shows what is not as the theory has it, and what the user was told', () => {
    const text = page(
      results(
        measured('eim-eim', { route: 'relay', asExpected: false }),
        measured('sym-sym', { relay: false, route: 'failed', first: '', ms: 7000, reason: 'symmetric NAT' }),
      ),
    )
    expect(text).toContain('**relay**')
    expect(text).toContain('1 of 2 cells end as the theory has it')
    expect(text).toContain('- `sym-sym`; after 7.0 s: “symmetric NAT”')
  })
})

describe('results', () => {
  const up: Attempt = { connected: true, ms: 100, first: 'relay', last: 'punched' }
  const down: Attempt = { connected: false, ms: 9000, reason: 'no way' }
  const about = { cell: 'eim-eim', subject: 'partyline', relay: true }

  test('are medians of what connected; what failed is told beside it', () => {
    const attempts = [up, { ...up, ms: 300 }, { ...up, ms: 200 }, down]
    const found = summary(about, attempts, (attempt) => attempt.connected)
    expect(found).toMatchObject({
      ms: 200,
      route: 'punched, failed',
      first: 'relay',
      reason: 'no way',
      asExpected: false,
    })
    expect(summary(about, [down], () => true)).toMatchObject({ ms: 9000, route: 'failed', first: '', asExpected: true })
  })

  test('of a later run replace those of an earlier one, cell by cell', () => {
    const before = results(measured('eim-eim', { ms: 1 }), measured('sym-sym', { ms: 2 }))
    const after = merged(before, results(measured('eim-eim', { ms: 3 })))
    expect(after.measured.map(({ cell, ms }) => [cell, ms])).toEqual([
      ['eim-eim', 3],
      ['sym-sym', 2],
    ])
  })
})

test('cells are named one by one, or by a kind', () => {
  expect(cellsNamed(['ipv6', 'eim-sym']).map(({ id }) => id)).toEqual(['eim-sym', 'ipv6'])
  expect(cellsNamed(['web'])).toHaveLength(11)
  expect(() => cellsNamed(['nonsense'])).toThrow('nonsense')
})
