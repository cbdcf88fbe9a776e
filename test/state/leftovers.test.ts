import { mkdirSync, mkdtempSync, readdirSync, rmSync, writeFileSync } from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { afterEach, beforeEach, expect, test } from 'vitest'
import { resolvePlaces } from '../../daemon/places.ts'
import { removeLeftovers } from '../../daemon/state/leftovers.ts'

let home: string
beforeEach(() => {
  home = mkdtempSync(join(tmpdir(), 'leftovers-'))
})
afterEach(() => rmSync(home, { recursive: true, force: true }))

test('what a killed daemon had begun to write is removed, half copies of older state included, and nothing else', async () => {
  const kept = ['config.json', 'identity.key', 'peers.json', 'peers.json.v1', 'notes.2781941236', 'peers.json.backup']
  const unfinished = ['peers.json.2781941236', 'peers.json.v1.2781941236', 'config.json.tmp-0123456789abcdef']
  for (const name of [...kept, ...unfinished]) writeFileSync(join(home, name), '')
  mkdirSync(join(home, 'inbox'))
  await removeLeftovers(resolvePlaces({ home, env: {}, platform: 'linux', userHome: '/nowhere' }))
  expect(readdirSync(home).sort()).toEqual([...kept, 'inbox'].sort())
})
