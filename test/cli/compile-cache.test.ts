import { chmodSync, mkdirSync, mkdtempSync, rmSync, statSync, symlinkSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterAll, describe, expect, test } from 'vitest'
import { compileCacheFolder, isOwnFolder } from '../../cli/compile-cache.ts'

const INSTALLED = 'file:///usr/lib/partyline/dist/cli/main.js'

describe('compiled code is kept', () => {
  const folderOf = (env: Record<string, string>, platform: NodeJS.Platform = 'linux', url = INSTALLED) =>
    compileCacheFolder({ url, env, platform, userHome: platform === 'win32' ? 'C:\\Users\\anna' : '/home/anna' })

  test.each([
    [
      'a checkout',
      folderOf({ CACHE_DIRECTORY: '/var/cache/x' }, 'linux', 'file:///src/cli/main.ts'),
      '/src/node_modules/.cache/partyline',
    ],
    [
      'a service of systemd',
      folderOf({ CACHE_DIRECTORY: '/var/cache/partyline:/var/cache/other' }),
      '/var/cache/partyline',
    ],
    ['a user', folderOf({}), '/home/anna/.cache/partyline'],
    ['a user with a folder for caches', folderOf({ XDG_CACHE_HOME: '/fast/cache' }), '/fast/cache/partyline'],
    [
      'a user with a relative one, which is ignored',
      folderOf({ XDG_CACHE_HOME: 'cache' }),
      '/home/anna/.cache/partyline',
    ],
    ['a user of macOS', folderOf({}, 'darwin'), '/home/anna/Library/Caches/partyline'],
    ['a user of Windows', folderOf({}, 'win32'), 'C:\\Users\\anna\\AppData\\Local\\partyline\\compiled'],
  ])('for %s', (_, folder, expected) => {
    expect(folder).toBe(expected)
  })
})

describe.skipIf(process.platform === 'win32')('a folder whose content is run', () => {
  const home = mkdtempSync(join(tmpdir(), 'compiled-'))
  afterAll(() => rmSync(home, { recursive: true }))
  const uid = process.geteuid?.() ?? 0

  test('is made for its owner alone, whatever is masked', () => {
    const before = process.umask(0o002)
    try {
      expect(isOwnFolder(join(home, 'a/b'))).toBe(true)
    } finally {
      process.umask(before)
    }
    expect(statSync(join(home, 'a/b')).mode & 0o777).toBe(0o700)
    expect(isOwnFolder(join(home, 'a/b'))).toBe(true)
  })

  test("is not another user's, nor below what another user owns", () => {
    expect(isOwnFolder(join(home, 'a'), uid + 1)).toBe(false)
    expect(isOwnFolder(join(home, 'c/d'), uid + 1)).toBe(false)
    expect(statSync(join(home, 'c'), { throwIfNoEntry: false })).toBeUndefined()
  })

  test('is none that others may write to, by a link either', () => {
    const open = join(home, 'open')
    mkdirSync(open)
    chmodSync(open, 0o777)
    symlinkSync(open, join(home, 'link'))
    expect([open, join(open, 'below'), join(home, 'link')].map((folder) => isOwnFolder(folder))).toEqual([
      false,
      false,
      false,
    ])
  })

  test('is none where it cannot be made', () => {
    writeFileSync(join(home, 'file'), '', { mode: 0o600 })
    expect(isOwnFolder(join(home, 'file/below'))).toBe(false)
  })
})
