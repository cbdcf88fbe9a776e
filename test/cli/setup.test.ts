import { execFile, spawnSync } from 'node:child_process'
import {
  copyFileSync,
  existsSync,
  mkdirSync,
  mkdtempSync,
  readFileSync,
  rmSync,
  utimesSync,
  writeFileSync,
} from 'node:fs'
import { tmpdir } from 'node:os'
import { join } from 'node:path'
import { fileURLToPath } from 'node:url'
import { afterEach, beforeEach, expect, test } from 'vitest'

const SETUP = fileURLToPath(new URL('../../packaging/setup.mjs', import.meta.url))
const FAKE_NPM = fileURLToPath(new URL('fake-npm.mjs', import.meta.url))
const LOCKFILE = JSON.stringify({ packages: { 'node_modules/node': { version: '24.99.0' } } })

let root: string
let npm: string

beforeEach(() => {
  root = mkdtempSync(join(tmpdir(), 'partyline-setup-'))
  mkdirSync(join(root, 'packaging'))
  copyFileSync(SETUP, join(root, 'packaging/setup.mjs'))
  writeFileSync(join(root, 'package-lock.json'), LOCKFILE)
  // It is told apart from yarn and others by this name.
  npm = join(root, 'npm-cli.js')
  writeFileSync(npm, `import(${JSON.stringify(FAKE_NPM)})`)
})

afterEach(() => rmSync(root, { recursive: true, force: true }))

interface Ended {
  readonly code: number
  readonly said: string
}

function setUp(troubles = ''): Promise<Ended> {
  const { npm_node_execpath: _, ...others } = process.env
  const env = { ...others, npm_execpath: npm, FAKE_NPM: troubles, FAKE_NPM_LOG: join(root, 'npm.log') }
  return new Promise((resolve) =>
    execFile(process.execPath, [join(root, 'packaging/setup.mjs')], { env }, (error, stdout, stderr) =>
      resolve({ code: Number(error?.code ?? 0), said: stdout + stderr }),
    ),
  )
}

const calls = (): string[] =>
  existsSync(join(root, 'npm.log')) ? readFileSync(join(root, 'npm.log'), 'utf8').trim().split('\n') : []
const node = (): string => join(root, 'node_modules/.bin/node')
const touchLockfile = (): void => {
  const later = Date.now() / 1000 + 60
  utimesSync(join(root, 'package-lock.json'), later, later)
}

test('a fresh checkout is installed once, in a few words', async () => {
  const { code, said } = await setUp()
  expect(code).toBe(0)
  expect(said.trim().split('\n')).toEqual([
    expect.stringMatching(/^partyline: installing the dependencies/),
    expect.stringMatching(/^partyline: set up in \d+ s, with Node 24\.99\.0$/),
  ])
  expect(calls()).toEqual([expect.stringMatching(/^ci --include=dev /)])
})

test('with nothing to do it says nothing and does not call npm', async () => {
  await setUp()
  expect(await setUp()).toEqual({ code: 0, said: '' })
  expect(calls()).toHaveLength(1)
})

test('another lock file is installed, one that was only touched is not', async () => {
  await setUp()
  touchLockfile()
  await setUp()
  expect(calls()).toHaveLength(1)
  writeFileSync(join(root, 'package-lock.json'), `${LOCKFILE}\n`)
  touchLockfile()
  await setUp()
  expect(calls()).toHaveLength(2)
})

test('an installation that was broken off is begun again', async () => {
  await setUp()
  rmSync(join(root, 'node_modules/.package-lock.json'))
  await setUp()
  expect(calls()).toHaveLength(2)
})

test('of several at once, one installs and all end well', async () => {
  const ended = await Promise.all([setUp(), setUp(), setUp(), setUp()])
  expect(ended.map(({ code }) => code)).toEqual([0, 0, 0, 0])
  expect(calls()).toHaveLength(1)
  expect(existsSync(join(root, '.setup-lock'))).toBe(false)
})

test('the turn of a setup that was killed is taken over, by one of those who wait', async () => {
  const dead = spawnSync('true').pid
  writeFileSync(join(root, '.setup-lock'), String(dead))
  const ended = await Promise.all([setUp(), setUp(), setUp()])
  expect(ended.map(({ code }) => code)).toEqual([0, 0, 0])
  expect(calls()).toHaveLength(1)
})

test('a lock file that npm ci calls incomplete is installed by npm install, and left as it is', async () => {
  expect(await setUp('incomplete')).toMatchObject({ code: 0 })
  expect(calls()).toEqual([expect.stringMatching(/^ci /), expect.stringMatching(/^install --no-save --include=dev /)])
})

test('when npm fails, its own words are shown and the exit code is 1', async () => {
  const { code, said } = await setUp('offline')
  expect(code).toBe(1)
  expect(said).toContain('npm error code ENOTFOUND')
  expect(existsSync(join(root, '.setup-lock'))).toBe(false)
})

test('where npm refuses the install script, the platform package brings Node', async () => {
  const { code, said } = await setUp('scripts-refused')
  expect(code).toBe(0)
  expect(said).toContain('partyline: fetching Node 24.99.0')
  expect(spawnSync(node(), ['--version'], { encoding: 'utf8' }).stdout).toBe('v24.99.0\n')
  expect(await setUp()).toEqual({ code: 0, said: '' })
})

test('where the platform package cannot be had either, the Node at hand is used if it is new enough', async () => {
  expect(await setUp('scripts-refused no-binary')).toMatchObject({ code: 0 })
  expect(spawnSync(node(), ['--version'], { encoding: 'utf8' }).stdout.trim()).toBe(process.version)
})
