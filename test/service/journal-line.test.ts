import { closeSync, fstatSync, openSync } from 'node:fs'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { formatJournalLine, isJournal } from '../../daemon/service/journal-line.ts'

/** Strings full of what begins lines and moves cursors. */
const hostile = fc.string({
  unit: fc.constantFrom('a', ' ', '\n', '\r', '\u0085', '\u009b', '\u007f', '\u001b', '<0>', '=', '"'),
})

describe('a line for the journal', () => {
  test.each([
    ['error', 3],
    ['warn', 4],
    ['info', 6],
    ['debug', 7],
  ] as const)('of level %s has priority %i', (level, priority) =>
    expect(
      formatJournalLine({ level, part: 'nat', message: 'a path was chosen', facts: { route: 'punched', rtt: 12 } }),
    ).toBe(`<${priority}>nat: a path was chosen route=punched rtt=12`),
  )

  test('quotes what has spaces, and keeps its kind', () => {
    const facts = {
      name: 'den pc',
      empty: '',
      equal: 'a=b',
      quote: 'say "x"',
      list: [1, 'b c'],
      none: undefined,
      yes: true,
    }
    expect(formatJournalLine({ level: 'info', part: 'x', message: 'm', facts })).toBe(
      '<6>x: m name="den pc" empty="" equal="a=b" quote="say \\"x\\"" list=[1,"b c"] none=null yes=true',
    )
  })

  test('is one line, with nothing that a terminal obeys, whatever a peer calls itself', () =>
    fc.assert(
      fc.property(hostile, hostile, (message, name) => {
        const line = formatJournalLine({ level: 'info', part: 'peers', message, facts: { name, nested: { name } } })
        expect(line).not.toMatch(/\p{Cc}/u)
        expect(line).toMatch(/^<6>peers: /)
      }),
    ))

  test('is written where JOURNAL_STREAM names the stream, not where it was redirected', () => {
    const file = openSync(import.meta.filename, 'r')
    const { dev, ino } = fstatSync(file, { bigint: true })
    expect(isJournal(`${dev}:${ino}`, file)).toBe(true)
    expect(isJournal(`${dev}:${ino + 1n}`, file)).toBe(false)
    expect(isJournal(undefined, file)).toBe(false)
    closeSync(file)
    expect(isJournal(`${dev}:${ino}`, file)).toBe(false)
  })
})
