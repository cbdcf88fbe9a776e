import { posix, win32 } from 'node:path'
import fc from 'fast-check'
import { describe, expect, test } from 'vitest'
import { numberedName, PART_SUFFIX, safeComponent, safeComponents } from '../../ipc/files/safe-names.ts'

/** Strings that are after something. */
const hostile = fc.oneof(
  fc.string({ unit: 'binary', maxLength: 400 }),
  fc.string({ unit: 'grapheme', maxLength: 300 }),
  fc
    .array(
      fc.constantFrom(
        '..',
        '.',
        '/',
        '\\',
        'C:',
        'con',
        'NUL',
        '.txt',
        ' ',
        '\0',
        '\u202e',
        '\ud800',
        'a',
        PART_SUFFIX,
      ),
      { maxLength: 40 },
    )
    .map((pieces) => pieces.join('')),
)

describe('safe names', () => {
  test('stay inside the folder, on every system, whatever the peer calls its files', () => {
    fc.assert(
      fc.property(hostile, (path) => {
        const components = safeComponents(path)
        expect(components.length).toBeGreaterThan(0)
        for (const { root, base, join } of [
          { root: '/inbox', base: '/inbox/', join: posix.join },
          { root: 'C:\\inbox', base: 'C:\\inbox\\', join: win32.join },
        ])
          expect(join(root, ...components).startsWith(base)).toBe(true)
      }),
      { numRuns: 500 },
    )
  })

  test('are names every file system takes', () => {
    fc.assert(
      fc.property(hostile, (path) => {
        for (const name of safeComponents(path)) {
          expect(name).not.toMatch(/[<>:"|?*\\/]|\p{Cc}|[. ]$/u)
          expect(name).not.toMatch(/^(con|prn|aux|nul|com\d|lpt\d)(\.|$)/i)
          expect(name.isWellFormed()).toBe(true)
          expect(name.toLowerCase().endsWith(PART_SUFFIX)).toBe(false)
          expect(Buffer.byteLength(name)).toBeLessThanOrEqual(210)
        }
      }),
      { numRuns: 500 },
    )
  })

  test('are the same when made safe again', () => {
    fc.assert(
      fc.property(hostile, (name) => {
        const safe = safeComponent(name)
        expect(safeComponent(safe)).toBe(safe)
      }),
      { numRuns: 500 },
    )
  })

  test.for([
    ['../../etc/passwd', '__/__/etc/passwd'],
    ['/etc/passwd', 'etc/passwd'],
    ['C:\\Windows\\system32', 'C__Windows_system32'],
    ['a/./b//c', 'a/b/c'],
    ['con', '_con'],
    ['Aux.txt', '_Aux.txt'],
    ['lpt1 .log', '_lpt1 .log'],
    ['name. ', 'name__'],
    ['-rf', '_rf'],
    ['', 'unnamed'],
    ['x.partyline-part', 'x.partyline-part_'],
    ['cafe\u0301', 'caf\u00e9'],
    ['photo\u202egpj.exe', 'photo_gpj.exe'],
    ['.bashrc', '.bashrc'],
    ['日本語 🎉.txt', '日本語 🎉.txt'],
  ] as const)('%s becomes %s', ([remote, local]) => {
    expect(safeComponents(remote).join('/')).toBe(local)
  })

  test('keep their extension when they are cut', () => {
    const name = safeComponent(`${'ö'.repeat(300)}.jpeg`)
    expect(name).toMatch(/^ö+\.jpeg$/)
    expect(Buffer.byteLength(name)).toBeLessThanOrEqual(200)
  })

  test('get a number before the extension when they are taken', () => {
    expect(numberedName('notes.txt', 0)).toBe('notes.txt')
    expect(numberedName('notes.txt', 2)).toBe('notes (2).txt')
    expect(numberedName('.bashrc', 1)).toBe('.bashrc (1)')
    expect(numberedName('folder', 1)).toBe('folder (1)')
  })
})
