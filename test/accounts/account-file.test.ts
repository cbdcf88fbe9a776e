import { chmodSync, mkdtempSync, readFileSync, rmSync, statSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { readAccounts, writeAccounts } from '../../daemon/accounts/account-file.ts'

const ACCOUNT = { jid: 'anna@example.org', password: 'correct horse', server: '', ca: '' }
let folder: string
let file: string
beforeEach(() => {
  folder = mkdtempSync(join(tmpdir(), 'accounts-'))
  file = join(folder, 'accounts.json')
})
afterEach(() => rmSync(folder, { recursive: true, force: true }))

test('accounts come out as they went in, and only their owner can read them', async () => {
  expect(await readAccounts(file)).toEqual([])
  await writeAccounts(file, [ACCOUNT])
  expect(await readAccounts(file)).toEqual([ACCOUNT])
  expect(statSync(file).mode & 0o777).toBe(0o600)
})

test('a file that others can read is refused', async () => {
  await writeAccounts(file, [ACCOUNT])
  chmodSync(file, 0o640)
  await expect(readAccounts(file)).rejects.toMatchObject({ code: 'local.accounts-exposed' })
})

test.each([
  ['no JSON', '{"password":"correct horse"'],
  ['no version', '{"accounts":[]}'],
  ['an address that is none', JSON.stringify({ version: 1, accounts: [{ ...ACCOUNT, jid: 'anna' }] })],
  ['too many', JSON.stringify({ version: 1, accounts: Array.from({ length: 9 }, () => ACCOUNT) })],
])('%s is refused, left as it is, and quoted nowhere', async (_, text) => {
  writeFileSync(file, text, { mode: 0o600 })
  const refused = readAccounts(file)
  await expect(refused).rejects.toMatchObject({ code: 'local.accounts-damaged' })
  await expect(refused).rejects.not.toThrow(/correct horse/)
  expect(readFileSync(file, 'utf8')).toBe(text)
})
